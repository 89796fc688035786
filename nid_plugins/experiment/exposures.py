"""Exposures: which unit was answered by which variant's model, one event an impression, kept by column.

A request of some hundred rows gives one :class:`Exposures`. Sinks take it as an Arrow record batch; the hook
``nid_exposure`` gets it as a sequence of mappings, and a mapping is made only when somebody looks at it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nid_plugins.errors import MissingExtraError, SettingError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

TEXTS = ("experiment", "unit", "variant", "served", "reason", "impression", "request")
COLUMNS = (
    *("experiment", "unit", "variant", "served", "fallback", "reason"),
    *("impression", "request", "timestamp", "latency_ms", "prediction", "covariate"),
)
"""Names of an event's values, in order:

- ``experiment``: name of the design
- ``unit``: the unit id, as text
- ``variant``: the variant the unit is assigned to
- ``served``: the variant whose model answered
- ``fallback``: whether that is the control instead of the assigned one
- ``reason``: why, else None
- ``impression``: unique id of the event; clicks refer to it
- ``request``: id of the request, shared by its impressions
- ``timestamp``: when, an aware :class:`~datetime.datetime` (UTC, microseconds)
- ``latency_ms``: what the answer of the variant's part of the request took; a fallback's wait counts
- ``prediction``: the probability served
- ``covariate``: the control model's prediction, None where it was not asked for
"""

_NULLABLE = ("reason", "covariate")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@functools.cache
def arrow_schema() -> pa.Schema:
    """Return the Arrow schema of exposures, the same in memory, in Parquet and in DuckDB.

    Raises:
        MissingExtraError: PyArrow is not installed.
    """
    pa = import_arrow()
    types = dict.fromkeys(TEXTS, pa.string()) | {
        "fallback": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "latency_ms": pa.float32(),
        "prediction": pa.float64(),
        "covariate": pa.float64(),
    }
    return pa.schema([pa.field(name, types[name], nullable=name in _NULLABLE) for name in COLUMNS])


def import_arrow() -> Any:
    """Return the module ``pyarrow``.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError(
            "PyArrow is not installed", received=str(error), hint="pip install 'nid-plugins[ab]'"
        ) from error
    return pa


class Exposures(Sequence[Mapping[str, Any]]):
    """Events by column; as a sequence, mappings with the keys :data:`COLUMNS`.

    Args:
        columns: Every name of :data:`COLUMNS` to one value for all events, or to a list or array of one value an event.
            Texts are str, ``reason`` may hold None; ``timestamp`` is datetime64[us] in UTC; a missing ``covariate`` is NaN.
        rows: Number of events.

    Raises:
        SettingError: A column is missing, unknown or of another length.
    """

    __slots__ = ("_arrow", "_columns", "_rows")

    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        if columns.keys() != _NAMES:
            raise SettingError(
                "not the columns of exposures", received=sorted(columns), expected=sorted(COLUMNS)
            )
        for name, values in columns.items():
            if isinstance(values, list | np.ndarray) and len(values) != rows:
                raise SettingError(
                    "a column has another length", field=name, received=len(values), expected=rows
                )
        self._columns = columns
        self._rows = rows
        self._arrow: pa.RecordBatch | None = None

    @classmethod
    def of(cls, events: Sequence[Mapping[str, Any]]) -> Exposures:
        """Return events given as mappings by column; exposures are returned as they are.

        Raises:
            SettingError: An event lacks a value, has one too many, or one of the wrong kind.
        """
        if isinstance(events, Exposures):
            return events
        for event in events:
            if event.keys() != _NAMES:
                raise SettingError(
                    "not an exposure", received=sorted(map(str, event)), expected=sorted(COLUMNS)
                )
        columns: dict[str, Any] = {name: [event[name] for event in events] for name in COLUMNS}
        columns["fallback"] = np.array(columns["fallback"], dtype=bool)
        columns["timestamp"] = moments(columns["timestamp"])
        for name, kind in (("latency_ms", "f4"), ("prediction", "f8"), ("covariate", "f8")):
            try:
                columns[name] = np.array(columns[name], dtype=kind)  # None becomes NaN
            except (TypeError, ValueError) as error:
                raise SettingError("not a number", field=name, received=str(error)) from error
        return cls(columns, len(events))

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"Exposures({self._rows} events)"

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Exposures: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Exposures:
        if isinstance(index, slice):
            return self.take(np.arange(self._rows)[index])
        at = range(self._rows)[index]
        return {name: _value(name, self._at(name, at)) for name in COLUMNS}

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[i] for i in range(self._rows))

    def _at(self, name: str, row: int) -> Any:
        values = self._columns[name]
        return values[row] if isinstance(values, list | np.ndarray) else values

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column as an array: texts as objects, a missing covariate as NaN.

        Raises:
            SettingError: There is no such column.
        """
        if name not in _NAMES:
            raise SettingError("no such column", received=repr(name), expected=f"one of {', '.join(COLUMNS)}")
        values = self._columns[name]
        kind = object if name in TEXTS else None
        if isinstance(values, list | np.ndarray):
            return np.asarray(values, dtype=kind)
        return np.full(self._rows, values, dtype=kind)

    def take(self, rows: npt.NDArray[np.intp]) -> Exposures:
        """Return some of the events, by their positions."""
        columns = {
            name: values[rows]
            if isinstance(values, np.ndarray)
            else [values[i] for i in rows.tolist()]
            if isinstance(values, list)
            else values
            for name, values in self._columns.items()
        }
        return Exposures(columns, len(rows))

    def to_arrow(self) -> pa.RecordBatch:
        """Return the events as a record batch of :func:`arrow_schema`, made once.

        Raises:
            MissingExtraError: PyArrow is not installed.
            SettingError: A value is of the wrong kind.
        """
        if self._arrow is None:
            pa, schema = import_arrow(), arrow_schema()
            arrays = []
            for field in schema:
                try:
                    arrays.append(self._array(pa, field))
                except (pa.ArrowException, ValueError, TypeError) as error:
                    raise SettingError(
                        "a value of the wrong kind",
                        field=field.name,
                        received=" ".join(str(error).split()),
                        expected=str(field.type),
                    ) from error
            self._arrow = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return self._arrow

    def _array(self, pa: Any, field: pa.Field) -> Any:
        values = self._columns[field.name]
        if isinstance(values, list | np.ndarray):
            # Arrow takes datetime64[us] as it is; NaN means null in the covariate only.
            made = pa.array(values, field.type, from_pandas=field.name == "covariate")
        elif values is None or (field.name == "covariate" and math.isnan(values)):
            made = pa.nulls(self._rows, field.type)
        else:
            if isinstance(values, np.datetime64):
                values = int(
                    values.astype(np.int64)
                )  # a scalar with a time zone is made of microseconds only
            made = pa.repeat(pa.scalar(values, field.type), self._rows)
        if made.null_count and not field.nullable:
            raise pa.ArrowInvalid("null")
        return made


_NAMES = dict.fromkeys(COLUMNS).keys()


def _value(name: str, value: Any) -> Any:
    if name == "timestamp":
        return _EPOCH + timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
    if isinstance(value, np.generic):
        value = value.item()
    return None if name == "covariate" and math.isnan(value) else value


def moments(when: Any) -> Any:
    """Return moments as datetime64[us] in UTC: one for one, an array for several.

    Args:
        when: An aware :class:`~datetime.datetime`, a datetime64 (taken as UTC), or a list or array of either.

    Raises:
        SettingError: Something else, no moment at all (NaT), or one without a time zone.
    """
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise SettingError(
                "a moment without a time zone",
                field="timestamp",
                received=when.isoformat(),
                expected="an aware datetime, e.g. datetime.now(UTC)",
            )
        return np.datetime64((when - _EPOCH) // timedelta(microseconds=1), "us")
    if isinstance(when, np.datetime64) and not np.isnat(when):
        return when.astype("datetime64[us]")
    if hasattr(when, "to_numpy"):
        when = when.to_numpy()
    if (
        isinstance(when, np.ndarray)
        and when.dtype.kind == "M"
        and when.ndim == 1
        and not np.isnat(when).any()
    ):
        return when.astype("datetime64[us]")
    if isinstance(when, list | tuple | np.ndarray) and np.ndim(when) == 1 and not _dated(when):
        return np.array([moments(one) for one in when], dtype="datetime64[us]")
    raise SettingError(
        "not moments in time",
        field="timestamp",
        received=repr(when)[:80],
        expected="aware datetimes, or datetime64 in UTC",
    )


def _dated(when: Any) -> bool:
    return isinstance(when, np.ndarray) and when.dtype.kind != "O"
