"""Quantile bins of dense fields."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.errors import NidWarning, SettingError

_BELOW_ZERO = 2**15 - 1  # the leading 16 bits, in order, of the numbers just below 0
_STEPS = 3
"""Most edges with the same leading bits that values are compared with one by one."""


def check_bins(bins: object) -> int:
    """Return ``bins`` as an int.

    Raises:
        SettingError: Not an integer of at least 1.
    """
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise SettingError("bins out of range", received=repr(bins), expected="an integer of at least 1")
    return int(bins)


def quantile_edges(values: npt.NDArray[np.floating], bins: int, *, field: str) -> npt.NDArray[np.float32]:
    """Return the edges that cut a dense field into at most ``bins`` bins of about equal mass.

    Bin ``i`` holds the values with exactly ``i`` edges not above them. Edges are values that occur (after rounding to
    float32, as models see them), so no framework's arithmetic can move one. A value that fills two or more quantiles,
    such as the zero of a count, has a bin of its own. GLIDER cuts dense fields into 100 quantile bins (Tsang et al.,
    ICLR 2020, section 5.2).

    Args:
        values: Shape (n,); NaN is left out.
        bins: Number of bins wanted.
        field: Name, for the warning.

    Returns:
        Ascending edges without duplicates, shape (E,), E < bins.

    Warns:
        NidWarning: The field is constant or always missing, so that it has one bin.
    """
    return edges_of_sorted(sorted_values(values), bins, field=field, stacklevel=3)


def sorted_values(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return numbers as float32, ascending, NaN last."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)  # first, as where a frame is read into one matrix
    with np.errstate(over="ignore"):
        ordered = values.astype(np.float32)
    ordered.sort()
    return ordered


def edges_of_sorted(
    ordered: npt.NDArray[np.float32], bins: int, *, field: str, stacklevel: int = 2
) -> npt.NDArray[np.float32]:
    """Return :func:`quantile_edges` of values that are sorted, NaN last."""
    ordered = ordered[: int(np.searchsorted(ordered, np.float32(np.nan)))]
    n = len(ordered)
    if n == 0 or ordered[0] == ordered[-1]:
        what = "always missing" if n == 0 else "constant"
        warnings.warn(
            f"field {field!r} is {what} in the training frame: it has one bin and adds nothing to its crosses",
            NidWarning,
            stacklevel=stacklevel,
        )
        return np.empty(0, dtype=np.float32)
    # Integer arithmetic: the same cut points on every machine.
    cuts, times = np.unique(ordered[np.arange(1, bins, dtype=np.int64) * n // bins], return_counts=True)
    # An edge at the minimum would cut nothing off; what a heavy value needs is the next value as an upper edge.
    heavy = cuts[(times > 1) | (cuts == ordered[0])]
    above = np.searchsorted(ordered, heavy, side="right")
    following = ordered[above[above < n]]
    return np.union1d(cuts[cuts > ordered[0]], following) + np.float32(0)  # + 0 turns -0.0 into 0.0


class FastBins:
    """The bins of a dense field, in a tenth of the time of a bisection, for batch after batch.

    The leading 16 bits of a float32 tell how many edges lie below all values with those bits; each edge among these
    takes one comparison. Values among more edges than :data:`_STEPS` are bisected.

    Args:
        edges: Shape (E,), float32, ascending.
    """

    def __init__(self, edges: npt.NDArray[np.float32]) -> None:
        self._edges = edges
        leading = (ordered_bits(edges) >> np.uint32(16)).astype(np.int64)
        below = np.searchsorted(leading, np.arange(2**16))
        number = np.bincount(leading, minlength=2**16)
        # The bits of -0.0 are those of numbers below 0, and yet it is not below an edge at 0, the next one after theirs.
        number[_BELOW_ZERO] += bool((edges == 0).any())
        # By the bits as they stand in a value, so that nothing has to be folded there.
        bits = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
        order = ((bits ^ _flips(bits)) >> np.uint32(16)).astype(np.int64)
        below, number = below[order], number[order]
        self._below = (below + 1).astype(np.int32)
        self._steps = np.full((min(int(number.max()), _STEPS), 2**16), np.nan, dtype=np.float32)
        for step, edge in enumerate(self._steps):
            there = number > step
            edge[there] = edges[below[there] + step]  # no value reaches NaN, elsewhere
        crowded = number > _STEPS
        self._crowded = crowded if crowded.any() else crowded[:0]

    def codes(
        self,
        values: npt.NDArray[np.floating[Any]],
        scratch: Scratch | None = None,
        codes: npt.NDArray[np.int32] | None = None,
    ) -> npt.NDArray[np.int32]:
        """Return member ids plus 1, 0 for a missing value, shape (n,), in an array of the scratch or the one given."""
        scratch, n = scratch or Scratch(), len(values)
        codes = scratch("codes", n, np.int32) if codes is None else codes
        rounded = values
        if values.dtype != np.float32:
            rounded = scratch("rounded", n, np.float32)
            with np.errstate(over="ignore"):
                np.copyto(rounded, values, casting="same_kind")
        if loops.bin_codes(rounded, (self._below, self._steps, self._crowded, self._edges), codes):
            return codes
        edges, above = scratch("edges", n, np.float32), scratch("above", n, np.bool_)
        bits, leading = scratch("bits", n, np.uint32), scratch("leading", n, np.intp)
        np.right_shift(rounded.view(np.uint32), np.uint32(16), out=bits)
        np.copyto(leading, bits, casting="unsafe")
        np.take(self._below, leading, mode="wrap", out=codes)
        for edge in self._steps:
            np.take(edge, leading, mode="wrap", out=edges)
            codes += np.greater_equal(rounded, edges, out=above)
        if len(self._crowded):
            crowded = np.flatnonzero(np.take(self._crowded, leading, mode="wrap"))
            codes[crowded] = np.searchsorted(self._edges, rounded[crowded], side="right") + 1
        missing = np.isnan(rounded, out=above)
        if missing.any():
            codes[missing] = 0
        return codes

    def __call__(self, values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
        """Return what :func:`~nid_plugins.crosses.keys.dense_ids` returns, shape (n,)."""
        return self.codes(values).astype(np.int64) - 1  # a missing value's code less 1 is INVALID


def _flips(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return what turns the bits of float32 into numbers that order alike: all bits of a negative one, else the sign."""
    signs = bits.view(np.int32) >> 31  # -1 or 0
    return signs.view(np.uint32) | np.uint32(0x80000000)


def fold(leading: npt.NDArray[np.uint32], width: int) -> npt.NDArray[np.uint32]:
    """Return the leading bits of float32 values, so many of them, as numbers that order alike."""
    sign = np.uint32(1 << (width - 1))
    return leading ^ np.where(leading & sign, np.uint32(2**width - 1), sign)


def raw_bits(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint32]:
    """Return the bits of values, rounded to float32, -0.0 as 0.0; NaN is left out."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32, copy=False) + np.float32(0)  # + 0 turns -0.0 into 0.0
    missing = np.isnan(rounded)
    return (rounded[~missing] if missing.any() else rounded).view(np.uint32)


def ordered_bits(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint32]:
    """Return values, rounded to float32, as numbers that order alike, -0.0 as 0.0; NaN is left out."""
    bits = raw_bits(values)
    return bits ^ _flips(bits)
