"""Would other kinds of masks need fewer of them? A part of ``benchmarks.scale_queries``.

The same rows are explained under several draws of each kind. Told are the scatter of pair strengths over the draws, beside their
size, that of the scores of places 15 to 25, and how many of the top 20 pairs are those of the usual masks. The last tells
whether what is averaged over the masks is still the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.detection import LeastSquares, random_masks
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.prepared import Detection

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.detection.masks import Masks

MASKS = 1500
DRAWS = 3
ROWS = 125
TOP = 20
NEAR = slice(14, 25)
"""Places 15 to 25: about the end of the top 20."""


def half(fields: int, rows: int, rng: np.random.Generator) -> Masks:
    """Return masks in which every field is on half of the time, whatever the others are."""
    masks: Masks = rng.random((rows, fields)) < 0.5
    masks[0] = True
    return masks


def complementary(fields: int, rows: int, rng: np.random.Generator) -> Masks:
    """Return random masks, each followed by its complement."""
    masks = random_masks(fields, rows, rng)
    masks[1::2] = ~masks[0::2][: rows // 2]
    return masks


def sobol(fields: int, rows: int, rng: np.random.Generator) -> Masks:
    """Return masks as usual, drawn from a scrambled Sobol sequence: how many fields are off, and which."""
    from scipy.stats import qmc

    points = qmc.Sobol(fields + 1, rng=rng).random_base2(int(np.ceil(np.log2(rows))))[:rows]
    off = (points[:, 0] * fields).astype(int) + 1
    off[0] = 0
    masks: Masks = points[:, 1:].argsort(axis=1).argsort(axis=1) >= off[:, None]
    return masks


KINDS: dict[str, Callable[[int, int, np.random.Generator], Masks]] = {
    "as usual": random_masks,
    "each followed by its complement": complementary,
    "from a Sobol sequence": sobol,
    "every field on half of the time": half,
}


@dataclass(frozen=True, eq=False)
class OtherMasks(LeastSquares):
    """Least squares under masks of a kind."""

    masks_of: str = "as usual"

    def masks(self, fields: int, perturbations: int, rng: np.random.Generator) -> Masks:
        """Return masks of the kind."""
        return KINDS[self.masks_of](fields, perturbations, rng)


def kinds(bench: Any) -> list[dict[str, Any]]:
    """Return how far strengths and scores scatter over draws of each kind of masks.

    Args:
        bench: A :class:`benchmarks.scale_queries.Bench`.
    """
    rows = bench.sample(0, 8 * ROWS)[::8]
    found: list[dict[str, Any]] = []
    usual: set[int] = set()
    for kind in KINDS:
        draws = []
        for seed in range(DRAWS):
            detector, settings = checked_settings(
                OtherMasks(masks_of=kind),
                None,
                "mode",
                len(rows),
                MASKS,
                TOP,
                seed,
                "gain",
                "count",
                1e-3,
                40,
            )
            detection = Detection(bench.box, rows, bench.background, detector, settings)
            detection.run(executor="serial")
            draws.append([r.pairs for r in detection.results])
        strengths = np.array(draws, dtype=np.float64)
        scores = (strengths**2).mean(axis=1)
        mean = scores.mean(axis=0)
        order = np.argsort(-mean)
        usual = usual or set(order[:TOP].tolist())
        near = order[NEAR]
        found.append(
            {
                "masks": kind,
                "strength": float(np.sqrt(strengths.var(axis=0, ddof=1).mean() / (strengths**2).mean())),
                "score": float(np.median(scores[:, near].std(axis=0, ddof=1) / mean[near])),
                "usual": len(usual.intersection(order[:TOP].tolist())),
            }
        )
        print(found[-1], flush=True)
    return found
