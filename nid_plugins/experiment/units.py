"""Reading a column of unit ids: text or whole numbers, nothing that could hash to something else tomorrow.

A missing id, or a number that was turned into a float on its way, would put real users into a wrong variant without a
word. They are errors that say where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError

Units: TypeAlias = "list[str] | npt.NDArray[np.integer[Any]]"
"""Ids as they are hashed: text, or integers that stand for their decimal digits."""

SHOWN = 5
"""Bad rows named in an error."""


def read_units(values: Any, name: str = "unit_ids") -> Units:
    """Read a column of unit ids.

    Args:
        values: Array, list, or pandas, Polars or Arrow column, of text or integers.
        name: Column's name, for errors.

    Returns:
        An integer array, or a list of text, in the order of the rows.

    Raises:
        FrameError: Not one column of ids; or null, NaN, a float, a bool, bytes or empty text in it: the first such rows
            are named.
    """
    if isinstance(values, list | tuple):
        return _texts(values, name)
    if isinstance(values, str | bytes | Mapping) or hasattr(type(values), "columns"):
        raise _not_a_column(values, name)
    if hasattr(values, "detach"):  # a torch tensor
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray):
        return _from_array(values, name)
    if hasattr(values, "__narwhals_series__") or _is_series(values):
        return _from_series(values, name)
    if hasattr(values, "to_pylist"):  # an Arrow array
        return _texts(values.to_pylist(), name)
    if isinstance(values, Sequence) or hasattr(values, "__array__"):
        return _from_array(np.asarray(values), name) if hasattr(values, "__array__") else _texts(values, name)
    raise _not_a_column(values, name)


def as_texts(units: Units) -> list[str]:
    """Return ids as the text that is hashed."""
    return units if isinstance(units, list) else [str(unit) for unit in units.tolist()]


def _not_a_column(values: Any, name: str) -> FrameError:
    return FrameError(
        "not a column of unit ids",
        field=name,
        received=type(values).__name__,
        expected="an array, a list, or a pandas, Polars or Arrow column of text or integers",
        hint="Pass frame[design.unit]; a single id goes into a list",
    )


def _is_series(values: Any) -> bool:
    import narwhals.stable.v1 as nw

    try:
        nw.from_native(values, series_only=True)
    except TypeError:
        return False
    return True


def _from_series(values: Any, name: str) -> Units:
    import narwhals.stable.v1 as nw

    series = nw.from_native(values, series_only=True)
    if not len(series):
        return []
    if series.dtype.is_integer() and series.null_count() == 0:
        return _from_array(np.asarray(series.to_numpy()), name)
    if series.dtype.is_float():
        raise _floats(series.to_numpy(), name)
    return _texts(series.to_list(), name)


def _from_array(array: npt.NDArray[Any], name: str) -> Units:
    if array.ndim != 1:
        raise FrameError("a column must be 1-D", field=name, received=f"shape {array.shape}", expected="(n,)")
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.getmaskarray(array).any():
            raise _bad(np.flatnonzero(np.ma.getmaskarray(array)).tolist(), name, "missing")
        array = array.data
    if not len(array):
        return []
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "f":
        raise _floats(array, name)
    if array.dtype.kind in "UOT":
        return _texts(array.tolist(), name)
    raise FrameError(
        "not unit ids", field=name, received=f"dtype {array.dtype}", expected="text or integers", hint=_HINT
    )


_HINT = "Give each unit one stable id, as text or as an integer; leave out rows without one"


def _floats(array: Any, name: str) -> FrameError:
    found = np.asarray(array, dtype=np.float64)
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        return _bad(
            missing.tolist(),
            name,
            "missing",
            "Drop those rows; integers beside missing values turn into floats, so read the column as nullable "
            "integers or as text",
        )
    return FrameError(
        "floats are no unit ids",
        field=name,
        received=f"dtype float, {float(found[0])!r} at row 0" if len(found) else "dtype float",
        expected="text or integers",
        hint="Read the column as integers or as text: 1.0 and 1 would be two units",
    )


def _texts(values: Sequence[Any], name: str) -> Units:
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    texts = list(values) if kinds <= {str} else _converted(values, name)
    if "" in texts:
        raise _bad([row for row, text in enumerate(texts) if text == ""], name, "empty text")
    return texts


def _converted(values: Sequence[Any], name: str) -> list[str]:
    texts: list[str] = []
    bad: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if isinstance(value, str):
            texts.append(str.__str__(value))
        elif isinstance(value, int | np.integer) and not isinstance(value, bool):
            try:
                texts.append(str(int(value)))
            except ValueError:  # more digits than Python turns into text
                bad.setdefault("an integer of thousands of digits", []).append(row)
        else:
            bad.setdefault(_kind(value), []).append(row)
    for what, rows in bad.items():
        raise _bad(rows, name, what)
    return texts


def _kind(value: Any) -> str:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return "missing"
    if isinstance(value, float | np.floating) and np.isnan(value):
        return "missing"
    return f"{type(value).__name__} {value!r}"[:60] if isinstance(value, bytes) else type(value).__name__


def _bad(rows: list[int], name: str, what: str, hint: str = _HINT) -> FrameError:
    shown = ", ".join(map(str, rows[:SHOWN])) + (", ..." if len(rows) > SHOWN else "")
    return FrameError(
        "rows without a usable unit id",
        field=name,
        received=f"{what} at row{'s' if len(rows) > 1 else ''} {shown} ({len(rows):,} such rows)",
        expected="text that is not empty, or an integer, in each row",
        hint=hint,
    )
