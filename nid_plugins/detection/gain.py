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

from nid_plugins.detection.masks import r_squared

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from nid_plugins.detection.detector import Explanation, Members
    from nid_plugins.detection.masks import Floats, MaskDesign

CLOSURE = 5
"""Largest set whose pairs are tried too when it is a candidate itself."""

CACHE = 4000
"""Product columns kept for the next instances."""


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
        self._columns: dict[Members, npt.NDArray[np.float32]] = {}

    def _gather(self, candidates: list[Members]) -> npt.NDArray[np.float32]:
        # Instances share masks and often candidates. 4,000 float32 columns of 6,000 rows are 96 MB at most.
        if len(self._columns) > CACHE:
            self._columns.clear()
        for c in candidates:
            if c not in self._columns:
                # One by one: in a batch the last bits would depend on which columns happen to be missing.
                self._columns[c] = self.design.orthogonal(self.design.product(c)[None])[0].astype(np.float32)
        return np.array([self._columns[c] for c in candidates])

    def select(self, targets: Floats, explanation: Explanation, residual: Floats | None = None) -> Kept:
        """Return what one instance keeps.

        Args:
            targets: Logits on the design's masks, shape (M,).
            explanation: What the detector found.
            residual: The targets less their main effects, where already computed.
        """
        design = self.design
        if residual is None:
            residual = design.residuals(targets[None])[0]
        held = np.r_[targets[design.test]], np.r_[residual[design.test]]
        r2_linear = float(r_squared(*held))
        variance = float(targets[design.valid].var())
        if np.isnan(r2_linear) or variance == 0:
            return Kept([], [], [], r2_linear, r2_linear)
        candidates = candidates_of(explanation, self.limit)
        if not candidates:
            return Kept([], [], [], r2_linear, r2_linear)
        pursuit = _Pursuit(self._gather(candidates), residual, design)
        gains: dict[Members, float] = {}
        sizes = np.array([len(c) for c in candidates])
        for order in np.unique(sizes):
            for best, gain in pursuit.settle(sizes == order, self.min_gain * variance, self.sigmas):
                gains[candidates[best]] = gain / variance
        found = dict(zip(explanation.sets, explanation.strengths.tolist(), strict=True))
        strengths = {m: found[m] if m in found else _pair_strength(m, explanation) for m in gains}
        ranked = sorted(gains, key=lambda m: -strengths[m])
        r2 = float(r_squared(held[0], pursuit.test_residual))
        return Kept(ranked, [strengths[m] for m in ranked], [gains[m] for m in ranked], r2_linear, r2)


def _pair_strength(members: Members, explanation: Explanation) -> float:
    return 0.0 if explanation.pairs is None else float(explanation.pairs[members[0], members[1]])


class _Pursuit:
    """Orthogonal forward selection in the space of the candidates' Gram matrix.

    Rows are touched once, to form the Gram matrix; each pick then costs O(candidates x candidates), and each candidate that is
    looked at O(candidates x held-out rows).
    """

    def __init__(self, columns: npt.NDArray[np.float32], residual: Floats, design: MaskDesign) -> None:
        train, held = columns[:, design.train], slice(design.valid.start, design.test.stop)
        count = len(columns)
        self.rows = train.shape[1]
        # One row a candidate: its products with all candidates and with the residual, then what it is now in terms of the
        # candidates as they were. Taking a candidate is then one update of one small array.
        self.table = np.zeros((count, 2 * count + 1))
        self.table[:, :count] = train @ train.T
        self.table[:, count] = train @ residual[design.train].astype(np.float32)
        self.table[:, count + 1 :][np.diag_indices(count)] = 1.0
        self.values = columns[:, held].astype(np.float64)
        self.norms = np.diag(self.table[:, :count]).copy()
        self.floor = max(1e-4 * float(self.norms.max(initial=0.0)), 1e-300)
        self.left = residual[held].copy()
        self.held_out = design.held_out

    @property
    def test_residual(self) -> Floats:
        """What the taken candidates leave of the residual on the test rows."""
        return self.left[self.held_out :]

    def settle(
        self, level: npt.NDArray[np.bool_], least: float, sigmas: float
    ) -> Iterator[tuple[int, float]]:
        """Take columns of one level, best first; yield each index with its gain in mean squared held-out error."""
        count, rows = len(self.norms), self.held_out
        alive = level.copy()
        while True:
            alive &= self.norms > self.floor
            explained = np.where(alive, self.table[:, count] ** 2, 0.0) / np.maximum(self.norms, self.floor)
            best = int(explained.argmax())
            # Those left explain even less; half, since the rows differ.
            if not alive[best] or explained[best] / self.rows < least / 2:
                return
            alive[best] = False
            step = (self.table[best, count] / self.norms[best]) * (
                self.table[best, count + 1 :] @ self.values
            )
            # r^2 - (r - s)^2 on the validation rows
            better = step[:rows] * (2.0 * self.left[:rows] - step[:rows])
            gain = float(better.sum()) / rows
            spread = float(better @ better) / rows - gain * gain
            if gain >= least and gain > sigmas * np.sqrt(max(spread, 0.0) / rows):
                self._take(best, step)
                yield best, gain

    def _take(self, best: int, step: Floats) -> None:
        count = len(self.norms)
        self.left -= step
        share = self.table[:, best] / self.norms[best]
        share[best] = 1.0  # the taken column itself becomes zero, out of play
        self.table -= share[:, None] * self.table[best]
        self.norms = np.diag(self.table[:, :count]).copy()
