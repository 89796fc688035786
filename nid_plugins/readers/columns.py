"""Raw columns as text or as numbers, whatever they came as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nid_plugins.errors import FrameError

_MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True, eq=False)
class Tokens:
    """A column as text, each distinct value spelt once: a column has far fewer of them than rows.

    Attributes:
        texts: The distinct values as text; missing ones (None, NaN, empty) are not among them.
        codes: Which of them each row has, -1 where missing, shape (n,).
    """

    texts: list[str]
    codes: npt.NDArray[np.int64]


def tokens_of(column: npt.NDArray[Any]) -> Tokens:
    """Return a column as text.

    A whole number is spelt without a fraction whatever its type, since a column of integers with a gap arrives as
    floats.
    """
    codes, found = pd.factorize(column if column.dtype.kind in "iuf" else column.astype(object))
    spelt = [_spelt(value) for value in found]
    texts = sorted(set(spelt) - {""})
    position = {value: at for at, value in enumerate(texts)} | {"": -1}
    recode = np.array([*(position[value] for value in spelt), -1], dtype=np.int64)
    return Tokens(texts, recode[codes])  # factorize gives a missing value -1: the last


def _spelt(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def numbers_of(name: str, column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a column as float64, NaN where it is missing.

    Raises:
        FrameError: A value is neither a finite number nor missing.
    """
    if column.dtype.kind in "iufb":
        values = column.astype(np.float64)
        bad = np.isinf(values)
    else:
        tokens = tokens_of(column)
        read = np.array(
            pd.to_numeric(pd.Series(tokens.texts, dtype=object), errors="coerce"), dtype=np.float64
        )
        unread = np.isnan(read) & [value.strip().lower() not in _MISSING_NUMBERS for value in tokens.texts]
        values = np.append(read, np.nan)[tokens.codes]
        bad = np.append(np.isinf(read) | unread, False)[tokens.codes]
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FrameError(
            "not a finite number",
            field=name,
            received=f"{str(column[row])!r} at row {row} ({int(bad.sum())} such rows)",
            expected="numbers, empty where missing",
            hint="Declare the column as sparse, or clean it",
        )
    return values


def is_dense(column: npt.NDArray[Any]) -> bool:
    """Return whether a column holds numbers of which at least one has a fraction."""
    try:
        values = numbers_of("", column)
    except FrameError:
        return False
    present = values[~np.isnan(values)]
    return bool((present != np.floor(present)).any())
