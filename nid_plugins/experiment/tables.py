"""The columns of exposures and clicks, checked and in one type each, before anything is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import FrameError
from nid_plugins.experiment.metrics import IMPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.metrics import Metric

CLICK = "click"
"""Column that says whether an impression was clicked: made from the clicks where there is a table of them."""
HUGE = 1e50
"""Size from which on values are refused: fourth powers of them, summed over many units, are no longer finite."""
KEYS = ("experiment", "unit", "variant", "impression", "timestamp", "fallback")
"""Names that are not values of a metric."""


@dataclass(frozen=True)
class Log:
    """A table with its columns in one type: texts, times, and values as float64 with what is not a number as null.

    Args:
        table: The Ibis table, with columns of the names in :data:`KEYS` and of ``values``.
        keys: Which of the keys it has.
        values: Names of its value columns; in the table they are prefixed, see :meth:`value`.
        what: What it is, for errors.
    """

    table: Any
    keys: frozenset[str]
    values: tuple[str, ...]
    what: str

    @staticmethod
    def value(name: str) -> str:
        """Return the name a value column has in the table, so that no column's name collides with a key."""
        return f"value_{name}"


def metrics_of(design: Design) -> tuple[Metric, ...]:
    """Return the design's metrics: primary, secondary, then those of the guardrails."""
    return (design.primary, *design.metrics, *(guardrail.metric for guardrail in design.guardrails))


def columns_needed(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return the columns metrics read, covariates left out: those may come with the units."""
    named = (name for m in metrics for name in (m.numerator, m.denominator, m.value))
    return tuple(dict.fromkeys(name for name in named if name is not None and name != IMPRESSIONS))


def unit_column(table: Any, design: Design, what: str) -> str:
    """Return the name of the unit column: ``unit`` as sinks write it, or as the design calls it.

    Raises:
        FrameError: There is neither.
    """
    for name in ("unit", design.unit):
        if name in table.columns:
            return str(name)
    raise missing(what, "unit", table, f"a column 'unit', or {design.unit!r}, which the design names")


def missing(what: str, column: str, table: Any, expected: str, hint: str | None = None) -> FrameError:
    """Return the error for a column that is not there."""
    return FrameError(
        f"the {what} lack a column",
        field=column,
        received=f"columns {sorted(map(str, table.columns))[:40]}",
        expected=expected,
        hint=hint or "Rename it in the table",
    )


def read_log(
    ibis: Any, table: Any, design: Design, values: Sequence[str], what: str, *, need: Sequence[str] = ()
) -> Log:
    """Return a table with its columns checked and in one type.

    Args:
        ibis: The module.
        table: An Ibis table.
        design: Names the unit.
        values: Value columns to take along where the table has them.
        what: What the table is, for errors.
        need: Keys it must have.

    Raises:
        FrameError: A key is missing, or a column has a type it cannot have.
    """
    keys: dict[str, Any] = {}
    if "unit" in need or {"unit", design.unit} & set(table.columns):
        name = unit_column(table, design, what)
        keys["unit"] = identifier(ibis, table, name, what)
    for key in ("variant", "experiment"):
        if key in table.columns:
            keys[key] = _text(table, key, what)
    if "impression" in table.columns:
        keys["impression"] = identifier(ibis, table, "impression", what)
    if "timestamp" in table.columns:
        keys["timestamp"] = _time(table, "timestamp", what)
    if "fallback" in table.columns:
        keys["fallback"] = _flag(ibis, table, "fallback", what)
    for key in need:
        if key not in keys:
            raise missing(what, key, table, f"a column {key!r}")
    found = tuple(dict.fromkeys(name for name in values if name in table.columns))
    numbers = {Log.value(name): number(ibis, table, name, what) for name in found}
    return Log(table.select(**keys, **numbers), frozenset(keys), found, what)


def identifier(ibis: Any, table: Any, name: str, what: str) -> Any:
    """Return a column of ids as text: whole numbers as their digits, as assignment hashes them.

    Raises:
        FrameError: Neither text nor whole numbers.
    """
    column = table[name]
    kind = column.type()
    if kind.is_string():
        return column.nullif("")
    if kind.is_integer() or kind.is_uuid():
        return column.cast("string")
    if kind.is_floating():
        # pandas turns whole numbers into floats where some are missing.
        clean = without_nan(ibis, table, column)
        bad = (
            table.filter((clean != clean.floor()) | (clean.abs() >= 2.0**53))
            .limit(1)
            .to_pyarrow()
            .to_pylist()
        )
        if not bad:
            return clean.cast("int64").cast("string")
        raise _kind(name, what, f"{kind} with {bad[0][name]!r}", "text or whole numbers")
    if kind.is_null():
        return column.cast("string")
    raise _kind(name, what, str(kind), "text or whole numbers")


def _text(table: Any, name: str, what: str) -> Any:
    column = table[name]
    if column.type().is_null():
        return column.cast("string")
    if not column.type().is_string():
        raise _kind(name, what, str(column.type()), "text")
    return column


def _time(table: Any, name: str, what: str) -> Any:
    column = table[name]
    kind = column.type()
    if kind.is_date() or kind.is_null():
        return column.cast("timestamp")
    if not kind.is_timestamp():
        raise _kind(
            name,
            what,
            str(kind),
            "times; those without a zone are taken as UTC",
            "Convert it to a time column",
        )
    return column


def _flag(ibis: Any, table: Any, name: str, what: str) -> Any:
    column = table[name]
    kind = column.type()
    if not (kind.is_boolean() or kind.is_integer() or kind.is_null()):
        raise _kind(name, what, str(kind), "true or false")
    return ibis.coalesce(column.cast("boolean"), ibis.literal(False))


def number(ibis: Any, table: Any, name: str, what: str) -> Any:
    """Return a column as float64, NaN as null.

    Raises:
        FrameError: Not numeric.
    """
    column = table[name]
    kind = column.type()
    if kind.is_boolean():
        return column.cast("int8").cast("float64")
    if kind.is_null():
        return column.cast("float64")
    if not kind.is_numeric():
        raise _kind(name, what, str(kind), "numbers")
    if kind.is_floating():
        return without_nan(ibis, table, column.cast("float64"))
    return column.cast("float64")


def without_nan(ibis: Any, table: Any, column: Any) -> Any:
    """Return a float column with NaN as null. Backends that do not know NaN have none."""
    from ibis.expr.operations import IsNan

    knows = ibis.get_backend(table).has_operation(IsNan)
    return ibis.ifelse(column.isnan(), ibis.null(), column) if knows else column


def is_huge(column: Any) -> Any:
    """Return the condition of values that are infinite, or so large that variances of their variances would be."""
    return (column.abs() >= HUGE).fill_null(False)


def _kind(name: str, what: str, received: str, expected: str, hint: str | None = None) -> FrameError:
    return FrameError(
        f"a column of the {what} has the wrong type",
        field=name,
        received=received,
        expected=expected,
        hint=hint,
    )
