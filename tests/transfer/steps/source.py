"""One step: train a framework's model, detect, fit crosses, learn their embeddings, and leave both as files.

``python source.py FOLDER FRAMEWORK...`` reads ``FOLDER/log.npz`` and ``FOLDER/schema.json``, and writes for each
framework ``FOLDER/FRAMEWORK/report.json`` and ``FOLDER/FRAMEWORK/crosses``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from models import FRAMEWORKS

import nid_plugins as nid


def main(folder: Path, name: str) -> None:
    """Run the step."""
    own = FRAMEWORKS[name]
    frame = dict(np.load(folder / "log.npz"))
    label = frame.pop("click")
    schema = nid.FeatureSchema.from_dict(json.loads((folder / "schema.json").read_text("utf-8")))
    model = own.model(schema)
    own.fit(model, frame, label, epochs=6)
    report = nid.detect(
        nid.wrap(model, schema, output=own.output),
        {key: column[:24] for key, column in frame.items()},
        background=frame,
        perturbations=400,
        detector="least_squares",
        seed=0,
    )
    # With a cross that has a dense member besides, so that bins are carried too.
    strongest = max(report.interactions, key=lambda found: found.strength)
    crosses = nid.fit_crosses([strongest.fields, ("price", "hour")], frame, schema, bins=8)
    target = nid.inject(model, crosses, dim=4, output=own.output)
    own.fit(target, frame, label, epochs=1)
    (folder / name).mkdir()
    report.save(folder / name / "report.json")
    crosses.save(folder / name / "crosses", embeddings=nid.cross_embeddings(target))


if __name__ == "__main__":
    for framework in sys.argv[2:]:
        main(Path(sys.argv[1]), framework)
