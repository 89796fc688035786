"""Cross ids of one row at a time, in plain Python: for services that compute features before the model.

A field's value is looked up in a dictionary, or among thresholds, once; a cross is then one multiplication and one
dictionary of its kept combinations. NumPy would take longer to start than this takes to end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.crosses.compact import CrossCode, MemberCodes, with_tables
from nid_plugins.crosses.compiled import used_ids
from nid_plugins.crosses.keys import cross_keys
from nid_plugins.crosses.lookup import members_of
from nid_plugins.errors import FrameError
from nid_plugins.schema import DenseField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.vocabulary import Cross
    from nid_plugins.schema import Field

_TABLES = 2**22  # bytes; they are used once
_EXACT = 2**53  # from here on a float64 need not hold an integer


def thresholds_of(edges: npt.NDArray[np.float32]) -> list[float]:
    """Return for each edge the least float64 that float32 rounds to the edge or above.

    Rounding is to the nearest, ties to the even mantissa: half-way between the edge and the float32 below it, included
    where the edge is the even one. So a value in double precision is compared as if it had been rounded first.
    """
    with np.errstate(over="ignore"):
        below = np.nextafter(edges, np.float32(-np.inf)).astype(np.float64)
    at = edges.astype(np.float64)
    # Infinity follows the largest float32 as 2**128 would; every value reaches an edge of minus infinity.
    for ends in (below, at):
        ends[np.isinf(ends)] = np.copysign(2.0**128, ends[np.isinf(ends)])
    half = below + (at - below) / 2
    half[edges == -np.inf] = -np.inf
    odd = (edges.view(np.uint32) & np.uint32(1)).astype(np.bool_)
    return [float(one) for one in np.where(odd, np.nextafter(half, np.inf), half)]


class RowLookup:
    """The crosses of one row after another. It is not changed by use: threads may share it.

    Args:
        crosses: The crosses. Their kept combinations are held once more, as dictionaries: about 100 bytes each.
    """

    def __init__(self, crosses: CrossFeatures) -> None:
        schema = crosses.schema
        used = {name for cross in crosses.crosses for name in cross.fields}
        names = [name for name in schema.names if name in used]
        self._names = names
        self._width = len(schema)
        self._by_name: Callable[[Any], tuple[Any, ...]] = itemgetter(*names)
        self._by_place: Callable[[Any], tuple[Any, ...]] = itemgetter(*map(schema.index_of, names))
        kept = used_ids(crosses)
        sizes = {
            name: size
            for cross in crosses.crosses
            for name, size in zip(cross.fields, cross.sizes, strict=True)
        }
        tables = with_tables({name: (sizes[name], len(ids)) for name, ids in kept.items()}, _TABLES)
        members = {name: MemberCodes(sizes[name], kept.get(name), table=name in tables) for name in names}
        self._sparse: list[tuple[int, Field, dict[Any, int]]] = []
        self._dense: list[tuple[int, Field, list[float], list[int]]] = []
        for at, name in enumerate(names):
            field = schema[name]
            if isinstance(field, DenseField):
                codes = members[name].codes(np.arange(sizes[name], dtype=np.int64))
                self._dense.append((at, field, thresholds_of(crosses.edges[name]), codes.tolist()))
            else:
                ids = kept.get(name, np.empty(0, dtype=np.int64))
                self._sparse.append((at, field, dict(zip(ids.tolist(), range(1, len(ids) + 1), strict=True))))
        self._pairs: list[tuple[int, int, int, dict[int, int]]] = []
        others: list[Callable[[list[int], tuple[Any, ...]], int]] = []
        places = {name: at for at, name in enumerate(names)}
        order: list[tuple[bool, int]] = []
        for cross in crosses.crosses:
            members_at = [places[name] for name in cross.fields]
            code = CrossCode(cross.fields, cross.sizes, members) if cross.exact else None
            if code is None or not code.radix:
                order.append((False, len(others)))
                others.append(_by_key(cross, members_at, crosses))
                continue
            own = [
                members[name].codes(ids) for name, ids in zip(cross.fields, members_of(cross), strict=True)
            ]
            found = dict(zip(code.numbers(own).tolist(), range(1, cross.vocabulary + 1), strict=True))
            bases = [members[name].base for name in cross.fields]
            if len(members_at) == 2:
                order.append((True, len(self._pairs)))
                self._pairs.append((members_at[0], members_at[1], bases[1], found))
            else:
                order.append((False, len(others)))
                others.append(_by_number(members_at, bases, found))
        self._others = others
        self._order = [k if pair else len(self._pairs) + k for pair, k in order]
        if self._order == sorted(self._order):
            self._order = []

    def __call__(self, row: Mapping[str, Any] | Sequence[Any]) -> list[int]:
        """Return the cross ids of a row; see :meth:`nid_plugins.CrossFeatures.row`."""
        values = self._values(row)
        codes = [0] * len(self._names)
        for at, field, known in self._sparse:
            value = values[at]
            try:
                code = known.get(value)
            except TypeError:  # not hashable
                code = None
            if code is not None:
                codes[at] = code
            elif type(value) is not int or not -_EXACT <= value <= _EXACT:  # an int not found is a rare one
                codes[at] = _rare(value, field, known)
        for at, field, thresholds, bins in self._dense:
            value = values[at]
            if type(value) is not float or not -math.inf < value < math.inf:
                value = _number(value, field)
                if value is None:
                    continue
            codes[at] = bins[bisect_right(thresholds, value)]
        # A code of 0 makes a number no kept combination has.
        ids = [found.get(codes[i] * base + codes[j], 0) for i, j, base, found in self._pairs]
        if self._others:
            ids += [other(codes, values) for other in self._others]
        return [ids[k] for k in self._order] if self._order else ids

    def _values(self, row: Any) -> tuple[Any, ...]:
        if hasattr(row, "to_dict") and getattr(row, "ndim", 0) == 1:  # a pandas Series
            row = row.to_dict()
        if isinstance(row, Mapping):
            try:
                values = self._by_name(row)
            except KeyError:
                absent = [name for name in self._names if name not in row]
                raise FrameError(
                    "the row lacks fields",
                    field=absent[0],
                    received=f"missing {absent}, has {sorted(map(str, row))}",
                    expected=f"all of {self._names}",
                    hint="Pass None for a missing value",
                ) from None
        else:
            if isinstance(row, np.ndarray):
                row = row.tolist()
            if not isinstance(row, list | tuple) or len(row) != self._width:
                raise FrameError(
                    "not a row",
                    received=f"{len(row)} values" if isinstance(row, list | tuple) else type(row).__name__,
                    expected=f"a mapping of field to value, or {self._width} values in schema order",
                )
            values = self._by_place(row)
        return values


def _number(value: Any, field: Field) -> int | float | None:
    """Return a value as a number, None where it is missing.

    Raises:
        FrameError: It is not a number, or infinite.
    """
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if value is None or value != value or type(value).__name__ == "NAType":  # noqa: PLR0124 - NaN
        return None
    if not isinstance(value, int | float):
        raise FrameError(
            "not a number",
            field=field.name,
            received=repr(value),
            expected="a number, or None where it is missing",
            hint="Encode strings as integer ids first, with the encoding the model was trained on",
        )
    number: int | float = value
    if isinstance(number, int) and not -_EXACT <= number <= _EXACT:
        try:
            number = float(number)  # as in a frame of float64
        except OverflowError:
            number = math.inf
    if math.isinf(number):
        raise FrameError(
            "a value of the row is not finite",
            field=field.name,
            received=value,
            expected="a finite number, or None where it is missing",
        )
    return number


def _rare(value: Any, field: Field, known: dict[Any, int]) -> int:
    """Return the code of an id that was not found as it is: mostly 0.

    Raises:
        FrameError: It is not a number, infinite, or fractional.
    """
    number = _number(value, field)
    if number is None:
        return 0
    if number != math.floor(number):
        raise FrameError(
            "ids of the row must be whole numbers",
            field=field.name,
            received=number,
            expected="an integer id",
            hint="Declare the field as DenseField, or encode it",
        )
    return known.get(number, 0)


def _by_number(
    at: list[int], bases: list[int], found: dict[int, int]
) -> Callable[[list[int], tuple[Any, ...]], int]:
    """Return how a cross of many members is looked up by the codes of its members."""
    steps = list(zip(at[1:], bases[1:], strict=True))
    first = at[0]

    def look_up(codes: list[int], values: tuple[Any, ...]) -> int:
        del values
        number = codes[first]
        for place, base in steps:
            number = number * base + codes[place]
        return found.get(number, 0)

    return look_up


def _by_key(
    cross: Cross, at: list[int], crosses: CrossFeatures
) -> Callable[[list[int], tuple[Any, ...]], int]:
    """Return how a cross is looked up by the format's key."""
    found: dict[int, int] = dict(zip(cross.keys.tolist(), range(1, cross.vocabulary + 1), strict=True))
    fields = [crosses.schema[name] for name in cross.fields]
    thresholds = {name: thresholds_of(crosses.edges[name]) for name in cross.fields if name in crosses.edges}

    def look_up(codes: list[int], values: tuple[Any, ...]) -> int:
        del codes
        ids = np.empty((len(at), 1), dtype=np.int64)
        for row, place, field, size in zip(ids, at, fields, cross.sizes, strict=True):
            number = _number(values[place], field)
            if number is None:
                return 0
            if isinstance(field, DenseField):
                number = bisect_right(thresholds[field.name], number)
            if not 0 <= number < size:
                return 0
            row[0] = int(number)
        key = int(cross_keys(list(ids), cross.sizes)[0][0])
        return found.get(key, 0)

    return look_up
