"""Counts of a column's distinct values, as long as they are few: counts and amounts of click logs are, and take one pass then."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops

SLOTS = 2**17
BYTES = SLOTS * (np.dtype(np.uint32).itemsize + np.dtype(np.int64).itemsize)
"""Memory of a table."""
MOST = SLOTS // 2
"""Most distinct values: half of the table, so that a value is found in a step or two."""

UInt32Array = npt.NDArray[np.uint32]
Int64Array = npt.NDArray[np.int64]


class DistinctValues:
    """A table of the float32 values seen and how often, NaN left out, -0.0 as 0.0.

    Only with compiled loops; without them it takes no value.
    """

    def __init__(self) -> None:
        self._words: UInt32Array = np.empty(0, dtype=np.uint32)
        self._counts: Int64Array = np.empty(0, dtype=np.int64)
        self._number = 0

    def add(self, values: npt.NDArray[np.float32], counts: Int64Array | None = None) -> int:
        """Count values, and return how many were taken: not all where there are too many distinct ones.

        Args:
            values: Shape (n,).
            counts: How often each occurs, shape (n,). None: once.
        """
        if not len(self._words):
            self._words, self._counts = np.zeros(SLOTS, dtype=np.uint32), np.zeros(SLOTS, dtype=np.int64)
        taken, self._number = loops.count_distinct(
            self._words, self._counts, values, counts, self._number, MOST
        )
        return taken

    def items(self) -> tuple[UInt32Array, Int64Array]:
        """Return the bits of the distinct values, in no order, and how often each occurs."""
        there = np.flatnonzero(self._counts)
        return self._words[there], self._counts[there]
