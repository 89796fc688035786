"""Quantile bins of dense fields."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import INVALID
from nid_plugins.errors import NidWarning, SettingError


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
    with np.errstate(over="ignore"):
        ordered = np.sort(values.astype(np.float32))  # NaN sorts last
    ordered = ordered[: len(ordered) - int(np.isnan(ordered).sum())]
    n = len(ordered)
    if n == 0 or ordered[0] == ordered[-1]:
        what = "always missing" if n == 0 else "constant"
        warnings.warn(
            f"field {field!r} is {what} in the training frame: it has one bin and adds nothing to its crosses",
            NidWarning,
            stacklevel=2,
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
    """The bins of a dense field, in a third of the time of a bisection, for batch after batch.

    The leading 16 bits of a value tell how many edges lie below all values with those bits; where one edge lies among
    them, one comparison tells the rest. Values among two or more are bisected.

    Args:
        edges: Shape (E,), float32, ascending.
    """

    def __init__(self, edges: npt.NDArray[np.float32]) -> None:
        self._edges = edges
        leading = (ordered_bits(edges) >> np.uint32(16)).astype(np.int64)
        self._below = np.searchsorted(leading, np.arange(2**16)).astype(np.int64)
        number = np.bincount(leading, minlength=2**16)
        self._edge = np.full(2**16, np.nan, dtype=np.float32)  # no value reaches NaN
        self._edge[leading] = edges
        self._crowded = number > 1
        self._any_crowded = bool(self._crowded.any())

    def __call__(self, values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
        """Return what :func:`~nid_plugins.crosses.keys.dense_ids` returns, shape (n,)."""
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float32, copy=False) + np.float32(0)
        bits = rounded.view(np.uint32)
        leading = ((bits ^ _flips(bits)) >> np.uint32(16)).astype(np.int64)
        ids = self._below[leading]
        ids += rounded >= self._edge[leading]
        if self._any_crowded:
            crowded = np.flatnonzero(self._crowded[leading])
            ids[crowded] = np.searchsorted(self._edges, rounded[crowded], side="right")
        missing = np.isnan(rounded)
        if missing.any():
            ids[missing] = INVALID
        return ids


def _flips(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return what turns the bits of float32 into numbers that order alike: all bits of a negative one, else the sign."""
    signs = bits.view(np.int32) >> 31  # -1 or 0
    return signs.view(np.uint32) | np.uint32(0x80000000)


def ordered_bits(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint32]:
    """Return values, rounded to float32, as numbers that order alike, -0.0 as 0.0; NaN is left out."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32, copy=False) + np.float32(0)  # + 0 turns -0.0 into 0.0
    missing = np.isnan(rounded)
    bits = (rounded[~missing] if missing.any() else rounded).view(np.uint32)
    return bits ^ _flips(bits)
