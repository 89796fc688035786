"""A/A runs as a page: how often each test found an effect where there was none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.report.charts import Forest, Interval
from nid_plugins.report.content import Column, Facts, Notice, Section, Table, numbers
from nid_plugins.report.page import Page

if TYPE_CHECKING:
    from nid_plugins.experiment.results import AAResult


def aa_page(result: AAResult) -> Page:
    """Return the page of A/A runs, or, where an effect was put in, of the simulated power."""
    runs = max((rate.runs for rate in result.rates), default=0)
    name = result.design.name
    if result.effect:
        title, what = f"Simulated power of {name}", f"with an effect of {result.effect:+.2%} put in"
        section, promise = "Power", result.design.power
        line = (
            f"The line is the power of the design, {promise:g}; the size of the logs is not its planned one."
        )
        caption = "How often a test found the effect"
        verdict = Notice(
            "These runs say how often such an effect is found in as many units", "", result.reasons
        )
    else:
        title, what = f"A/A test of {name}", "without any effect"
        section, promise = "False positives", result.alpha
        line = f"The line is alpha, {promise:g}: what the fixed test should be at, and the sequential one at most."
        caption = "How often a test found an effect where there was none"
        kept = "keep their promise" if result.passes else "do not keep their promise"
        verdict = Notice(
            f"The tests {kept} on these logs", "good" if result.passes else "bad", result.reasons
        )
    chart = Forest(
        "Share of runs that found an effect",
        [Interval(r.test, r.low, r.rate, r.high) for r in result.rates],
        ".2%",
        line,
        reference=promise,
    )
    return Page(
        title,
        [Section(section, [verdict, chart, _rates(result, caption), _facts(result)])],
        f"{runs:,} experiments {what}, drawn from the logs",
        data=result.to_dict(),
    )


def _rates(result: AAResult, caption: str) -> Table:
    columns = [
        Column("test"),
        numbers("found"),
        numbers("runs"),
        numbers("rate", ".2%"),
        numbers("95 % interval"),
        numbers("looks"),
    ]
    rows = [[r.test, r.found, r.runs, r.rate, f"[{r.low:.2%}, {r.high:.2%}]", r.looks] for r in result.rates]
    return Table(caption, columns, rows)


def _facts(result: AAResult) -> Facts:
    saved = result.variance_saved
    return Facts(
        "",
        [
            ("metric", result.metric),
            ("alpha", result.alpha),
            ("units in the logs", result.units),
            ("impressions in the logs", result.impressions),
            ("sample-ratio alarms", f"{result.sample_ratio_alarms:.2%} of runs"),
            ("variance saved by the covariate", None if saved is None else f"{saved:.1%}"),
        ],
    )
