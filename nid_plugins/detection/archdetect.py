"""ArchDetect (Tsang et al. 2020b, "How does This Interaction Affect Me?"): second differences, no explainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.detector import Detector, Explanation, rank_pairs, rounding
from nid_plugins.detection.masks import MIN_ROWS, Floats, Masks, random_masks
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ArchDetect(Detector):
    """Pairwise second differences at the instance and at the baseline.

    For a pair (a, b) and a context c (the other fields all on, or all off)
    ``d_c = f(on, on, c) - f(off, on, c) - f(on, off, c) + f(off, off, c)``; the strength is
    ``sqrt((d_on^2 + d_off^2) / 2)``, in logits. It needs p (p - 1) + 2 p + 2 queries whatever ``perturbations`` says;
    ``probe`` random masks beside them only serve to select by held-out gain and to judge the fit.

    Args:
        probe: Number of random masks (fewer when ``perturbations`` is smaller).
    """

    probe: int = 1200
    name: ClassVar[str] = "archdetect"

    def masks(self, fields: int, perturbations: int, rng: np.random.Generator) -> Masks:
        """Return random masks, then the contexts, singles and pairs the differences need.

        Raises:
            SettingError: ``probe`` is too small to judge a fit.
        """
        if self.probe < MIN_ROWS:
            raise SettingError("probe too small", received=self.probe, expected=f"at least {MIN_ROWS}")
        needed = differences(fields)
        rows = max(min(self.probe, perturbations), MIN_ROWS)
        return np.vstack([random_masks(fields, rows, rng), needed])

    def random_rows(self, masks: Masks) -> int:
        """Return the number of leading random rows."""
        return len(masks) - differences_count(masks.shape[1])

    def fit(
        self, state: Masks, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Read the differences off the targets of the appended masks."""
        p = state.shape[1]
        return [self._one(y, p) for y in targets[:, -differences_count(p) :]]

    @staticmethod
    def _one(y: Floats, p: int) -> Explanation:
        half = len(y) // 2
        squared = np.zeros((p, p))
        for part in (y[:half], y[half:]):
            whole, single, double = part[0], part[1 : 1 + p], part[1 + p :]
            matrix = np.zeros((p, p))
            matrix[np.triu_indices(p, 1)] = double
            difference = whole - single[:, None] - single[None, :] + matrix
            squared += np.triu(difference, 1) ** 2 / 2
        strengths = np.sqrt(squared)
        strengths[strengths < rounding(y)] = 0.0
        strengths += strengths.T
        sets, values = rank_pairs(strengths)
        return Explanation(sets, values, float("nan"), strengths)


def differences_count(p: int) -> int:
    """Return the number of masks :func:`differences` makes."""
    return 2 * (1 + p + p * (p - 1) // 2)


def differences(p: int) -> npt.NDArray[np.bool_]:
    """Return, for the context of all on and then of all off: the context, each field flipped, each pair flipped."""
    rows, columns = np.triu_indices(p, 1)
    flips = np.zeros((1 + p + len(rows), p), dtype=bool)
    flips[1 + np.arange(p), np.arange(p)] = True
    flips[1 + p + np.arange(len(rows)), rows] = True
    flips[1 + p + np.arange(len(rows)), columns] = True
    return np.vstack([~flips, flips])
