"""Which of the detected sets does an instance really need? Those that help to predict rows the explainer has not seen.

A set I is kept when the product of its members, less what main effects and the sets kept before explain of it, lowers
the squared error on held-out masks. Orders are settled from pairs upwards, so a triple is only kept for what its pairs
leave over, and a pair inside a triple for what it does alone. This is the cut-off of the original NID protocol (Tsang
et al. 2018, section 4.3: add ranked sets to an additive model until validation no longer improves), in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.masks import r_squared
from nid_plugins.turns import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from nid_plugins.detection.detector import Explanation, Members
    from nid_plugins.detection.masks import Floats, MaskDesign

CLOSURE = 5
"""Largest set whose pairs are tried too when it is a candidate itself."""

CACHE = 4000
"""Product columns kept for the next instances."""

TINY = 1e-300
"""What a candidate out of play does not explain."""


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
        self._turn = Turn()

    def _gather(self, candidates: list[Members]) -> npt.NDArray[np.float32]:
        with self._turn:
            # Instances share masks and often candidates. 4,000 float32 columns of 6,000 rows are 96 MB at most.
            if len(self._columns) > CACHE:
                self._columns.clear()
            for c in candidates:
                if c not in self._columns:
                    # One by one: in a batch the last bits would depend on which columns happen to be missing.
                    column = self.design.orthogonal(self.design.product(c)[None])[0]
                    self._columns[c] = column.astype(np.float32)
            return np.array([self._columns[c] for c in candidates])

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
        tests = np.empty((len(targets), design.held_out))
        found: list[Kept] = []
        for b, explanation in enumerate(explanations):
            candidates = candidates_of(explanation, self.limit)
            tests[b] = residuals[b, design.test]
            if np.isnan(r2_linear[b]) or variance[b] == 0 or not candidates:
                found.append(Kept([], [], [], r2_linear[b], r2_linear[b]))
                continue
            pursuit = _Pursuit(self._gather(candidates), residuals[b], design)
            gains: dict[Members, float] = {}
            sizes = np.array([len(c) for c in candidates])
            for order in sorted(set(sizes.tolist())):
                for best, gain in pursuit.settle(sizes == order, self.min_gain * variance[b], self.sigmas):
                    gains[candidates[best]] = gain / variance[b]
            tests[b] = pursuit.test_residual
            strength_of = dict(zip(explanation.sets, explanation.strengths.tolist(), strict=True))
            strengths = {
                m: strength_of[m] if m in strength_of else _pair_strength(m, explanation) for m in gains
            }
            ranked = sorted(gains, key=lambda m: -strengths[m])
            found.append(
                Kept(ranked, [strengths[m] for m in ranked], [gains[m] for m in ranked], r2_linear[b], np.nan)
            )
        for kept, r2 in zip(found, r_squared(targets[:, design.test], tests).tolist(), strict=True):
            kept.r2 = r2
        return found


def _pair_strength(members: Members, explanation: Explanation) -> float:
    return 0.0 if explanation.pairs is None else float(explanation.pairs[members[0], members[1]])


class _Pursuit:
    """Orthogonal forward selection in the space of the candidates' Gram matrix.

    Rows are touched once, to form the Gram matrix; each pick then costs O(candidates x candidates), and each candidate that is
    looked at O(taken x held-out rows).
    """

    def __init__(self, columns: npt.NDArray[np.float32], residual: Floats, design: MaskDesign) -> None:
        train, count = columns[:, design.train], len(columns)
        # One row a candidate: its products with all candidates and with the residual. Taking a candidate is then one update
        # of one small array, which frees the others of what they have in common with it.
        self.table = np.empty((count, count + 1))
        self.table[:, :count] = train @ train.T
        self.table[:, count] = train @ residual[design.train].astype(np.float32)
        self.rows = train.shape[1]
        self.norms = self.table.diagonal().copy()
        self.floor = max(1e-4 * float(self.norms.max(initial=0.0)), 1e-300)
        self.valid, self.test = columns[:, design.valid].astype(np.float64), columns[:, design.test]
        self.twice_left, self.test_residual = 2.0 * residual[design.valid], residual[design.test].copy()
        self.ones = np.ones(design.held_out)
        # What each candidate had in common with those taken, and these, freed of each other, on the held-out rows.
        self.shares = np.zeros((count, count))
        self.taken = 0
        self.taken_valid, self.taken_test = (np.empty((count, design.held_out)) for _ in range(2))

    def settle(
        self, level: npt.NDArray[np.bool_], least: float, sigmas: float
    ) -> Iterator[tuple[int, float]]:
        """Take columns of one level, best first; yield each index with its gain in mean squared held-out error."""
        rows, alive = len(self.valid[0]), level.copy()
        explained = self._explained(alive)
        while True:
            best = int(explained.argmax())
            # Those left explain even less; half, since the rows differ.
            if explained[best] / self.rows < max(least / 2, TINY):
                return
            alive[best], explained[best] = False, 0.0
            column = self.valid[best] - self.shares[best, : self.taken] @ self.taken_valid[: self.taken]
            step = (self.table[best, -1] / self.norms[best]) * column
            # r^2 - (r - s)^2 on the validation rows
            better = step * (self.twice_left - step)
            gain = float(better @ self.ones) / rows
            spread = float(better @ better) / rows - gain * gain
            if gain >= least and gain > sigmas * math.sqrt(max(spread, 0.0) / rows):
                self._take(best, column, step)
                explained = self._explained(alive)
                yield best, gain

    def _explained(self, alive: npt.NDArray[np.bool_]) -> Floats:
        """Return what each candidate in play would explain of the training rows."""
        inner = self.table[:, -1]
        playing = alive & (self.norms > self.floor)
        explained: Floats = np.where(playing, inner * inner, 0.0) / np.maximum(self.norms, self.floor)
        return explained

    def _take(self, best: int, column: Floats, step: Floats) -> None:
        taken = self.taken
        self.twice_left -= 2.0 * step
        column_test = self.test[best] - self.shares[best, :taken] @ self.taken_test[:taken]
        self.test_residual -= (self.table[best, -1] / self.norms[best]) * column_test
        self.taken_valid[taken], self.taken_test[taken] = column, column_test
        share = self.table[:, best] / self.norms[best]
        share[best] = 1.0  # the taken column itself becomes zero, out of play
        self.shares[:, taken] = share
        self.taken += 1
        self.table -= share[:, None] * self.table[best]
        self.norms = self.table.diagonal().copy()
