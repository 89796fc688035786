"""A/A runs as a page: how often each test found an effect where there was none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.report.charts import Forest, Interval
from nid_plugins.report.content import Column, Facts, Notice, Section, Table, numbers
from nid_plugins.report.page import Page

if TYPE_CHECKING:
    from nid_plugins.experiment.results import AAResult


def aa_page(result: AAResult) -> Page:
    """Return the page of A/A runs."""
    runs = max((rate.runs for rate in result.rates), default=0)
    rows = [[r.test, r.found, r.runs, r.rate, f"[{r.low:.2%}, {r.high:.2%}]", r.looks] for r in result.rates]
    columns = [
        Column("test"),
        numbers("found"),
        numbers("runs"),
        numbers("rate", ".2%"),
        numbers("95 % interval"),
        numbers("looks"),
    ]
    verdict = (
        "The tests keep their promise on these logs"
        if result.passes
        else "The tests do not keep their promise"
    )
    chart = Forest(
        "False-positive rates",
        [Interval(r.test, r.low, r.rate, r.high) for r in result.rates],
        ".2%",
        f"The line is alpha, {result.alpha:g}: what the fixed test should be at, and the sequential one at most.",
        reference=result.alpha,
    )
    facts = Facts(
        "",
        [
            ("metric", result.metric),
            ("alpha", result.alpha),
            ("units in the logs", result.units),
            ("impressions in the logs", result.impressions),
            ("sample-ratio alarms", f"{result.sample_ratio_alarms:.2%} of runs"),
            (
                "variance saved by the covariate",
                None if result.variance_saved is None else f"{result.variance_saved:.1%}",
            ),
        ],
    )
    return Page(
        f"A/A test of {result.design.name}",
        [
            Section(
                "False positives",
                [
                    Notice(verdict, "good" if result.passes else "bad", result.reasons),
                    chart,
                    Table("How often a test found an effect where there was none", columns, rows),
                    facts,
                ],
            )
        ],
        f"{runs:,} experiments without any effect, drawn from the logs",
        data=result.to_dict(),
    )
