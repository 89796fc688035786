"""Two models on the same rows, as parts of a page: measures with the intervals of their differences, and calibration."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from nid_plugins.report.charts import Lines, Series
from nid_plugins.report.content import Block, Column, Facts, Notice, Section, Table, numbers
from nid_plugins.report.page import Page
from nid_plugins.report.values import Mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.comparison import CalibrationBin, ModelComparison

TITLES = {
    "auc": "AUC",
    "log_loss": "log-loss",
    "rig": "RIG",
    "calibration": "calibration",
}
MARKS = {"better": Mark("better", "good"), "worse": Mark("worse", "bad"), "open": Mark("open", "open")}
VERDICTS = {
    "better": ("The model after predicts better", "good"),
    "worse": ("The model after predicts worse", "bad"),
    "open": ("These rows do not tell which model predicts better", "open"),
}


def comparison_page(comparison: ModelComparison) -> Page:
    """Return the page of a comparison."""
    first, second = comparison.names
    return Page(
        "Two models compared",
        [
            Section("Before and after", measured(comparison)),
            Section("Calibration", calibrated(comparison), detail=True),
            Section("Settings", [_facts(comparison)], detail=True),
        ],
        f"{first} and {second}, on {comparison.rows:,} rows with {comparison.clicks:,} clicks",
        data=comparison.to_dict(),
    )


def measured(comparison: ModelComparison) -> list[Block]:
    """Return the verdict and the measures."""
    title, tone = VERDICTS[comparison.verdict]
    loss = comparison["log_loss"]
    if loss.low == loss.high == 0:
        title = "Both models predict alike on these rows"
    sure = _sure(comparison)
    moved = "falls" if loss.change < 0 else "rises" if loss.change > 0 else "changes"
    line = (
        f"Log-loss {moved} by {abs(loss.change):.3g} nats a row ({loss.relative:+.2%}); {sure} of the change "
        f"{loss.low:+.3g} to {loss.high:+.3g}."
    )
    rows = [
        [
            TITLES.get(one.name, one.name),
            one.before,
            one.after,
            one.change,
            f"{one.low:+.3g} to {one.high:+.3g}",
            MARKS.get(one.verdict),
        ]
        for one in comparison
    ]
    table = Table(
        "Before and after, on the same rows",
        [
            Column("measure"),
            numbers("before", ".5f"),
            numbers("after", ".5f"),
            numbers("change", "+.3g"),
            numbers(sure),
            Column("verdict"),
        ],
        rows,
        "Log-loss: nats a row. RIG: share of the entropy of the CTR that the predictions explain. Calibration: sum of "
        "predictions over sum of clicks, best at 1. Open: the interval of the change holds 0.",
    )
    return [Notice(title, tone, [line, *comparison.notes]), table]


def calibrated(comparison: ModelComparison) -> list[Block]:
    """Return how far predictions are off in bins of each model's own predictions, as curves and as a table."""
    before, after = comparison.calibration
    blocks: list[Block] = []
    if len(before) == len(after) > 1:
        blocks.append(
            Lines(
                "Predicted over observed CTR, less 1",
                list(range(1, len(before) + 1)),
                [_curve("before", before), _curve("after", after)],
                x_title="bin of predictions",
                note="Rows by each model's own prediction, smallest first. 0 % is right; above it the model promises too "
                f"many clicks. Bands: {_sure(comparison)}s.",
            )
        )
    rows: list[list[object]] = []
    for place, (one, other) in enumerate(zip_longest(before, after), 1):
        row: list[object] = [place]
        for found in (one, other):
            row += [None] * 4 if found is None else [found.rows, found.predicted, found.observed, found.off]
        rows.append(row)
    columns = [numbers("bin")]
    for which in ("before", "after"):
        columns += [
            numbers(f"rows {which}"),
            numbers(f"predicted {which}", ".3%"),
            numbers(f"clicked {which}", ".3%"),
            numbers(f"off {which}", "+.1%"),
        ]
    blocks.append(Table("Calibration by bins of predictions", columns, rows, search=False))
    return blocks


def _curve(label: str, bins: Sequence[CalibrationBin]) -> Series:
    muted = label == "before"
    off, low, high = zip(*((one.off, one.low, one.high) for one in bins), strict=True)
    return Series(label, off, low, high, tone="muted" if muted else "", dashed=muted)


def _sure(comparison: ModelComparison) -> str:
    return f"{100 * comparison.confidence:.4g} % interval"


def _facts(comparison: ModelComparison) -> Facts:
    return Facts(
        "",
        [
            ("before", comparison.names[0]),
            ("after", comparison.names[1]),
            ("rows", comparison.rows),
            ("clicks", comparison.clicks),
            ("CTR", f"{comparison.ctr:.3%}"),
            ("confidence", f"{comparison.confidence:g}"),
            *comparison.settings.items(),
        ],
    )
