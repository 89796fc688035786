"""One step: inject every source's crosses and embeddings, known by their files alone, into a framework's fresh model.

``python target.py FOLDER FRAMEWORK...`` reads ``FOLDER/*/crosses`` and ``FOLDER/rows.npz``, and writes for each
framework and source what the target computes on the rows to ``FOLDER/SOURCE/in_FRAMEWORK.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from models import FRAMEWORKS

import nid_plugins as nid


def main(artefact: Path, rows: dict[str, np.ndarray], odd: np.ndarray, name: str) -> None:
    """Run the step for one source.

    Args:
        artefact: The source's directory of crosses and embeddings.
        rows: Valid rows, by column.
        odd: A matrix of rows no frame may hold: ids out of range, missing values.
        name: The framework.
    """
    own = FRAMEWORKS[name]
    crosses = nid.CrossFeatures.load(artefact)
    embeddings = nid.load_embeddings(artefact)
    model = own.model(crosses.schema)
    target = nid.inject(model, crosses, dim=4, output=own.output, embeddings=embeddings)
    base = nid.wrap(model, crosses.schema, output=own.output).logits(rows)
    box = nid.wrap(target, crosses.schema, output=own.output)
    first = box.logits(rows)
    own.set_projection(target, projection(len(crosses) * 4))
    np.savez(
        artefact.parent / f"in_{name}.npz",
        base=base,
        first=first,
        moved=box.logits(rows),
        ids=own.ids(target, np.column_stack([rows[field] for field in crosses.schema.names])),
        odd_ids=own.ids(target, odd),
        **{f"embedding {cross}": values for cross, values in nid.cross_embeddings(target).items()},
    )


def projection(wide: int) -> np.ndarray:
    """Return the weights every target's projection is set to, shape (wide,), float32."""
    return np.linspace(-1.0, 1.5, wide, dtype=np.float32)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    saved = dict(np.load(folder / "rows.npz"))
    off_range = saved.pop("odd")
    for framework in sys.argv[2:]:
        for source in sorted(folder.glob("*/crosses")):
            main(source, saved, off_range, framework)
