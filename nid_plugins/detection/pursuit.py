"""Orthogonal forward selection of candidate sets for several instances side by side.

The rows masks make are touched once, for the Gram matrix of an instance's candidates; from there on a candidate costs
O(candidates) to take and O(held-out rows) to look at. Instances move on together, a few looks each a round: what an
instance needs is so little that starting a NumPy operation would cost as much as the operation, and would keep
other threads from the interpreter.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.turns import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.masks import Floats, MaskDesign

CACHE = 1_000_000
"""Main effects of sets that are remembered for the next instances, p + 1 a set: 8 MB, and as much for their basis."""

PART = 1_000_000
"""Most candidates x masks made at once: 4 MB of float32."""

LOOKS = 3
"""Candidates of an instance looked at in a round. The first that is good enough is taken; those after it wait."""

NOTHING = 1e-9
"""Share of a column's square that is rounding when main effects are taken out of it."""

TINY = 1e-300
"""What a candidate out of play does not explain."""


@dataclass(slots=True)
class Candidates:
    """The candidates of several instances, C each, as columns less their main effects.

    Args:
        gram: Products of the columns with each other on the training rows, shape (B, C, C).
        whole: Squares of the columns there before their main effects were taken out, shape (B, C).
        inner: Products with the residual there, shape (B, C).
        valid: The columns on the validation rows, shape (B, C, H), float32.
        test: The columns on the test rows, shape (B, C, H), float32.
    """

    gram: Floats
    whole: Floats
    inner: Floats
    valid: npt.NDArray[np.float32]
    test: npt.NDArray[np.float32]


class Columns:
    """Makes :class:`Candidates`. What main effects explain of a set is remembered; threads may ask at once.

    Products of coded fields are powers of two with a sign, and so exact in float32, like the sums of them; residuals have
    no main effects on the training rows. So the products need not be freed of theirs there: the Gram matrix is.

    Args:
        design: The random masks.
    """

    def __init__(self, design: MaskDesign) -> None:
        self.design = design
        self._coded = np.ascontiguousarray(design.coded.T, dtype=np.float32)
        constant = np.ones((1, 2 * design.held_out), dtype=np.float32)
        self._held = np.vstack([constant, self._coded[:, design.train.stop :]])
        self._places: dict[Members, int] = {}
        self._shared = np.empty((64, design.main_weights.shape[1]))
        self._coefficients = np.empty((64, design.main_weights.shape[0]))
        self._turn = Turn()
        self._local = threading.local()

    def __len__(self) -> int:
        """Return of how many sets the main effects are remembered."""
        return len(self._places)

    def candidates(self, sets: Sequence[list[Members]], residuals: Floats) -> Candidates:
        """Return the columns of each instance's sets.

        Args:
            sets: For each instance, its sets: as many for one as for another (a set may be there several times).
            residuals: The instances' logits less their main effects, shape (B, M).
        """
        count = len(sets[0])
        # A few instances at a time: their products stay in the processor's cache.
        together = max(1, PART // (count * self._coded.shape[1]))
        parts = [
            self._part(sets[start : start + together], residuals[start : start + together])
            for start in range(0, len(sets), together)
        ]
        return Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _part(self, sets: Sequence[list[Members]], residuals: Floats) -> tuple[npt.NDArray[Any], ...]:
        design, shape = self.design, (len(sets), len(sets[0]), -1)
        everything = list(chain.from_iterable(sets))
        products = self._products(everything)
        shared, main = self._main(everything, products[:, design.train])
        train = products[:, design.train].reshape(shape)
        gram = np.matmul(train, train.transpose(0, 2, 1)).astype(np.float64)
        whole = np.diagonal(gram, axis1=1, axis2=2).copy()
        shared = shared.reshape(shape)
        gram -= np.matmul(shared, shared.transpose(0, 2, 1))
        inner = np.matmul(train, residuals[:, design.train, None].astype(np.float32))[:, :, 0]
        held = (products[:, design.train.stop :] - main.astype(np.float32) @ self._held).reshape(shape)
        valid, test = held[:, :, : design.held_out], held[:, :, design.held_out :]
        return gram, whole, inner.astype(np.float64), valid, test

    def _products(self, sets: list[Members]) -> npt.NDArray[np.float32]:
        """Return products of the sets' fields, shape (sets, M), in an array that the thread's next call overwrites."""
        sizes = np.array([len(members) for members in sets])
        largest = int(sizes.max())
        at = np.array([members + (0,) * (largest - len(members)) for members in sets]).T
        # Memory of its own would be asked of the system, and given back, in every call.
        space: npt.NDArray[np.float32] | None = getattr(self._local, "space", None)
        if space is None or space.shape[1] < len(sets):
            space = self._local.space = np.empty((2, len(sets), self._coded.shape[1]), dtype=np.float32)
        products, factors = space[0, : len(sets)], space[1, : len(sets)]
        np.take(self._coded, at[0], axis=0, out=products, mode="clip")
        np.take(self._coded, at[1], axis=0, out=factors, mode="clip")
        products *= factors
        for position in range(2, largest):
            larger = np.flatnonzero(sizes > position)
            products[larger] *= self._coded[at[position, larger]]
        return products

    def _main(self, sets: list[Members], train: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return what main effects explain of sets: in terms of their orthonormal basis, and as coefficients."""
        design = self.design
        with self._turn:
            if len(self._places) * self._coefficients.shape[1] > CACHE:
                self._places.clear()
            missing: dict[Members, int] = {}
            for k, members in enumerate(sets):
                if members not in self._places:
                    missing.setdefault(members, k)
            if missing:
                rows = list(missing.values())
                # Exact sums, whichever sets happen to be missing; then one by one, for the last bits to be the same too.
                sums = np.empty((len(rows), design.masks.shape[1] + 1))
                sums[:, 0] = train[rows].sum(axis=1)
                sums[:, 1:] = train[rows] @ self._coded[:, design.train].T
                start = len(self._places)
                while len(self._shared) < start + len(rows):
                    self._shared, self._coefficients = (
                        np.vstack([old, np.empty_like(old)]) for old in (self._shared, self._coefficients)
                    )
                for place, (members, row) in enumerate(zip(missing, sums, strict=True), start):
                    self._places[members] = place
                    self._shared[place] = row @ design.main_weights
                    self._coefficients[place] = design.main_weights @ self._shared[place]
            places = [self._places[members] for members in sets]
            return self._shared[places], self._coefficients[places]


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
        # One row a candidate: its products with all candidates and with the residual. Taking a candidate is then one update
        # of one small array, which frees the others of what they have in common with it.
        self.table = np.concatenate([candidates.gram, candidates.inner[:, :, None]], axis=2)
        self.valid, self.test = candidates.valid, candidates.test
        self.norms = np.diagonal(self.table, axis1=1, axis2=2).copy()
        # What is left of a column is rounding below this: a copy of what was taken, or no more rows than main effects.
        self.floor = np.maximum(1e-4 * self.norms.max(axis=1, keepdims=True), NOTHING * candidates.whole)
        self.twice_left = (2.0 * residuals[:, design.valid]).astype(np.float32)
        self.test_left = residuals[:, design.test]
        # What each candidate had in common with those taken, and these, freed of each other, on the validation rows: in
        # float32 like the columns, for these are what most of the work is on.
        self.shares = np.zeros((batch, most, most))
        self.taken = np.zeros((batch, most, self.held), dtype=np.float32)
        self.factors = np.zeros((batch, most))
        self.orders: list[list[int]] = [[] for _ in range(batch)]
        self.gains: list[list[float]] = [[] for _ in range(batch)]

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
            explained = np.where(alive & (self.norms > self.floor), self.table[:, :, -1] ** 2, 0.0)
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
            factors = self.table[instances, best, -1]
            factors /= np.maximum(self.norms, self.floor)[instances, best]
            columns = self._freed(best)
            steps = factors[:, :, None].astype(np.float32) * columns
            # r^2 - (r - s)^2 on the validation rows
            better = steps * (self.twice_left[:, None] - steps)
            gains = (better @ ones).astype(np.float64) / self.held
            spread = np.einsum("bkh,bkh->bk", better, better) / self.held - gains * gains
            good = looked & (gains >= self.least[:, None])
            good &= gains > self.sigmas * np.sqrt(np.maximum(spread, 0.0) / self.held)
            some = good.any(axis=1)
            first = np.where(some, good.argmax(axis=1), len(places))
            looked &= places <= first[:, None]
            alive[np.broadcast_to(instances, best.shape)[looked], best[looked]] = False
            if some.any():
                who = np.flatnonzero(some)
                at = who, first[who]
                self._take(who, best[at], columns[at], steps[at], factors[at], gains[at])

    def _freed(self, some: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return candidates (B, k) of each instance on the validation rows, freed of those taken, shape (B, k, H)."""
        instances = np.arange(self.batch)[:, None]
        columns = self.valid[instances, some]
        most = max(map(len, self.orders))
        if most:
            columns -= np.matmul(self.shares[instances, some, :most].astype(np.float32), self.taken[:, :most])
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
        place = np.array([len(self.orders[b]) for b in who.tolist()])
        self.twice_left[who] -= 2.0 * steps
        self.taken[who, place], self.factors[who, place] = columns, factors
        table = self.table[who]
        at = np.arange(len(who))
        share = table[at, :, which] / self.norms[who, which][:, None]
        share[at, which] = 1.0  # the taken column itself becomes zero, out of play
        self.shares[who, :, place] = share
        table -= share[:, :, None] * table[at, which][:, None, :]
        self.table[who] = table
        self.norms[who] = np.diagonal(table, axis1=1, axis2=2)
        for b, k, gain in zip(who.tolist(), which.tolist(), gains.tolist(), strict=True):
            self.orders[b].append(k)
            self.gains[b].append(gain)

    def _ends(self) -> list[Taken]:
        # The taken columns on the test rows, freed of each other: row by row what those before it leave.
        found = []
        for b, order in enumerate(self.orders):
            left = self.test_left[b]
            if order:
                count = len(order)
                system = np.eye(count) + np.tril(self.shares[b][order, :count], -1)
                weights = np.linalg.solve(system.T, self.factors[b, :count])
                left = left - weights @ self.test[b, order].astype(np.float64)
            found.append(Taken(order, self.gains[b], left))
        return found
