"""The result of an experiment as a page: the decision first, then what it rests on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nid_plugins.report.charts import Forest, Interval, Lines, Series
from nid_plugins.report.content import Block, Column, Facts, Notice, Paragraph, Section, Table, numbers
from nid_plugins.report.design_page import WAYS, plan
from nid_plugins.report.page import Page
from nid_plugins.report.values import Mark, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.experiment.results import Analysis, Effect

STATUS_TONES = {"safe": "good", "harmed": "bad", "open": "open"}


def analysis_page(analysis: Analysis) -> Page:
    """Return the page of a result."""
    return Page(
        f"A/B test {analysis.design.name}",
        [
            _decision(analysis),
            _effects(analysis),
            *([_guardrails(analysis)] if analysis.guardrails else []),
            _data(analysis),
            *(replace(section, detail=True) for section in plan(analysis.design)),
        ],
        _subtitle(analysis),
        data=analysis.to_dict(),
    )


def _subtitle(analysis: Analysis) -> str:
    units, impressions = sum(analysis.units.values()), sum(analysis.impressions.values())
    text = f"{units:,} units, {impressions:,} impressions"
    if analysis.first is None or analysis.last is None:
        return text
    return f"{show(analysis.first)} to {show(analysis.last)}; {text}"


def _decision(analysis: Analysis) -> Section:
    control = analysis.design.control.name
    title, tone = {
        "ship": (f"Ship {analysis.variant}", "good"),
        "stop": (f"Stop, and keep {control}", "bad"),
        "continue": ("Go on: there is no answer yet", "open"),
        "invalid": ("Invalid: do not read the effects", "bad"),
    }[analysis.decision]
    blocks: list[Block] = [Notice(title, tone, analysis.reasons)]
    if analysis.decision != "invalid":
        blocks.append(_forest(analysis))
    blocks += [_over_time(analysis, name) for name in _looked_at(analysis)]
    blocks += [Paragraph(note) for note in analysis.notes]
    return Section("Decision", blocks)


def _forest(analysis: Analysis) -> Forest:
    several = len(analysis.design.treatments) > 1
    rows = []
    for effects, words, dashed in (
        (analysis.effects, "", False),
        (analysis.sequential, ", always valid", True),
    ):
        rows += [
            Interval(
                f"{e.metric}{f', {e.variant}' if several else ''}{words}",
                e.relative_low,
                e.relative,
                e.relative_high,
                _tone(e) if e.role == "primary" else "",
                dashed,
            )
            for e in effects
            if e.role != "guardrail"
        ]
    note = "Relative change against the control. Full lines hold when looked at once, at the planned end; "
    note += "dashed ones at every look." if analysis.sequential else "there are no always-valid ones."
    return Forest(f"Change against {analysis.design.control.name}", rows, note=note)


def _tone(effect: Effect) -> str:
    # Which way is better is not known of every metric; of the primary one, up is.
    return "good" if effect.relative_low > 0 else "bad" if effect.relative_high < 0 else "open"


def _looked_at(analysis: Analysis) -> list[str]:
    looks = getattr(analysis, "timeline", ())
    return list(dict.fromkeys(look.variant for look in looks))


def _over_time(analysis: Any, variant: str) -> Lines:
    looks = [look for look in analysis.timeline if look.variant == variant]
    series = [
        Series("looked at once", [k.relative for k in looks], [k.low for k in looks], [k.high for k in looks])
    ]
    bounds = [k.sequential_low for k in looks], [k.sequential_high for k in looks]
    if not all(math.isnan(v) for v in bounds[0]):
        series.insert(0, Series("always valid", [k.relative for k in looks], *bounds, "open", dashed=True))
    return Lines(
        f"{analysis.design.primary.name} of {variant}, cumulated over time",
        [k.time for k in looks],
        series,
        note="Relative change over all data up to each moment.",
    )


def _effects(analysis: Analysis) -> Section:
    treatments = [variant.name for variant in analysis.design.treatments]
    one = len(treatments) == 1
    blocks: list[Block] = [_effect_table("Looked at once, at the planned end", analysis.effects, one)]
    if analysis.sequential:
        blocks.append(_effect_table("Always valid: looking early is allowed", analysis.sequential, one))
    return Section("Effects", blocks, f"of {show(treatments)} against {analysis.design.control.name}")


def _effect_table(caption: str, effects: Sequence[Effect], one: bool) -> Table:
    columns = [
        Column("metric"),
        Column("variant", detail=one),
        Column("role", detail=True),
        numbers("control", ".4g"),
        numbers("value", ".4g"),
        numbers("change", "+.2%"),
        numbers("interval"),
        numbers("level", ".3g", detail=True),
        numbers("absolute", "+.4g", detail=True),
        numbers("p", ".2g"),
        numbers("adj. p", ".2g", detail=all(e.adjusted is None for e in effects)),
        Column("method", detail=True),
        Column("covariate", detail=True),
        numbers("variance saved", ".1%", detail=True),
        numbers("units", ",", detail=True),
    ]
    rows = [
        [
            e.metric,
            e.variant,
            e.role,
            e.control_value,
            e.variant_value,
            e.relative,
            _interval(e),
            e.level,
            e.effect,
            e.pvalue,
            e.adjusted,
            e.method,
            e.covariate,
            e.variance_saved,
            e.units,
        ]
        for e in effects
    ]
    levels = sorted({f"{e.level * 100:.5g} %" for e in effects})
    return Table(caption, columns, rows, f"Intervals of {' and '.join(levels)}." if levels else "")


def _interval(effect: Effect) -> str | None:
    low, high = effect.relative_low, effect.relative_high
    if math.isnan(low) or math.isnan(high):
        return None
    return f"[{show(low, '+.2%')}, {show(high, '+.2%')}]"


def _guardrails(analysis: Analysis) -> Section:
    columns = [
        Column("guardrail"),
        Column("variant"),
        Column("verdict"),
        numbers("change", "+.2%"),
        numbers("interval"),
        numbers("margin", ".1%"),
        Column("worse", detail=True),
        Column("why", detail=True),
    ]
    rows = [
        [
            v.effect.metric,
            v.effect.variant,
            Mark(v.status, STATUS_TONES[v.status]),
            v.effect.relative,
            _interval(v.effect),
            v.margin,
            WAYS[v.worse],
            v.reason or None,
        ]
        for v in analysis.guardrails
    ]
    note = "Safe: the interval lies within the margin. Harmed: beyond it. Open: it holds the margin."
    return Section("Guardrails", [Table("What must not get worse", columns, rows, note)])


def _data(analysis: Analysis) -> Section:
    check = analysis.sample_ratio
    total = sum(check.observed.values())
    split = [
        [
            name,
            expected,
            check.observed.get(name, 0),
            check.observed.get(name, 0) / total if total else math.nan,
            analysis.impressions.get(name, 0),
            analysis.fallbacks.get(name, 0),
        ]
        for name, expected in check.expected.items()
    ]
    columns = [
        Column("variant"),
        numbers("expected", ",.1f"),
        numbers("units", ","),
        numbers("share", ".2%"),
        numbers("impressions", ","),
        numbers("fallbacks", ","),
    ]
    p = f"p = {show(check.pvalue, '.2g')}, alarm below {check.alpha:g}"
    ratio = (
        Notice(f"The sample ratio is as planned ({p})", "good")
        if check.passes
        else Notice(
            f"The sample ratio is not as planned ({p})", "bad", ["Find the cause before anything else."]
        )
    )
    blocks: list[Block] = [ratio, Table("Units and impressions", columns, split)]
    if analysis.exclusions:
        kinds = [Column("left out"), numbers("rows", ","), numbers("units", ","), Column("what was done")]
        left = [[e.reason, e.rows, e.units, e.detail] for e in analysis.exclusions]
        blocks.append(Table("What was left out, or merged", kinds, left))
    else:
        blocks.append(Facts("", [("rows left out", "none")]))
    return Section("Data", blocks)
