"""Which int64 keys occur more than a threshold, in bounded memory, exactly.

Two ways. Where the keys are few enough for an array with a counter each, one pass over the data is enough
(:class:`DirectCounter`). Otherwise (:class:`FilteredCounter`) a first pass adds every key to one of ``C`` counters that a
hash picks. A counter is at least the count of each of its keys, so that a key above the threshold always passes:
**no false negatives**. At most ``N / t`` of the counters can be above the threshold ``t`` when ``N`` keys were counted,
so that a key that is not frequent passes with probability of at most ``N / (t C)``, over the draw of the hash. ``C`` is
128 times ``N / t`` or more where memory allows, so that fewer than 1 % pass. This is a count-min sketch of one row (Cormode and Muthukrishnan, "An improved data stream
summary", 2005) with the threshold known beforehand. A second pass counts what passed, exactly; when that is more than
memory holds, it counts the smaller keys, and a further pass the rest. The result is exact in any case.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.crosses.keys import Int64Array

FEWEST_COUNTERS = 2**10
MOST_COUNTERS = 2**24
LEAST_KEYS = 256
"""Distinct keys that are counted in one pass however little memory there is."""

_SELECTIVE = (
    128  # so many counters for each that can be above the threshold: fewer than 1 % of rare keys pass
)
_BYTES_A_KEY = 64  # key and count, and as much again three times while two tables are merged
_WORD = 8  # bytes
_HASH = np.uint64(0x9E3779B97F4A7C15)
_COUNTER = np.uint32
_MOST_ROWS = 2**32 - 1  # what the counters hold


def counter_type(rows: int) -> npt.DTypeLike:
    """Return the dtype of counters of so many rows."""
    return _COUNTER if rows <= _MOST_ROWS else np.int64


def nonzero(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return where values other than 0 are, ascending: many times as fast as NumPy where they are few."""
    width = max(_WORD // values.dtype.itemsize, 1)
    whole = len(values) // width * width
    words = values[:whole].view(np.uint64)
    first = np.flatnonzero(words)
    if len(first) * 8 > len(words):
        return np.flatnonzero(values).astype(np.int64, copy=False)
    near = (first[:, None] * width + np.arange(width)).reshape(-1)
    near = np.concatenate([near, np.arange(whole, len(values))])
    found: npt.NDArray[np.int64] = near[values[near] != 0]
    return found


class DirectCounter:
    """A counter for each of the keys ``0 .. space - 1``; one pass.

    Args:
        space: Number of keys.
        threshold: What a count must exceed.
        rows: Most keys that will be added.

    Attributes:
        done: Whether :attr:`keys` is there.
        keys: Keys above the threshold, ascending, int64.
        counts: The counters, from the first key on and as long as they are needed.
    """

    def __init__(self, space: int, threshold: float, rows: int) -> None:
        self.done = False
        self.keys: Int64Array = np.empty(0, dtype=np.int64)
        self._threshold = threshold
        self._space = space
        # Made when they are needed: where one counter is done before the next begins, they take the same memory in turn.
        self.counts: npt.NDArray[np.integer] = np.empty(0, dtype=counter_type(rows))

    @property
    def bytes(self) -> int:
        """Memory of the counters."""
        return self._space * self.counts.itemsize

    def add(self, keys: npt.NDArray[np.integer[Any]]) -> None:
        """Count keys."""
        loops.count(self._counters(), keys)

    def add_numbers(self, digits: Sequence[loops.Integers], bases: Sequence[int]) -> bool:
        """Count keys given by their digits, and return True; False where that is not faster than to work them out."""
        return loops.count_numbers(self._counters(), digits, bases)

    def _counters(self) -> npt.NDArray[np.integer]:
        if not len(self.counts):
            self.counts = np.zeros(self._space, dtype=self.counts.dtype)
        return self.counts

    def fresh(self) -> DirectCounter:
        """Return a counter of the same keys that has counted nothing, for other rows."""
        other = copy.copy(self)
        other.counts = np.empty(0, dtype=self.counts.dtype)
        return other

    def merge(self, other: DirectCounter) -> None:
        """Add what another counter has counted of other rows."""
        if not len(self.counts):
            self.counts = other.counts.copy()  # what comes from elsewhere may be read-only
        elif len(other.counts):
            self.counts += other.counts

    def close(self) -> None:
        """End the pass."""
        # Counts are whole numbers: above the threshold is above its floor, and comparing like with like is faster.
        kind = self.counts.dtype.type
        self.keys = nonzero(self.counts > kind(min(self._threshold, np.iinfo(kind).max)))
        self.counts = np.empty(0, dtype=kind)
        self.done = True


class SortedCounter:
    """Any integer keys that are in memory anyhow, sorted; one pass.

    Where an array has many more counters than there are rows this takes a third of its time.

    Args:
        threshold: What a count must exceed.

    Attributes:
        done: Whether :attr:`keys` is there.
        keys: Keys above the threshold, ascending, int64.
    """

    def __init__(self, threshold: float) -> None:
        self.done = False
        self.keys: Int64Array = np.empty(0, dtype=np.int64)
        self._threshold = threshold
        self._added: list[npt.NDArray[np.integer[Any]]] = []

    def add(self, keys: npt.NDArray[np.integer[Any]]) -> None:
        """Count keys, which stay as they are until the end of the pass."""
        self._added.append(keys)

    def close(self) -> None:
        """End the pass."""
        if self._added:
            keys, counts = np.unique(np.concatenate(self._added), return_counts=True)
            self.keys = keys[counts > self._threshold].astype(np.int64)
        self._added = []
        self.done = True


class FilteredCounter:
    """Any int64 keys, in so much memory: hashed counters first, then exact counts of what passes; two passes or more.

    Args:
        memory: Bytes to use at most, but for :data:`FEWEST_COUNTERS` counters and :data:`LEAST_KEYS` keys.
        threshold: What a count must exceed.
        rows: Most keys that will be added.

    Attributes:
        done: Whether :attr:`keys` is there.
        keys: Keys above the threshold, ascending, int64.
        counts: The counters, as long as they are needed.
        table: Exact counts of what passed, in this pass.
        passed: Distinct keys that passed the filter, so far.
        leak: Share of the counters that are above the threshold: the probability that a rare key passes, by the hash.
    """

    def __init__(self, memory: int, threshold: float, rows: int) -> None:
        self.done = False
        self.keys: Int64Array = np.empty(0, dtype=np.int64)
        self.passed = 0
        self.leak = 0.0
        self._threshold = threshold
        self._rows = rows
        kind = counter_type(rows)
        # The flags that are left of the counters stay while what passed is counted.
        useful = min(_SELECTIVE * rows / max(threshold, 1), 4 * rows)
        counters = min(memory // (np.dtype(kind).itemsize + 1), 2 * int(useful), MOST_COUNTERS)
        bits = max(counters, FEWEST_COUNTERS).bit_length() - 1
        self._shift = np.uint64(64 - bits)
        self.counts: npt.NDArray[np.integer] = np.zeros(2**bits, dtype=kind)
        self._frequent: npt.NDArray[np.bool_] | None = None
        self._most = max((memory - 2**bits) // _BYTES_A_KEY, LEAST_KEYS)
        self._low: int | None = None  # keys up to here are done
        self.table = _Table(self._most)
        self._found: list[Int64Array] = []

    @property
    def bytes(self) -> int:
        """Most memory of the counters, or of the exact counts of what passed."""
        return self.counts.nbytes if self._frequent is None else min(self._most, self._rows) * _BYTES_A_KEY

    def add(self, keys: npt.NDArray[np.integer[Any]]) -> None:
        """Count keys in this pass."""
        words: Int64Array = np.ascontiguousarray(keys, dtype=np.int64)
        if self._frequent is None:
            loops.count_hashed(self.counts, words, _HASH, self._shift)
            return
        words = words[self._frequent[loops.hashed(words, _HASH, self._shift)]]
        self.table.add(words if self._low is None else words[words > self._low])

    def fresh(self) -> FilteredCounter:
        """Return a counter at the same pass that has counted nothing in it, for other rows."""
        other = copy.copy(self)
        other.counts = np.zeros_like(self.counts)
        other.table = _Table(self._most)
        return other

    def merge(self, other: FilteredCounter) -> None:
        """Add what another counter, at the same pass, has counted of other rows."""
        if self._frequent is None:
            self.counts += other.counts
        else:
            self.table.merge(other.table)

    def close(self) -> None:
        """End a pass."""
        if self._frequent is None:
            self._frequent = self.counts > self._threshold
            self.leak = float(self._frequent.mean())
            self.counts = np.empty(0, dtype=np.int64)
            self.done = not self._frequent.any()
            return
        self.table.settle()
        self.passed += len(self.table.keys)
        self._found.append(self.table.keys[self.table.counts > self._threshold])
        self._low = self.table.high
        self.done = self._low is None
        self.table = _Table(self._most)
        if self.done:
            self.keys = np.concatenate(self._found)
            self._frequent = None


class _Table:
    """Exact counts of distinct keys, of the smaller ones where they get too many.

    Attributes:
        keys: Ascending.
        counts: Of these keys.
        high: The largest key counted, None while all are.
    """

    def __init__(self, most: int) -> None:
        self.keys: Int64Array = np.empty(0, dtype=np.int64)
        self.counts: Int64Array = np.empty(0, dtype=np.int64)
        self.high: int | None = None
        self._most = most
        self._waiting: list[Int64Array] = []
        self._number = 0

    def add(self, keys: Int64Array) -> None:
        if self.high is not None:
            keys = keys[keys <= self.high]
        self._waiting.append(keys)
        self._number += len(keys)
        if self._number >= self._most:
            self.settle()

    def settle(self) -> None:
        if self._waiting:
            waiting = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            self._waiting, self._number = [], 0
            self._join(*np.unique(waiting, return_counts=True))

    def merge(self, other: _Table) -> None:
        self.settle()
        other.settle()
        highs = [high for high in (self.high, other.high) if high is not None]
        self._join(other.keys, other.counts)
        if highs:
            self._cut(min([*highs, *([] if self.high is None else [self.high])]))

    def _join(self, keys: Int64Array, counts: Int64Array) -> None:
        if len(self.keys):
            keys = np.concatenate([self.keys, keys])
            order = np.argsort(keys, kind="stable")  # two sorted runs: merged in linear time
            keys = keys[order]
            counts = np.concatenate([self.counts, counts])[order]
            starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
            keys, counts = keys[starts], np.add.reduceat(counts, starts)
        self.keys, self.counts = keys, counts
        if len(keys) > self._most:
            self._cut(int(keys[self._most // 2]))

    def _cut(self, high: int) -> None:
        self.high = high
        stop = int(np.searchsorted(self.keys, high, side="right"))
        self.keys, self.counts = self.keys[:stop].copy(), self.counts[:stop].copy()
