"""Exact quantile bins of columns larger than memory, by counting the digits of float32 values.

The bits of a float32, with the sign folded in, order like the values. They are counted as they stand, and folded when
a pass is over: there are fewer counters than values. A first pass over the data counts values by
their leading bits; the places of the quantiles are then known up to those, and a further pass counts, within them, by
the next bits, until all 32 are known. Counts do not depend on the order of rows, so passes may be shared out and added up.
Where a column has few distinct values and loops are compiled, the first pass counts these and is the last.
With memory for 2**18 counters a column that takes two passes, and the edges are those of
:func:`~nid_plugins.crosses.bins.quantile_edges` to the last bit: there is no sketch and no error.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops
from nid_plugins.crosses.bins import fold, raw_bits
from nid_plugins.crosses.counting import counter_type, nonzero
from nid_plugins.crosses.distinct import BYTES, DistinctValues
from nid_plugins.errors import NidWarning

BITS = 32
FIRST_BITS = 18
"""Most bits counted in the first pass: 2 MiB of counters."""

_SIGN = np.uint32(0x80000000)

UInt32Array = npt.NDArray[np.uint32]


def floats_of(bits: UInt32Array) -> npt.NDArray[np.float32]:
    """Return the float32 values that :func:`~nid_plugins.crosses.bins.ordered_bits` made into these numbers."""
    return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).astype(np.uint32).view(np.float32)


class QuantileCounter:
    """Finds the bin edges of one dense column in a few passes over it.

    Feed all of the column to :meth:`add`, call :meth:`close`, and again until :attr:`done`.

    Args:
        bins: Most bins.
        memory: Bytes for counters; more passes where it is little.
        rows: Most values that will be added in a pass.

    Attributes:
        done: Whether :meth:`edges` can be asked for.
        counts: The counters, by prefix and digit, where the bits of values stand unfolded.
    """

    def __init__(self, bins: int, memory: int, rows: int = 2**62) -> None:
        self.done = False
        self._kind = np.dtype(counter_type(rows))
        self._bins = bins
        self._counters = max(memory // 8, 64)
        self._known = 0  # bits known of the active prefixes
        self._prefixes = np.zeros(1, dtype=np.uint32)  # ascending
        self._below = np.zeros(1, dtype=np.int64)  # values below each prefix
        self._rows = 0
        self._distinct = DistinctValues() if loops.ready() and memory >= 4 * BYTES else None
        self._start()

    def _start(self) -> None:
        room = max((self._counters // len(self._prefixes)).bit_length() - 1, 1)
        self._bits = min(room, BITS - self._known, FIRST_BITS)
        # One row more than prefixes, for all values that begin otherwise: counting them is cheaper than leaving them out.
        self.counts = np.zeros((len(self._prefixes) + (self._known > 0), 2**self._bits), dtype=self._kind)
        self._places: npt.NDArray[np.int32] | None = None
        small = self.counts.size < 2**31
        if small and 0 < self._known <= min(FIRST_BITS, self._counters.bit_length()):
            # Where a prefix is found, without a bisection.
            places = np.full(2**self._known, len(self._prefixes), dtype=np.int32)
            places[self._prefixes] = np.arange(len(self._prefixes), dtype=np.int32)
            self._places = places[fold(np.arange(2**self._known, dtype=np.uint32), self._known)] << self._bits

    @property
    def bytes(self) -> int:
        """Memory of the counters."""
        return self.counts.nbytes + (0 if self._distinct is None else BYTES)

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Count some of the column's values in this pass."""
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(values, dtype=np.float32)
        if self._distinct is not None:
            taken = self._distinct.add(rounded)
            if taken == len(rounded):
                return
            self._pour()
            rounded = rounded[taken:]
        flat, known = self.counts.reshape(-1), BITS - self._known
        if not self._known:
            if loops.count_leading(flat, rounded, BITS - self._bits):
                return
        elif self._places is not None:
            shifts, mask = (known, known - self._bits), 2**self._bits - 1
            if loops.count_following(flat, rounded, self._places, shifts, mask):
                return
        bits = raw_bits(rounded)
        if not self._known:
            place: UInt32Array = bits >> np.uint32(BITS - self._bits)
        elif self._places is not None:
            leading = (bits >> np.uint32(BITS - self._known)).astype(np.intp)
            place = np.take(self._places, leading, mode="wrap").view(np.uint32)
            place |= self._digits(bits)
        else:
            folded = fold(bits, BITS) >> np.uint32(BITS - self._known)
            at = np.searchsorted(self._prefixes, folded)
            at[at == len(self._prefixes)] = 0
            at[self._prefixes[at] != folded] = len(self._prefixes)
            wide = at * 2**self._bits + self._digits(bits).astype(np.int64)
            loops.count(flat, wide)
            return
        loops.count(flat, place.view(np.int32))

    def _pour(self) -> None:
        """Go on with leading bits, if distinct values were counted so far: there are too many."""
        if self._distinct is not None:
            self._count_leading(*self._distinct.items())
            self._distinct = None

    def _count_leading(self, bits: UInt32Array, number: npt.NDArray[np.int64]) -> None:
        """Count values that occur so many times each by their leading bits."""
        np.add.at(self.counts.reshape(-1), bits >> np.uint32(BITS - self._bits), number.astype(self._kind))

    def _digits(self, bits: UInt32Array) -> UInt32Array:
        return (bits >> np.uint32(BITS - self._known - self._bits)) & np.uint32(2**self._bits - 1)

    def fresh(self) -> QuantileCounter:
        """Return a counter at the same pass that has counted nothing in it, for other rows."""
        other = copy.copy(self)
        other.counts = np.zeros_like(self.counts)
        other._distinct = None if self._distinct is None else DistinctValues()  # noqa: SLF001 - of this class
        return other

    def merge(self, other: QuantileCounter) -> None:
        """Add what another counter, at the same pass, has counted in other rows."""
        if self._distinct is None or other._distinct is None:
            self._pour()
            other._pour()
            self.counts += other.counts
            return
        bits, number = other._distinct.items()
        taken = self._distinct.add(bits.view(np.float32), number)
        if taken < len(bits):
            self._pour()
            self._count_leading(bits[taken:], number[taken:])

    def close(self) -> None:
        """End a pass."""
        if self._distinct is not None:
            bits, number = self._distinct.items()
            values = fold(bits, BITS)
            order = np.argsort(values)
            self._rows = int(number.sum())
            self._finish(values[order], np.cumsum(number[order]) - number[order])
            return
        which, digit = np.divmod(nonzero(self.counts.reshape(-1)), 2**self._bits)
        number = self.counts[which, digit].astype(np.int64)
        known = which < len(self._prefixes)
        which, digit, number = which[known], digit[known], number[known]
        if not self._known:
            digit = fold(digit.astype(np.uint32), self._bits).astype(np.int64)
        else:  # the digits of a negative value count down
            negative = self._prefixes[which] >> np.uint32(self._known - 1) == 0
            digit = np.where(negative, digit ^ (2**self._bits - 1), digit)
        order = np.lexsort((digit, which))
        which, digit, number = which[order], digit[order], number[order]
        prefixes = (self._prefixes[which] << np.uint32(self._bits)) | digit.astype(np.uint32)
        # Values below: those below the parent, and those of its children that come before.
        before = np.cumsum(number) - number
        first_of_parent = np.searchsorted(which, np.arange(len(self._prefixes)))
        starts = np.append(before, 0)[np.minimum(first_of_parent, max(len(before) - 1, 0))]
        below = self._below[which] + before - starts[which]
        if not self._known:
            self._rows = int(number.sum())
        self._known += self._bits
        # The prefixes that hold a quantile, the least of all, and the one after each: an edge may be the next value.
        hits = np.searchsorted(below, np.append(self._wanted(), 0), side="right") - 1
        hits = np.unique(np.concatenate([hits, hits + 1]))
        hits = hits[(hits >= 0) & (hits < len(prefixes))]
        if self._known == BITS:
            self._finish(prefixes, below)
            return
        last = len(prefixes) - 1
        kept = np.union1d(hits, [last]) if last >= 0 else hits
        self._prefixes, self._below = prefixes[kept], below[kept]
        if not len(kept):  # no value at all
            self._finish(prefixes, below)
            return
        self._start()

    def _wanted(self) -> npt.NDArray[np.int64]:
        """Return the places of the quantiles among the sorted values."""
        return np.arange(1, self._bins, dtype=np.int64) * self._rows // self._bins

    def _finish(self, values: UInt32Array, below: npt.NDArray[np.int64]) -> None:
        """End with the distinct values, ascending, and how many are below each."""
        self.done = True
        self._distinct = None
        self.counts = np.zeros((0, 0), dtype=self._kind)
        self._places = None
        self._constant = len(values) <= 1
        if self._constant:
            self._edges = np.empty(0, dtype=np.float32)
            return
        # As in quantile_edges, with places among the distinct values in the place of values.
        cuts, times = np.unique(np.searchsorted(below, self._wanted(), side="right") - 1, return_counts=True)
        following = cuts[(times > 1) | (cuts == 0)] + 1
        chosen = np.union1d(cuts[cuts > 0], following[following < len(values)])
        self._edges = floats_of(values[chosen])

    def edges(self, field: str) -> npt.NDArray[np.float32]:
        """Return the edges, as :func:`~nid_plugins.crosses.bins.quantile_edges` does.

        Args:
            field: Name, for the warning.

        Warns:
            NidWarning: The field is constant or always missing, so that it has one bin.
        """
        if self._constant:
            what = "always missing" if not self._rows else "constant"
            warnings.warn(
                f"field {field!r} is {what} in the training frame: it has one bin and adds nothing to its crosses",
                NidWarning,
                stacklevel=2,
            )
        return self._edges
