"""A sample of past impressions, as sizing needs it: sums per unit after each number of days, and new units day by day."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import FrameError
from nid_plugins.experiment.metrics import IMPRESSIONS
from nid_plugins.experiment.tables import HUGE
from nid_plugins.experiment.units import read_units
from nid_plugins.frames import columns_of, numeric_column

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.experiment.metrics import Metric

DAY = 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Past:
    """Past impressions by unit.

    Args:
        codes: Unit of each row, shape (n,), from 0 in the order of first rows.
        values: Columns that are summed, by name, each of shape (n,).
        days: Day of each row, shape (n,), from 0: whole spans of 24 hours since the first impression; zeros when unknown.
        timed: Whether the days are known.
    """

    codes: npt.NDArray[np.intp]
    values: dict[str, npt.NDArray[np.float64]]
    days: npt.NDArray[np.int64]
    timed: bool

    @property
    def units(self) -> int:
        """Units in the log."""
        return int(self.codes.max(initial=-1)) + 1

    @property
    def window(self) -> int:
        """Days the log covers."""
        return int(self.days.max(initial=0)) + 1

    def new_units(self) -> npt.NDArray[np.int64]:
        """Return how many units have been seen by the end of each day, shape (window,)."""
        first = np.full(self.units, self.window, dtype=np.int64)
        np.minimum.at(first, self.codes, self.days)
        return np.cumsum(np.bincount(first, minlength=self.window))


def read_past(logs: Any, unit: str, metric: Metric, covariate: str | None, timestamp: str | None) -> Past:
    """Read past impressions.

    Args:
        logs: Any frame, or what :func:`nid_plugins.experiment.analyze` reads: a path, or an Ibis table.
        unit: Column of the unit ids.
        metric: Whose columns are summed.
        covariate: Column that is summed too.
        timestamp: Column of moments. None takes the column ``timestamp`` where there is one.

    Raises:
        FrameError: A column is missing; ids or moments are missing; a value is not a finite number; no rows.
    """
    wanted = [name for name in dict.fromkeys((*metric.columns, covariate)) if name and name != IMPRESSIONS]
    source = _columns(logs, [unit, *wanted], timestamp)
    units = read_units(source[unit], unit)
    if not len(units):
        raise FrameError("the logs have no rows", received="0 rows", expected="past impressions")
    codes = _factorized(units)
    values = {IMPRESSIONS: np.ones(len(codes))}
    for name in wanted:
        array = numeric_column(name, columns_of({name: source[name]})[name])
        if len(array) != len(codes):
            raise FrameError("columns differ in length", field=name, received=len(array), expected=len(codes))
        bad = np.flatnonzero(~(np.abs(array) < HUGE))  # NaN is not either
        if len(bad):
            raise FrameError(
                "the logs hold values that are not finite, or huge",
                field=name,
                received=f"{array[bad[0]]} at row {bad[0]} ({len(bad):,} such rows)",
                expected="finite numbers",
                hint="Leave those impressions out, or say what they are worth",
            )
        values[name] = array
    moments = timestamp or "timestamp"
    if moments not in source:
        return Past(codes, values, np.zeros(len(codes), dtype=np.int64), timed=False)
    return _by_day(codes, values, _microseconds(source[moments], moments, len(codes)))


def _by_day(
    codes: npt.NDArray[np.intp], values: dict[str, npt.NDArray[np.float64]], at: npt.NDArray[np.int64]
) -> Past:
    since = at - at.min()
    days = since // DAY
    last = int(days.max())
    if last and int(since.max()) - last * DAY < DAY // 2:
        # Less than half a day at the end would pass for a day on which hardly anybody came.
        inside = days < last
        codes, days = _factorized(codes[inside]), days[inside]
        values = {name: array[inside] for name, array in values.items()}
    return Past(codes, values, days, timed=True)


def _factorized(units: Any) -> npt.NDArray[np.intp]:
    import pandas as pd

    array = np.array(units, dtype=object) if isinstance(units, list) else units
    codes: npt.NDArray[np.intp] = pd.factorize(array)[0]
    return codes


def _columns(logs: Any, wanted: list[str], timestamp: str | None) -> Mapping[str, Any]:
    import narwhals.stable.v1 as nw

    if isinstance(logs, str | os.PathLike) or type(logs).__module__.startswith("ibis."):
        logs = _fetched(logs, wanted, timestamp)
    if isinstance(logs, Mapping):
        names = list(logs)
    else:
        try:
            table = nw.from_native(logs, eager_only=True)
        except TypeError:
            columns_of(logs)  # which says what a frame is
            raise
        names = table.columns
        logs = {name: table.get_column(name) for name in names}
    _check_columns(names, [*wanted, *([timestamp] if timestamp else [])])
    found: Mapping[str, Any] = logs
    return found


def _check_columns(names: list[str], wanted: list[str]) -> None:
    gone = [name for name in wanted if name not in names]
    if gone:
        raise FrameError(
            "the logs lack a column",
            field=gone[0],
            received=f"columns {', '.join(map(str, names))}",
            expected=f"{', '.join(wanted)}",
            hint="Rename the column, or name it in the design",
        )


def _fetched(logs: Any, wanted: list[str], timestamp: str | None) -> Any:
    from nid_plugins.experiment.sources import Warehouse

    with Warehouse(logs) as house:
        table = house.table(logs, "logs")
        names = list(table.columns)
        _check_columns(names, [*wanted, *([timestamp] if timestamp else [])])
        asked = dict.fromkeys([*wanted, timestamp or "timestamp"])
        return table.select(*[name for name in asked if name in names]).to_pyarrow()


def _microseconds(values: Any, name: str, n: int) -> npt.NDArray[np.int64]:
    import narwhals.stable.v1 as nw
    import pandas as pd

    if isinstance(values, nw.Series):
        if isinstance(values.dtype, nw.Date):
            values = values.cast(nw.Datetime("us"))
        if isinstance(values.dtype, nw.Datetime) and values.null_count() == 0:
            return np.asarray(values.dt.timestamp("us").to_numpy(), dtype=np.int64)
        values = values.to_list()
    array = np.asarray(values)
    if array.dtype.kind in "iufb":
        raise _no_moments(name, f"dtype {array.dtype}")
    try:
        moments = pd.Series(pd.to_datetime(array, utc=True))
    except (ValueError, TypeError, OverflowError) as error:
        raise _no_moments(name, str(error)[:200]) from error
    missing = np.flatnonzero(moments.isna())
    if len(missing):
        raise _no_moments(name, f"missing at row {missing[0]} ({len(missing):,} such rows)")
    if len(moments) != n:
        raise FrameError("columns differ in length", field=name, received=len(moments), expected=n)
    found: npt.NDArray[np.int64] = moments.to_numpy(dtype="datetime64[us]").astype(np.int64)
    return found


def _no_moments(name: str, received: str) -> FrameError:
    return FrameError(
        "not a column of moments",
        field=name,
        received=received,
        expected="dates and times, none missing",
        hint="Convert it, or leave it out and give units_per_day",
    )


class Traffic:
    """How many units have been seen after some days.

    Within the log it is counted. After its end the number grows as a power of the days, as the number of different words
    grows with the length of a text (Heaps' law), with the exponent of the log's second half: units come back, so that new
    ones get fewer.

    Args:
        seen: Units by the end of each day of a log, shape (days,), or None when only ``per_day`` is known.
        per_day: Units of the first day; the curve is scaled to it. Without a log each day brings as many new ones.
    """

    def __init__(self, seen: npt.NDArray[np.int64] | None, per_day: float | None) -> None:
        self.seen = np.ones(1) if seen is None else np.asarray(seen, dtype=np.float64)
        if per_day is not None:
            self.seen = self.seen * (per_day / self.seen[0])
        self.exponent = 1.0
        last, half = len(self.seen), len(self.seen) // 2
        if half:
            self.exponent = math.log(self.seen[-1] / self.seen[half - 1]) / math.log(last / half)

    def units(self, days: int) -> float:
        """Return the units seen after some days."""
        if days <= len(self.seen):
            return float(self.seen[days - 1])
        return float(self.seen[-1] * (days / len(self.seen)) ** self.exponent)

    def days(self, units: float) -> float:
        """Return the days after which so many units have been seen; infinite if that is never."""
        if units <= self.seen[-1]:
            return float(np.searchsorted(self.seen, units, side="left") + 1)
        if self.exponent <= 0:
            return math.inf
        try:
            exact = len(self.seen) * (units / self.seen[-1]) ** (1.0 / self.exponent)
        except OverflowError:
            return math.inf
        return float(math.ceil(exact - 1e-9))
