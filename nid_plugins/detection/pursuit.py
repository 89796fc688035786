"""Orthogonal forward selection of candidate sets for several instances side by side.

The rows masks make are touched once, for the Gram matrix of an instance's candidates; from there on a candidate costs
O(candidates x taken) to take, a row of a Cholesky factor, and O(held-out rows x taken) to look at. Instances move on together, a few looks each a round: what an
instance needs is so little that starting a NumPy operation would cost as much as the operation, and would keep
other threads from the interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.detection.columns import Candidates
    from nid_plugins.detection.masks import Floats, MaskDesign

LOOKS = 2
"""Candidates of an instance looked at in a round. The first that is good enough is taken; those after it wait."""

NOTHING = 1e-9
"""Share of a column's square that is rounding when main effects are taken out of it."""

TINY = 1e-300
"""What a candidate out of play does not explain."""


@dataclass(slots=True)
class Taken:
    """What an instance takes.

    Args:
        order: Candidates taken, in that order.
        gains: What each took from the mean squared error of the validation rows.
        test: What they leave of the residual on the test rows, shape (H,).
    """

    order: list[int]
    gains: list[float]
    test: Floats


class Pursuit:
    """Takes candidates of a batch of instances, level by level.

    Args:
        candidates: Those of each instance.
        levels: The level of each candidate, shape (B, C): lower ones are settled first, those of level 0 never taken.
        residuals: Logits less their main effects, shape (B, M).
        design: The random masks.
        least: For each instance, the least gain in mean squared error, shape (B,).
        sigmas: How many standard errors (over the validation rows) the gain must be above zero.
    """

    def __init__(
        self,
        candidates: Candidates,
        levels: npt.NDArray[np.intp],
        residuals: Floats,
        design: MaskDesign,
        least: Floats,
        sigmas: float,
    ) -> None:
        batch, most = levels.shape
        self.batch, self.rows, self.held = batch, design.train.stop, design.held_out
        self.level, self.least, self.sigmas = levels, least, sigmas
        self.gram, self.valid, self.test = candidates.gram, candidates.valid, candidates.test
        # Of each candidate, less what was taken: its product with the residual, and its square.
        self.inner = candidates.inner.copy()
        self.norms = np.diagonal(self.gram, axis1=1, axis2=2).copy()
        # What is left of a column is rounding below this: a copy of what was taken, or no more rows than main effects.
        self.floor = np.maximum(1e-4 * self.norms.max(axis=1, keepdims=True), NOTHING * candidates.whole)
        self.twice_left = (2.0 * residuals[:, design.valid]).astype(np.float32)
        self.test_left = residuals[:, design.test]
        # What each candidate had in common with those taken, and these, freed of each other, on the validation rows: in
        # float32 like the columns, for these are what most of the work is on.
        self.shares = np.zeros((batch, most, most))
        self.taken = np.zeros((batch, most, self.held), dtype=np.float32)
        self.factors, self.squares = np.zeros((2, batch, most))
        self.orders = np.zeros((batch, most), dtype=np.intp)
        self.counts = np.zeros(batch, dtype=np.intp)
        self.gains = np.zeros((batch, most))

    def run(self) -> list[Taken]:
        """Return what each instance takes."""
        ahead = [sorted(set(level[level > 0].tolist()), reverse=True) for level in self.level]
        instances = np.arange(self.batch)[:, None]
        alive = np.zeros_like(self.level, dtype=bool)
        going = np.ones(self.batch, dtype=bool)
        ones = np.ones(self.held, dtype=np.float32)
        places = np.arange(min(LOOKS, alive.shape[1]))
        # Those left explain even less; half, since the rows differ.
        enough = (np.maximum(self.least / 2, TINY) * self.rows)[:, None]
        while True:
            explained = np.where(alive & (self.norms > self.floor), self.inner**2, 0.0)
            explained /= np.maximum(self.norms, self.floor)
            best = np.argsort(-explained, axis=1, kind="stable")[:, : len(places)]
            looked = explained[instances, best] >= enough
            for b in np.flatnonzero(going & ~looked[:, 0]).tolist():
                alive[b] = self.level[b] == ahead[b].pop() if ahead[b] else False
                going[b] = alive[b].any()
            if not looked.any():
                if going.any():
                    continue
                return self._ends()
            factors = self.inner[instances, best]
            factors /= np.maximum(self.norms, self.floor)[instances, best]
            columns = self._freed(best)
            steps = factors[:, :, None].astype(np.float32) * columns
            # r^2 - (r - s)^2 on the validation rows
            better = self.twice_left[:, None] - steps
            better *= steps
            gains = (better @ ones).astype(np.float64) / self.held
            spread = np.einsum("bkh,bkh->bk", better, better) / self.held - gains * gains
            good = looked & (gains >= self.least[:, None])
            good &= gains > self.sigmas * np.sqrt(np.maximum(spread, 0.0) / self.held)
            some = good.any(axis=1)
            first = np.where(some, good.argmax(axis=1), len(places))
            looked &= places <= first[:, None]
            alive[np.broadcast_to(instances, best.shape)[looked], best[looked]] = False
            who = np.flatnonzero(some)
            if len(who):
                at = who, first[who]
                self._take(who, best[at], columns[at], steps[at], factors[at], gains[at])

    def _freed(self, some: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return candidates (B, k) of each instance on the validation rows, freed of those taken, shape (B, k, H)."""
        instances = np.arange(self.batch)[:, None]
        columns = self.valid[instances, some]
        most = self.counts.max()
        if most:
            shares = self.shares[instances, some, :most].astype(np.float32)
            columns -= np.matmul(shares, self.taken[:, :most])
        return columns

    def _take(
        self,
        who: npt.NDArray[np.intp],
        which: npt.NDArray[np.intp],
        columns: npt.NDArray[np.float32],
        steps: npt.NDArray[np.float32],
        factors: Floats,
        gains: Floats,
    ) -> None:
        place = self.counts[who]
        most = place.max()
        # A row of the Cholesky factor: what all candidates have in common with this one, beyond those taken before.
        before = self.shares[who, :, :most]
        own = before[np.arange(len(who)), which] * self.squares[who, :most]
        square = self.norms[who, which][:, None]
        share = (self.gram[who, which] - np.matmul(before, own[:, :, None])[:, :, 0]) / square
        share[np.arange(len(who)), which] = 1.0  # the taken column itself becomes zero, out of play
        self.inner[who] -= share * self.inner[who, which][:, None]
        self.norms[who] -= share**2 * square
        self.shares[who, :, place], self.squares[who, place] = share, square[:, 0]
        self.twice_left[who] -= 2.0 * steps
        self.taken[who, place], self.factors[who, place] = columns, factors
        self.orders[who, place], self.gains[who, place] = which, gains
        self.counts[who] += 1

    def _ends(self) -> list[Taken]:
        # The taken columns on the test rows, freed of each other: row by row what those before it leave.
        most = self.counts.max()
        instances, orders = np.arange(self.batch)[:, None], self.orders[:, :most]
        system = np.eye(most) + np.tril(self.shares[instances, orders, :most], -1)
        weights = np.linalg.solve(system.transpose(0, 2, 1), self.factors[:, :most, None])
        columns = self.test[instances, orders].astype(np.float64)
        left = self.test_left - np.matmul(weights.transpose(0, 2, 1), columns)[:, 0]
        return [
            Taken(order[:count], gains[:count], rest)
            for order, gains, count, rest in zip(
                self.orders.tolist(), self.gains.tolist(), self.counts.tolist(), left, strict=True
            )
        ]
