"""Candidate sets of several instances as columns of a regression, less what main effects explain of them.

Pairs are looked up where all of them have been worked out; what is larger, and pairs of many fields, is multiplied out.
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
    from nid_plugins.detection.pairs import Pairs

CACHE = 1_000_000
"""Main effects of sets that are remembered for the next instances, p + 1 a set: 8 MB, and as much for their basis."""

PART = 1_000_000
"""Most candidates x masks made at once: 4 MB of float32."""


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
        with self._turn:
            pairs = self.design.pairs
        if pairs is not None:
            return self._looked_up(pairs, sets, residuals)
        count = len(sets[0])
        # A few instances at a time: their products stay in the processor's cache.
        together = max(1, PART // (count * self._coded.shape[1]))
        parts = [
            self._part(sets[start : start + together], residuals[start : start + together])
            for start in range(0, len(sets), together)
        ]
        return Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _looked_up(self, pairs: Pairs, sets: Sequence[list[Members]], residuals: Floats) -> Candidates:
        design = self.design
        train, held = design.train, slice(design.train.stop, None)
        instances = np.arange(len(sets))[:, None]
        # Of a larger set its first two members for now.
        at = pairs.places(np.array([[members[:2] for members in own] for own in sets]))
        gram = pairs.gram[at[:, :, None], at[:, None, :]]
        # Squares of products of k coded fields are 4^-k everywhere.
        whole = train.stop * 0.25 ** np.array([list(map(len, own)) for own in sets])
        inner = pairs.inner(residuals[:, train])[instances, at].astype(np.float64)
        columns = pairs.held[at]
        for b, own in enumerate(sets):
            where = [k for k, members in enumerate(own) if len(members) > 2]
            if not where:
                continue
            larger = [own[k] for k in where]
            products = self._products(larger)
            shared, main = self._main(larger, products[:, train])
            others, theirs = pairs.products[at[b], train], pairs.shared[at[b]]
            others[where], theirs[where] = products[:, train], shared
            gram[b, :, where] = (others @ products[:, train].T - theirs @ shared.T).T
            gram[b, where] = gram[b, :, where]
            inner[b, where] = products[:, train] @ residuals[b, train].astype(np.float32)
            columns[b, where] = products[:, held] - main.astype(np.float32) @ self._held
        return Candidates(
            gram, whole, inner, columns[:, :, : design.held_out], columns[:, :, design.held_out :]
        )

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
