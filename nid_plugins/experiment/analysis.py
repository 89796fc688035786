"""Reading an experiment: from exposures and clicks to effects, verdicts and a decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import FrameError, MissingExtraError
from nid_plugins.experiment import checks, effects, guardrails
from nid_plugins.experiment.decision import decide
from nid_plugins.experiment.design import Design
from nid_plugins.experiment.exclusions import check_clicked, clean_exposures, join_clicks
from nid_plugins.experiment.quantiles import quantiles
from nid_plugins.experiment.results import Analysis, Effect, Exclusion, GuardrailVerdict
from nid_plugins.experiment.sample_ratio import check_sample_ratio
from nid_plugins.experiment.sources import Warehouse
from nid_plugins.experiment.tables import CLICK, Log, columns_needed, metrics_of, read_log
from nid_plugins.experiment.timeline import timeline
from nid_plugins.experiment.unit_sums import Covariates, unit_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.experiment.effects import Measured
    from nid_plugins.experiment.moments import Floats
    from nid_plugins.experiment.units import Units


def analyze(
    design: Design, exposures: Any, clicks: Any = None, *, units: Any = None, sequential: bool = True
) -> Analysis:
    """Analyse an experiment.

    Units are analysed in the variant they are assigned to, whichever model answered (intention to treat). The log itself is
    aggregated where it is: in DuckDB for files and frames, in the warehouse for Ibis tables, which are only read.

    Args:
        design: What was tested.
        exposures: One row an impression, with the columns of :mod:`nid_plugins.experiment.exposures`; needed are ``unit`` (or
            the column the design calls so), ``variant``, with clicks ``impression``, with a window ``timestamp``, and what the
            metrics read. A Parquet file, a folder or glob of such, ``file.duckdb::table``, a frame, or an Ibis table.
        clicks: One row a click, with ``impression`` and the values metrics read, such as ``revenue``. None when the exposures
            have the column ``click`` (and those values) already.
        units: One row a unit, with covariates from before the experiment; needed for covariates the exposures lack.
        sequential: Whether to give always-valid intervals and decide by them, which allows for looking early. Without, the
            decision is that of a fixed test, and is only given at the planned size or end.

    Raises:
        FrameError: A table cannot be read, lacks a column or has it in a wrong type; exposures of an unknown variant, none of a
            variant or of the experiment; a covariate that is nowhere, or infinite values.
        SettingError: Not a design, or not a table.
        MissingExtraError: The extra ``ab`` is not installed.
    """
    checks.instance(design, "design", Design)
    need_tea_tasting()
    with Warehouse(exposures, clicks, units) as house:
        read = _read(house, design, exposures, clicks)
        covariates = Covariates(house, units, design)
        metrics = metrics_of(design)
        sums = unit_sums(house, read.table, read.values, metrics, covariates, fallback=read.fallback)
        summary = _summary(read, sums.table)
        _check_enough(design, summary.units)
        aggregates = effects.aggregates_of(sums.table, sums.columns)
        names = [variant.name for variant in design.variants]
        found = {m.name: quantiles(house, read.table, m, names) for m in metrics if m.kind == "quantile"}
        measured, notes = effects.measure(design, aggregates, sums.columns, found)
        if units is not None and not covariates.used:
            notes.append("The table of units was not used: no metric of the design has a covariate in it.")
        primary = [m for m in measured if m.role == "primary"]
        looks = []
        if summary.first is not None and summary.last is not None:
            looks = timeline(house, read.table, sums, design, primary, (summary.first, summary.last))
    ratio = check_sample_ratio(design, summary.units)
    fixed = effects.fixed_effects(design, aggregates, measured)
    always = effects.sequential_effects(design, measured) if sequential else []
    verdicts = _verdicts(design, measured, fixed, sequential=sequential)
    exclusions = (*read.exclusions, *sums.exclusions)
    primaries = [effect for effect in (always or fixed) if effect.role == "primary"]
    decision = decide(
        design,
        ratio,
        primaries,
        verdicts,
        sequential=sequential,
        finished=_finished(design, measured, summary.last),
    )
    return Analysis(
        design=design,
        sample_ratio=ratio,
        exclusions=exclusions,
        effects=tuple(fixed),
        sequential=tuple(always),
        guardrails=tuple(verdicts),
        units=summary.units,
        impressions=summary.impressions,
        fallbacks=summary.fallbacks,
        first=summary.first,
        last=summary.last,
        decision=decision.decision,
        variant=decision.variant,
        reasons=decision.reasons,
        notes=(*house.notes, *notes, *_notes(summary, exclusions)),
        timeline=tuple(looks),
    )


def _seconds(moments: Any) -> Floats:
    """Return moments in seconds, with fractions, NaN for what is missing."""
    exact = np.asarray(moments, dtype="datetime64[us]")
    seconds: Floats = np.where(np.isnat(exact), np.nan, exact.astype(np.int64) / 1e6)
    return seconds


def need_tea_tasting() -> None:
    """Check that the statistics are installed.

    Raises:
        MissingExtraError: They are not.
    """
    try:
        import tea_tasting  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError(
            "analysing an experiment needs tea-tasting",
            received=str(error),
            hint="pip install 'nid-plugins[ab]'",
        ) from error


@dataclass(frozen=True)
class _Impressions:
    table: Any
    values: tuple[str, ...]
    exclusions: list[Exclusion]
    fallback: bool
    times: bool


def _read(house: Warehouse, design: Design, exposures: Any, clicks: Any) -> _Impressions:
    """Return the impressions that count, with all values metrics read."""
    ibis, metrics = house.ibis, metrics_of(design)
    needed = columns_needed(metrics)
    covariates = [m.covariate for m in metrics if m.covariate is not None]
    table = house.table(exposures, "exposures")
    need = ("unit", "variant") if clicks is None else ("unit", "variant", "impression")
    log = read_log(ibis, table, design, [*needed, *covariates], "exposures", need=need)
    kept, exclusions = clean_exposures(house, log, design, joined=clicks is not None)
    values = log.values
    if clicks is None and CLICK in values:
        check_clicked(kept)
    if clicks is not None:
        raw = house.table(clicks, "clicks")
        elsewhere = [name for name in (CLICK, *needed) if name not in log.values]
        clicked = read_log(ibis, raw, design, elsewhere, "clicks", need=("impression",))
        _check_apart(raw, log, needed)
        kept, more = join_clicks(house, kept, log, clicked, design)
        exclusions += more
        values = tuple(dict.fromkeys((*values, *clicked.values, CLICK)))
    return _Impressions(kept, values, exclusions, "fallback" in log.keys, "timestamp" in log.keys)


def _check_apart(clicks: Any, log: Log, needed: Sequence[str]) -> None:
    twice = [
        name for name in (CLICK, *needed) if name in log.values and (name == CLICK or name in clicks.columns)
    ]
    if twice:
        raise FrameError(
            "the exposures and the clicks both have the column",
            field=twice[0],
            expected="one of them",
            hint="Drop it from one; exposures that know their clicks are analysed without clicks"
            if twice[0] == CLICK
            else "Rename one",
        )


@dataclass(frozen=True)
class _Summary:
    units: dict[str, int]
    impressions: dict[str, int]
    fallbacks: dict[str, int]
    first: datetime | None
    last: datetime | None


def _summary(read: _Impressions, units: Any) -> _Summary:
    counts = units.group_by("variant").aggregate(
        units=units.count(), impressions=units.impressions.sum(), fallbacks=units.fallbacks.sum()
    )
    rows = {row["variant"]: row for row in counts.to_pyarrow().to_pylist()}
    first = last = None
    if read.times:
        times = read.table.aggregate(first=read.table.timestamp.min(), last=read.table.timestamp.max())
        found = times.to_pyarrow().to_pylist()[0]
        first, last = _utc(found["first"]), _utc(found["last"])
    sizes, impressions, fallbacks = (
        {name: int(row[key]) for name, row in rows.items()} for key in ("units", "impressions", "fallbacks")
    )
    return _Summary(sizes, impressions, fallbacks, first, last)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    plain = datetime.fromisoformat(moment.isoformat()[:26] if moment.tzinfo is None else moment.isoformat())
    return plain.replace(tzinfo=UTC) if plain.tzinfo is None else plain.astimezone(UTC)


def _check_enough(design: Design, units: dict[str, int]) -> None:
    for variant in design.variants:
        if units.get(variant.name, 0) < 2:
            raise FrameError(
                "a variant has fewer than two units left to analyse",
                field="variant",
                received=f"{variant.name!r} has {units.get(variant.name, 0)}; units by variant: {units}",
                expected="two at the least",
                hint="Wait, or look at what was excluded",
            )


def _verdicts(
    design: Design, measured: Sequence[Measured], fixed: Sequence[Effect], *, sequential: bool
) -> list[GuardrailVerdict]:
    verdicts = []
    for guardrail in design.guardrails:
        for m in measured:
            if m.role == "guardrail" and m.metric.name == guardrail.name:
                effect = (
                    effects.sequential_effect(design, m, design.alpha)
                    if sequential
                    else effects.fixed_guardrail(fixed, m)
                )
                verdicts.append(guardrails.judge(guardrail, effect))
    return verdicts


def _finished(design: Design, measured: Sequence[Measured], last: datetime | None) -> bool:
    """Return whether the planned size is reached, or the planned end; True where neither was planned."""
    primaries = [m for m in measured if m.role == "primary"]
    planned = [effects.planned_units(design, m.variant, covariate=m.covariate is not None) for m in primaries]
    there = [float(m.found.control_count + m.found.treatment_count) for m in primaries]
    if all(wanted is not None and n >= wanted for n, wanted in zip(there, planned, strict=True)):
        return True
    if design.stop is not None:
        return (last is not None and last >= design.stop) or datetime.now(UTC) >= design.stop
    return planned[0] is None


def _notes(summary: _Summary, exclusions: Sequence[Exclusion]) -> list[str]:
    notes = []
    for name, fallbacks in summary.fallbacks.items():
        if fallbacks:
            share = fallbacks / summary.impressions[name]
            notes.append(
                f"{fallbacks:,} impressions of {name!r} ({share:.2%}) were answered by the control's model; they count as "
                f"{name!r}, which they were assigned to."
            )
    total = sum(summary.units.values())
    for exclusion in exclusions:
        if (
            exclusion.reason == "units in several variants"
            and exclusion.units
            and exclusion.units > total / 100
        ):
            share = exclusion.units / (exclusion.units + total)
            notes.append(
                f"{share:.1%} of the units were in several variants: look at how units are assigned."
            )
    return notes


@dataclass(frozen=True)
class PrimarySums:
    """Per-unit sums of the primary metric, out of logs without variants.

    Args:
        units: The ids as text.
        columns: Numerator, denominator, and with a covariate its two, shape (n, m).
        covariate: Whether there is one.
        arrival: Time of each unit's first impression in seconds, None without times.
        impressions: Rows of the logs.
    """

    units: list[str]
    columns: Floats
    covariate: bool
    arrival: Floats | None
    impressions: int

    @property
    def ids(self) -> Units:
        """The ids as they are hashed: integers hash as their digits do, and faster."""
        try:
            numbers = np.array(self.units, dtype=np.int64)
        except (ValueError, OverflowError):
            return self.units
        return numbers if [str(n) for n in numbers.tolist()] == self.units else self.units


def primary_sums(design: Design, logs: Any, clicks: Any, units: Any) -> PrimarySums:
    """Return per-unit sums of the primary metric, aggregated where the logs are.

    Raises:
        FrameError: See :func:`analyze`.
        SettingError: Not a table.
        MissingExtraError: The extra ``ab`` is not installed.
    """
    metric = design.primary
    alone = replace(design, start=None, stop=None, metrics=(), guardrails=(), sizing=None)
    with Warehouse(logs, clicks, units) as house:
        ibis, needed = house.ibis, columns_needed([metric])
        table = house.table(logs, "logs")
        need = ("unit",) if clicks is None else ("unit", "impression")
        log = read_log(
            ibis,
            table,
            alone,
            [*needed, *([metric.covariate] if metric.covariate else [])],
            "logs",
            need=need,
        )
        kept = house.keep(log.table.filter(log.table.unit.notnull()).mutate(variant=ibis.literal("")))
        values = log.values
        if clicks is not None:
            raw = house.table(clicks, "clicks")
            elsewhere = [name for name in (CLICK, *needed) if name not in log.values]
            clicked = read_log(ibis, raw, alone, elsewhere, "clicks", need=("impression",))
            _check_apart(raw, log, needed)
            kept, _ = join_clicks(house, kept, log, clicked, alone)
            values = tuple(dict.fromkeys((*values, *clicked.values, CLICK)))
        sums = unit_sums(house, kept, values, [metric], Covariates(house, units, alone), fallback=False)
        names = sums.columns[metric.name].names
        table = sums.table
        if "timestamp" in log.keys:
            first = kept.group_by("unit").aggregate(first=kept.timestamp.min())
            table = table.left_join(first, "unit").drop("unit_right")
        found = table.order_by("unit").to_pyarrow()
    ones = np.ones(len(found))
    columns = [ones if name is None else found[name].to_numpy() for name in names]
    return PrimarySums(
        found["unit"].to_pylist(),
        np.column_stack(columns).astype(np.float64),
        len(names) > 2,
        _seconds(found["first"].to_numpy()) if "first" in found.column_names else None,
        int(found["impressions"].to_numpy().sum()),
    )
