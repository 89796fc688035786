"""What an analysis leaves out, counted: nothing is dropped in silence.

Rows of exposures go through in this order, each counted for the first reason that holds: another experiment, no unit id, no
variant, no impression id, outside of the window, a unit in two variants, an impression id of two units, a duplicate.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import FrameError
from nid_plugins.experiment.checks import near
from nid_plugins.experiment.results import Exclusion
from nid_plugins.experiment.tables import CLICK, Log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.sources import Warehouse

OTHER_EXPERIMENT = "other experiments"
NO_UNIT = "no unit id"
NO_VARIANT = "no variant"
NO_IMPRESSION = "no impression id"
OUT_OF_WINDOW = "outside of the window"
TWO_VARIANTS = "units in several variants"
TWO_UNITS = "impression ids of several units"
DUPLICATES = "duplicate impressions"
CLICKS_OTHER = "clicks of other experiments"
CLICKS_NO_ID = "clicks without impression id"
CLICKS_WINDOW = "clicks outside of the window"
CLICKS_TWICE = "duplicate clicks"
CLICKS_ALONE = "clicks without exposure"
CLICKS_EXCLUDED = "clicks of exposures left out"
CLICKS_UNIT = "clicks of another unit"

_DETAILS = {
    OTHER_EXPERIMENT: "Exposures of another experiment in the same table; left out.",
    NO_UNIT: "Nobody can say whose they are; left out.",
    NO_VARIANT: "The assigned variant is missing; left out.",
    NO_IMPRESSION: "No click could ever refer to them; left out.",
    OUT_OF_WINDOW: "Before the design's start, at or after its stop, or without a time; left out.",
    TWO_VARIANTS: "A unit that saw several variants tells nothing about one of them; all its rows are left out.",
    TWO_UNITS: "One impression id cannot belong to several units; all its rows are left out.",
    DUPLICATES: "The same impression written again; the first is kept.",
    CLICKS_OTHER: "Clicks that say they belong to another experiment; left out.",
    CLICKS_NO_ID: "They refer to no impression; left out.",
    CLICKS_WINDOW: "Before the design's start, at or after its stop, or without a time; left out.",
    CLICKS_TWICE: "Further clicks of the same impression; the first is kept, with its values.",
    CLICKS_ALONE: "The exposures do not have the impression they refer to; left out.",
    CLICKS_EXCLUDED: "Their impression is among the exposures left out above; left out with it.",
    CLICKS_UNIT: "They name another unit than their impression; left out.",
}


def clean_exposures(
    house: Warehouse, log: Log, design: Design, *, joined: bool
) -> tuple[Any, list[Exclusion]]:
    """Return the exposures that count, and what was left out.

    Args:
        house: Where the tables are.
        log: The exposures.
        design: Names experiment, variants and window.
        joined: Whether clicks will be joined, which takes impression ids.

    Raises:
        FrameError: No exposure of this experiment, an unknown variant, or none of one variant.
    """
    ibis, table = house.ibis, log.table
    reasons = []
    if "experiment" in log.keys:
        reasons.append((~table.experiment.fill_null("").isin([design.name]), OTHER_EXPERIMENT))
    reasons += [(table.unit.isnull(), NO_UNIT), (table.variant.isnull(), NO_VARIANT)]
    if joined:
        reasons.append((table.impression.isnull(), NO_IMPRESSION))
    if (outside := _outside(ibis, table, log, design)) is not None:
        reasons.append((outside, OUT_OF_WINDOW))
    flagged = table.mutate(excluded=_first(ibis, reasons))
    exclusions = _counted(flagged)
    _check_experiment(table, log, design, exclusions)
    kept = flagged.filter(flagged.excluded.isnull()).drop("excluded")
    _check_variants(kept, design)

    by_unit = ibis.window(group_by="unit")
    reasons = [(kept.variant.min().over(by_unit) != kept.variant.max().over(by_unit), TWO_VARIANTS)]
    if "impression" in log.keys:
        by_impression = ibis.window(group_by="impression")
        named = kept.impression.notnull()
        units = kept.unit.min().over(by_impression) != kept.unit.max().over(by_impression)
        copy = ibis.row_number().over(group_by="impression", order_by=_order(kept, log))
        reasons += [(named & units, TWO_UNITS), (named & (copy > 0), DUPLICATES)]
    flagged = house.keep(kept.mutate(excluded=_first(ibis, reasons)))
    exclusions += _counted(flagged)
    return house.keep(flagged.filter(flagged.excluded.isnull()).drop("excluded")), exclusions


def _first(ibis: Any, reasons: list[tuple[Any, str]]) -> Any:
    return ibis.cases(*reasons, else_=ibis.null("string"))


def _counted(flagged: Any) -> list[Exclusion]:
    """Return one exclusion a reason that is in the column ``excluded``, in the order they were looked for."""
    units = {"units": flagged.unit.nunique()} if "unit" in flagged.columns else {}
    left = flagged.filter(flagged.excluded.notnull())
    found = left.group_by("excluded").aggregate(rows=left.count(), **units).to_pyarrow().to_pylist()
    counts = {row["excluded"]: row for row in found}
    return [
        Exclusion(reason, int(counts[reason]["rows"]), _count_units(reason, counts[reason]), detail)
        for reason, detail in _DETAILS.items()
        if reason in counts
    ]


def _count_units(reason: str, row: Mapping[str, Any]) -> int | None:
    return None if reason == NO_UNIT or "units" not in row else int(row["units"])


def _outside(ibis: Any, table: Any, log: Log, design: Design) -> Any:
    """Return the condition of rows outside of the design's window; None without a window.

    Raises:
        FrameError: There is a window, but no time to compare with it.
    """
    if design.start is None and design.stop is None:
        return None
    if "timestamp" not in log.keys:
        raise FrameError(
            f"the {log.what} lack a column",
            field="timestamp",
            expected="the time of each row, to be compared with the design's start and stop",
            hint="Add it, or leave start and stop out of the design",
        )
    time = table.timestamp
    outside = time.isnull()
    if design.start is not None:
        outside |= time < _literal(ibis, time, design.start)
    if design.stop is not None:
        outside |= time >= _literal(ibis, time, design.stop)
    return outside


def _literal(ibis: Any, column: Any, moment: datetime) -> Any:
    aware = column.type().timezone is not None
    utc = moment.astimezone(UTC)
    return ibis.literal(utc if aware else utc.replace(tzinfo=None), type=column.type())


def _order(table: Any, log: Log) -> list[Any]:
    # Whatever order rows are read in, the same copy is kept.
    first = [table.timestamp] if "timestamp" in log.keys else []
    flag = [table.fallback] if "fallback" in log.keys else []
    return [*first, *flag, *(table[Log.value(name)] for name in log.values), table.unit]


def _check_experiment(table: Any, log: Log, design: Design, exclusions: list[Exclusion]) -> None:
    if "experiment" not in log.keys or not any(e.reason == OTHER_EXPERIMENT for e in exclusions):
        return
    if table.filter(table.experiment.isin([design.name])).limit(1).count().to_pyarrow().as_py():
        return
    names = table.select("experiment").distinct().limit(20).to_pyarrow()["experiment"].to_pylist()
    raise FrameError(
        "no exposure belongs to the design's experiment",
        field="experiment",
        received=f"exposures of {sorted(str(name) for name in names)}",
        expected=repr(design.name),
        hint=near(design.name, [name for name in names if name]) or "Is it the right design?",
    )


def _check_variants(table: Any, design: Design) -> None:
    rows = table.group_by("variant").aggregate(rows=table.count()).to_pyarrow().to_pylist()
    found = {row["variant"]: row["rows"] for row in rows}
    names = [variant.name for variant in design.variants]
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise FrameError(
            "exposures of a variant the design does not know",
            field="variant",
            received=f"{unknown[0]!r} in {found[unknown[0]]} rows",
            expected=f"one of {names}",
            hint=near(unknown[0], names) or "Is it the right design?",
        )
    empty = [name for name in names if name not in found]
    if empty:
        raise FrameError(
            "no exposures of a variant" if found else "there are no exposures to analyse",
            field="variant",
            received=f"none of {empty[0]!r}; rows by variant: {found}",
            expected="exposures of every variant of the design",
            hint="Look at the assignment, the window and what was excluded",
        )


def check_clicked(table: Any) -> None:
    """Check that impressions that know their clicks say 0 or 1.

    Raises:
        FrameError: They have other numbers.
    """
    click = table[Log.value(CLICK)]
    bad = table.filter(~click.isin([0.0, 1.0])).select(click=click).limit(1).to_pyarrow().to_pylist()
    if bad:
        raise FrameError(
            "values of the exposures that are no clicks",
            field=CLICK,
            received=repr(bad[0]["click"]),
            expected="0 or 1 in each row",
            hint="Counts go into a column and a metric of their own: Metric(name, 'ratio', numerator=..., denominator='impressions')",
        )


def _comparable(house: Warehouse, left: Any, right: Any) -> bool:
    # Ours runs in UTC; what a warehouse makes of a time without a zone beside one with it is its own affair.
    zones = [table.timestamp.type().timezone is None for table in (left, right)]
    return house.own or zones[0] == zones[1]


def join_clicks(
    house: Warehouse, impressions: Any, exposures: Log, clicks: Log, design: Design
) -> tuple[Any, list[Exclusion]]:
    """Return the impressions with the column ``click`` and the values of the clicks, 0 where there was none.

    Args:
        house: Where the tables are.
        impressions: What :func:`clean_exposures` returned.
        exposures: The exposures before that: a click may refer to one that was left out.
        clicks: The clicks. With a column ``click`` only rows where it is above 0 are clicks.
        design: Names the window.
    """
    ibis, table = house.ibis, clicks.table
    if CLICK in clicks.values:
        table = table.filter(table[Log.value(CLICK)] > 0)
    reasons = []
    if "experiment" in clicks.keys:
        reasons.append((table.experiment.notnull() & (table.experiment != design.name), CLICKS_OTHER))
    reasons.append((table.impression.isnull(), CLICKS_NO_ID))
    if "timestamp" in clicks.keys and (outside := _outside(ibis, table, clicks, design)) is not None:
        reasons.append((outside, CLICKS_WINDOW))
    first = table.mutate(excluded=_first(ibis, reasons))
    exclusions = _counted(first)
    left = first.filter(first.excluded.isnull()).drop("excluded")
    order = [left.timestamp] if "timestamp" in clicks.keys else []
    order += [left[Log.value(name)] for name in clicks.values if name != CLICK]
    late = ibis.row_number().over(group_by="impression", order_by=order or [left.impression]) > 0
    flagged = house.keep(left.mutate(excluded=ibis.ifelse(late, CLICKS_TWICE, ibis.null("string"))))
    exclusions += _counted(flagged)
    once = flagged.filter(flagged.excluded.isnull()).drop("excluded")
    values = [name for name in clicks.values if name != CLICK]
    unit = {"click_unit": once.unit} if "unit" in clicks.keys else {}
    timed = {"timestamp"} <= clicks.keys & exposures.keys and _comparable(house, impressions, once)
    time = {"click_timestamp": once.timestamp} if timed else {}
    once = once.select(
        click_impression=once.impression, **unit, **time, **{f"click_{n}": once[Log.value(n)] for n in values}
    )

    known = exposures.table.select("impression").distinct()
    alone = once.anti_join(impressions, once.click_impression == impressions.impression)
    excluded = alone.semi_join(known, alone.click_impression == known.impression).count().to_pyarrow().as_py()
    lost = alone.count().to_pyarrow().as_py() - excluded
    both = impressions.left_join(once, impressions.impression == once.click_impression)
    hit = both.click_impression.notnull()
    early = both.click_timestamp < both.timestamp if timed else None
    foreign = 0
    if unit:
        other = hit & (both.click_unit != both.unit)
        foreign = both.filter(other).count().to_pyarrow().as_py()
        hit &= ~other.fill_null(False)
    for reason, rows in ((CLICKS_ALONE, lost), (CLICKS_EXCLUDED, excluded), (CLICKS_UNIT, foreign)):
        if rows:
            exclusions.append(Exclusion(reason, int(rows), None, _DETAILS[reason]))
    if early is not None and (rows := both.filter(hit & early).count().to_pyarrow().as_py()):
        house.notes.append(
            f"{'1 click is' if rows == 1 else f'{rows:,} clicks are'} earlier than the impression referred to; such clicks "
            "count. Clocks differ, or the ids are wrong."
        )
    if lost and not both.filter(hit).limit(1).count().to_pyarrow().as_py():
        house.notes.append(
            "No click refers to any exposure: the impression ids of the two tables differ in kind."
        )
    numbers = {Log.value(n): ibis.ifelse(hit, both[f"click_{n}"], 0.0) for n in values}
    columns = [name for name in impressions.columns if name not in numbers]
    return (
        house.keep(both.select(*columns, **{Log.value(CLICK): ibis.ifelse(hit, 1.0, 0.0)}, **numbers)),
        exclusions,
    )
