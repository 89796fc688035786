"""The plan of an experiment, and how large it must be, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.report.content import Block, Column, Facts, Paragraph, Section, Table, numbers
from nid_plugins.report.page import Page

if TYPE_CHECKING:
    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.metrics import Metric
    from nid_plugins.experiment.sizes import Sizing

WAYS = {"up": "more is worse", "down": "less is worse", "either": "any change is worse"}


def design_page(design: Design) -> Page:
    """Return the page of a plan."""
    sections = [*plan(design), *([] if design.sizing is None else [size_section(design.sizing)])]
    return Page(f"A/B test {design.name}: the plan", sections, data=design.to_dict())


def plan(design: Design) -> list[Section]:
    """Return what is tested: variants, metrics, settings."""
    blocks: list[Block] = [Paragraph(design.notes)] if design.notes else []
    return [
        Section("Variants", [*blocks, _variants(design)]),
        Section("Metrics", [_metrics(design)]),
        Section("Settings", [settings(design)]),
    ]


def settings(design: Design) -> Facts:
    """Return the settings of a plan that are single values."""
    namespace = design.namespace
    slice_ = (
        None
        if namespace is None
        else (
            f"{namespace.name}, {namespace.start:g} to {namespace.stop:g}, hash version {namespace.hash_version}"
        )
    )
    return Facts(
        "",
        [
            ("unit", design.unit),
            ("seed of the hash", design.seed),
            ("coverage", f"{design.coverage:.1%}"),
            ("namespace", slice_),
            ("smallest change worth finding", f"{design.mde:.2%}"),
            ("false-positive rate, two-sided", f"{design.alpha:g}"),
            ("power", f"{design.power:g}"),
            ("correction", design.correction),
            ("start", design.start),
            ("stop", design.stop),
            *((f"kept: {name}", place) for name, place in design.artefacts.items()),
        ],
    )


def size_section(sizing: Sizing) -> Section:
    """Return how many units and days are needed, with and without the covariate."""
    columns = [Column("what"), numbers("without covariate")]
    rows: list[list[object]] = [
        ["units", f"{sizing.units:,}"],
        *_per_variant(sizing),
        ["days", sizing.days],
        ["smallest change found", f"{sizing.mde:.2%}"],
        ["variance of a unit, relative", f"{sizing.variance:.4g}"],
    ]
    if sizing.units_cuped is not None:
        columns.append(numbers(f"with {sizing.covariate}"))
        cells: list[object] = [
            f"{sizing.units_cuped:,}",
            *(f"{units:,}" for units in (sizing.units_per_variant_cuped or {}).values()),
            sizing.days_cuped,
            None if sizing.mde_cuped is None else f"{sizing.mde_cuped:.2%}",
            None if sizing.variance_cuped is None else f"{sizing.variance_cuped:.4g}",
        ]
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    saved = sizing.variance_saved
    facts = Facts(
        "From these logs",
        [
            ("units", sizing.sample_units),
            ("impressions", sizing.sample_impressions),
            (sizing.metric, sizing.baseline),
            ("units a day", sizing.units_per_day),
            ("days a unit was observed", sizing.window),
            ("correlation with the covariate", sizing.correlation),
            ("variance saved by it", None if saved is None else f"{saved:.1%}"),
            ("alpha of one comparison", sizing.alpha_comparison),
            ("power", sizing.power),
        ],
    )
    note = "" if sizing.days is not None else "Days are not known, or there is not traffic enough."
    return Section("Size", [Table("Size of the experiment", columns, rows, note), facts])


def _variants(design: Design) -> Table:
    columns = [
        Column("variant"),
        Column("role"),
        numbers("share", ".2%"),
        numbers("of all units", ".2%"),
        Column("model"),
    ]
    rows = [
        [
            v.name,
            "control" if v is design.control else "treatment",
            share,
            share * design.reach,
            v.model or None,
        ]
        for v, share in zip(design.variants, design.shares, strict=True)
    ]
    return Table("Who gets which model", columns, rows)


def _metrics(design: Design) -> Table:
    columns = [
        Column("metric"),
        Column("role"),
        Column("of each unit"),
        Column("covariate"),
        Column("margin"),
    ]
    rows: list[list[object]] = [[design.primary.name, "primary", *_read(design.primary), None]]
    rows += [[m.name, "secondary", *_read(m), None] for m in design.metrics]
    rows += [
        [g.name, "guardrail", *_read(g.metric), f"{g.margin:.1%}, {WAYS[g.worse]}"] for g in design.guardrails
    ]
    return Table("What is measured", columns, rows)


def _read(metric: Metric) -> tuple[str, str | None]:
    how = {
        "ratio": f"sum of {metric.numerator} over sum of {metric.denominator}",
        "mean": f"sum of {metric.value}",
        "quantile": f"{(metric.q or 0) * 100:g} % quantile of {metric.value}",
    }
    return how[metric.kind], metric.covariate


def _per_variant(sizing: Sizing) -> list[list[object]]:
    return [[f"of these {name}", f"{units:,}"] for name, units in sizing.units_per_variant.items()]
