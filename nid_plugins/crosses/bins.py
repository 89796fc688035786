"""Quantile bins of dense fields."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

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
