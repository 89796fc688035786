"""Which of the detected sets does an instance really need? Those that help to predict rows the explainer has not seen.

A set I is kept when the product of its members, less what main effects and the sets kept before explain of it, lowers
the squared error on held-out masks. Orders are settled from pairs upwards, so a triple is only kept for what its pairs
leave over, and a pair inside a triple for what it does alone. This is the cut-off of the original NID protocol (Tsang
et al. 2018, section 4.3: add ranked sets to an additive model until validation no longer improves), in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.columns import Columns
from nid_plugins.detection.masks import r_squared
from nid_plugins.detection.pursuit import Pursuit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.detector import Explanation, Members
    from nid_plugins.detection.masks import Floats, MaskDesign
    from nid_plugins.detection.pursuit import Taken

CLOSURE = 5
"""Largest set whose pairs are tried too when it is a candidate itself."""

TOGETHER = 4_500_000
"""Most candidates x held-out masks of the instances that are handled together: 18 MB of float32."""


@dataclass(slots=True)
class Kept:
    """Sets kept for one instance.

    Args:
        sets: The kept sets, strongest first.
        strengths: Their strengths, in the detector's unit.
        gains: Held-out R^2 each added when it was taken.
        r2_linear: Held-out R^2 of the main effects alone.
        r2: Held-out R^2 of main effects and kept sets.
    """

    sets: list[Members]
    strengths: list[float]
    gains: list[float]
    r2_linear: float
    r2: float


def candidates_of(explanation: Explanation, limit: int) -> list[Members]:
    """Return the strongest sets and, after them, the pairs inside the larger ones, grouped from pairs upwards."""
    seen: dict[Members, None] = {}
    for members in explanation.sets[:limit]:
        seen.setdefault(members)
    for members in list(seen):
        if 2 < len(members) <= CLOSURE:
            for pair in combinations(members, 2):
                seen.setdefault(pair)
    return sorted(seen, key=len)


class GainSelector:
    """Selects sets by held-out gain on masks shared by all instances.

    Args:
        design: The random masks.
        limit: Number of strongest sets to try per instance.
        min_gain: Least held-out R^2 a set must add.
        sigmas: How many standard errors (over the held-out rows) the gain must be above zero.
    """

    def __init__(
        self, design: MaskDesign, *, limit: int = 40, min_gain: float = 1e-3, sigmas: float = 2.0
    ) -> None:
        self.design = design
        self.limit = limit
        self.min_gain = min_gain
        self.sigmas = sigmas
        self._columns = Columns(design)

    def select(self, targets: Floats, explanation: Explanation, residual: Floats | None = None) -> Kept:
        """Return what one instance keeps; see :meth:`select_all`.

        Args:
            targets: Logits on the design's masks, shape (M,).
            explanation: What the detector found.
            residual: The targets less their main effects, where already computed.
        """
        residuals = None if residual is None else residual[None]
        return self.select_all(targets[None], [explanation], residuals)[0]

    def select_all(
        self, targets: Floats, explanations: Sequence[Explanation], residuals: Floats | None = None
    ) -> list[Kept]:
        """Return what each instance of a batch keeps. Threads may call it at once.

        Args:
            targets: Logits on the design's masks, shape (B, M).
            explanations: What the detector found in each.
            residuals: The targets less their main effects, where already computed, shape (B, M).
        """
        design = self.design
        if residuals is None:
            residuals = design.residuals(targets)
        r2_linear = r_squared(targets[:, design.test], residuals[:, design.test]).tolist()
        variance = targets[:, design.valid].var(axis=1).tolist()
        candidates = [
            [] if np.isnan(r2) or spread == 0 else candidates_of(explanation, self.limit)
            for r2, spread, explanation in zip(r2_linear, variance, explanations, strict=True)
        ]
        some = [b for b, sets in enumerate(candidates) if sets]
        most = max((len(candidates[b]) for b in some), default=1)
        together = max(1, TOGETHER // (most * 2 * design.held_out))
        tests = residuals[:, design.test].copy()
        found = [Kept([], [], [], r2, r2) for r2 in r2_linear]
        for start in range(0, len(some), together):
            these = some[start : start + together]
            # Where an instance has fewer candidates than another its first is there again, and cannot be taken.
            filled = [candidates[b] + candidates[b][:1] * (most - len(candidates[b])) for b in these]
            levels = np.array([list(map(len, sets)) for sets in filled])
            levels[np.arange(most) >= np.array([len(candidates[b]) for b in these])[:, None]] = 0
            pursuit = Pursuit(
                self._columns.candidates(filled, residuals[these]),
                levels,
                residuals[these],
                design,
                self.min_gain * np.array([variance[b] for b in these]),
                self.sigmas,
            )
            for b, taken in zip(these, pursuit.run(), strict=True):
                tests[b] = taken.test
                found[b] = _kept(candidates[b], taken, explanations[b], variance[b], r2_linear[b])
        for kept, r2 in zip(found, r_squared(targets[:, design.test], tests).tolist(), strict=True):
            kept.r2 = r2
        return found


def _kept(
    candidates: list[Members], taken: Taken, explanation: Explanation, variance: float, r2_linear: float
) -> Kept:
    gains = {candidates[k]: gain / variance for k, gain in zip(taken.order, taken.gains, strict=True)}
    known = dict(zip(explanation.sets, explanation.strengths.tolist(), strict=True))
    strengths = {m: known[m] if m in known else _pair_strength(m, explanation) for m in gains}
    ranked = sorted(gains, key=lambda m: -strengths[m])
    return Kept(ranked, [strengths[m] for m in ranked], [gains[m] for m in ranked], r2_linear, float("nan"))


def _pair_strength(members: Members, explanation: Explanation) -> float:
    return 0.0 if explanation.pairs is None else float(explanation.pairs[members[0], members[1]])
