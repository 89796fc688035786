"""What ``nid demo`` prints."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from nid_plugins.metrics import auc, log_loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from nid_plugins.cli.trial import Arm
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.readers import Clicks, EncodedClicks
    from nid_plugins.report import InteractionReport
    from nid_plugins.schema import FeatureSchema
    from nid_plugins.simulate import Planted, SimulatedLog

FIRST = 10
"""Interactions shown of a detection without a known truth."""


def heading(console: Console, title: str, subtitle: str) -> None:
    """Print the title of a step."""
    console.print(f"\n[bold cyan]{title}[/]  [dim]{subtitle}[/]")


def table(*columns: str, right: Sequence[int] = ()) -> Table:
    """Return a table; columns at the positions ``right`` are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i in right else "left", no_wrap=i in right)
    return made


def _fields(schema: FeatureSchema) -> str:
    sizes = [field.cardinality for field in schema.sparse]
    ids = f" ({min(sizes)} to {max(sizes)} ids)" if sizes else ""
    return f"{len(sizes)} categorical fields{ids}, {len(schema.dense)} dense"


def simulation(console: Console, log: SimulatedLog) -> None:
    """Say what was simulated."""
    heading(console, "Simulate clicks", "an impression log whose interactions are known")
    console.print(
        f"{len(log):,} impressions, {_fields(log.schema)}; click-through rate {log.label.mean():.1%}"
    )
    pairs = sum(len(planted.fields) == 2 for planted in log.planted)
    console.print(
        f"{pairs} pairs and {len(log.planted) - pairs} triples of fields interact in the true logit"
    )


def log_read(console: Console, path: Path, clicks: Clicks, coded: EncodedClicks, split: str) -> None:
    """Say what was read."""
    heading(console, "Read clicks", str(path))
    console.print(f"{len(clicks):,} rows, {_fields(coded.schema)}; {clicks.label.mean():.1%} positive")
    sizes = "/".join(f"{len(label):,}" for label in coded.labels)
    how = "in the order of the file" if split == "order" else "at random, with the same share of clicks"
    console.print(
        f"training/validation/test: {sizes} rows, {how}; vocabularies and scales of the training rows"
    )


def trained(console: Console, base: Arm, truth: list[SimulatedLog] | None) -> None:
    """Say how good the base is, and what could be reached where that is known."""
    scores = base.scores()
    console.print(f"{base.passes} passes; test AUC {scores['auc']:.4f}, log-loss {scores['log_loss']:.4f}")
    if truth is not None:
        console.print(
            f"to compare: the true main effects alone have AUC {truth[2].auc_of_main_effects():.4f}, "
            f"the true logit {truth[2].auc_of_truth():.4f}"
        )


def _fit(console: Console, report: InteractionReport) -> None:
    fit = report.fit_summary()
    console.print(
        f"{report.instances} rows explained, {report.settings['perturbations']} masks each; "
        f"explainers' held-out R² {fit['r2_median']:.2f}, without interactions {fit['r2_linear_median']:.2f} (medians)"
    )


def planted_and_found(console: Console, planted: Sequence[Planted], report: InteractionReport) -> None:
    """Print where each planted set is in the ranking, and recall against picking at random."""
    _fit(console, report)
    ranks = {frozenset(found.fields): i for i, found in enumerate(report, 1)}
    shown = table("planted", f"rank of {len(report)}", "found in", "", right=(1, 2))
    for one in planted:
        rank = ranks.get(frozenset(one.fields))
        share = f"{report.interactions[rank - 1].share:.0%}" if rank else ""
        inside = ""
        if len(one.fields) > 2:
            places = [ranks.get(frozenset(pair)) for pair in itertools.combinations(one.fields, 2)]
            inside = "its pairs: " + ", ".join("-" if place is None else str(place) for place in places)
        shown.add_row(" x ".join(one.fields), str(rank or "-"), share, inside)
    console.print(shown)
    _recall(console, planted, report)


def _recall(console: Console, planted: Sequence[Planted], report: InteractionReport) -> None:
    fields = len(report.schema)
    pairs = fields * (fields - 1) // 2
    exact = {frozenset(one.fields) for one in planted if len(one.fields) == 2}
    true = exact | {frozenset(pair) for one in planted for pair in itertools.combinations(one.fields, 2)}
    ranked = [frozenset(found.fields) for found in report if len(found.fields) == 2]
    for truth, what in (
        (exact, "planted pairs"),
        (true, "pairs that truly interact, alone or inside a triple,"),
    ):
        if not truth:
            continue
        k = len(truth)
        console.print(
            f"{sum(pair in truth for pair in ranked[:k])} of {k} {what} are among the first {k} pairs; "
            f"picked at random: {k * k / pairs:.1f}"
        )
    false = [found for found in report.interactions[: len(planted)] if not _true(found.fields, planted)]
    if false:
        console.print(f"not planted, but among the first {len(planted)}: {', '.join(map(str, false))}")


def _true(fields: Sequence[str], planted: Sequence[Planted]) -> bool:
    return any(set(fields) <= set(one.fields) for one in planted)


def found(console: Console, report: InteractionReport) -> None:
    """Print the first interactions of a ranking."""
    _fit(console, report)
    shown = table("rank", "interaction", "found in", "strength", "gain", "stability", right=(0, 2, 3, 4, 5))
    for rank, one in enumerate(report.interactions[:FIRST], 1):
        shown.add_row(
            str(rank),
            str(one),
            f"{one.share:.0%}",
            f"{one.strength:.3f}",
            f"{one.gain:.3f}",
            f"{one.stability:.2f}",
        )
    console.print(shown)
    if len(report) > FIRST:
        console.print(f"and {len(report) - FIRST} more")
    elif not len(report):
        console.print("The model makes no fields interact that the explainers could find.")


def screened(
    console: Console, report: ScreenReport, chosen: Sequence[str], planted: Sequence[Planted]
) -> None:
    """Print the crosses that were kept."""
    console.print(
        f"{len(report)} crosses, {len(chosen)} kept: each adds more than its error on top of those before it"
    )
    if not chosen:
        best = report[0]
        console.print(
            f"the best, {' x '.join(best.fields)}, adds {best.gain:+.5f} with an error of {best.error:.5f}"
        )
        return
    columns = ["cross", "ids", "gain", "error", *(["truth"] if planted else [])]
    shown = table(*columns, right=(1, 2, 3))
    for cross in report:
        if cross.name in chosen:
            cells = [
                " x ".join(cross.fields),
                f"{cross.vocabulary:,}",
                f"{cross.gain:.5f}",
                f"{cross.error:.5f}",
            ]
            shown.add_row(*cells, *([_said(cross.fields, planted)] if planted else []))
    console.print(shown)


def _said(fields: Sequence[str], planted: Sequence[Planted]) -> str:
    if any(set(fields) == set(one.fields) for one in planted):
        return "planted"
    return "in a triple" if _true(fields, planted) else "no"


def controls(console: Console, drawn: int, kept: int) -> None:
    """Say what the random crosses are."""
    what = f"{kept} kept" if kept else "none kept, so there is no such model"
    console.print(
        f"control: {drawn} random pairs made into crosses, screened and injected the same way; {what}"
    )


def results(console: Console, arms: Sequence[Arm], truth: list[SimulatedLog] | None) -> None:
    """Print test scores of all arms with their change against the first, and the verdict on the last."""
    base, last = arms[0], arms[-1]
    shown = table("", "AUC", "change", "log-loss", "change", "pred./obs. CTR", right=(1, 2, 3, 4, 5))
    was = base.scores()
    for arm in arms:
        now = arm.scores()
        change = (
            ("", "")
            if arm is base
            else (f"{now['auc'] - was['auc']:+.4f}", f"{now['log_loss'] - was['log_loss']:+.4f}")
        )
        bold = "[bold]" if arm is last else ""
        cells = [
            arm.name,
            f"{now['auc']:.4f}",
            change[0],
            f"{now['log_loss']:.4f}",
            change[1],
            f"{now['calibration']:.3f}",
        ]
        shown.add_row(*(f"{bold}{cell}" for cell in cells))
    if truth is not None:
        label, logit = truth[2].label, truth[2].logit
        cells = ["true logit", f"{auc(label, logit):.4f}", "", f"{log_loss(label, logit):.4f}", "", ""]
        shown.add_row(*(f"[dim]{cell}" for cell in cells))
    console.print(shown)
    console.print(verdict(last, arms[:-1]))


def verdict(crossed: Arm, others: Sequence[Arm]) -> str:
    """Say whether detected crosses help, by the log-loss of the same test rows with and without them.

    They do when they are better than each of the others by more than chance, and hurt when they are worse than the
    first, the model as it was. What is printed is the least favourable comparison.
    """
    compared = []
    for other in others:
        change, error = crossed.change(other)
        compared.append((change + 1.96 * error, change - 1.96 * error, change, other.title))
    high, low, change, title = compared[0] if compared[0][1] > 0 else max(compared)
    text = f"log-loss {change:+.4f} against {title}, 95 % interval {low:+.4f} to {high:+.4f}"
    if low > 0 and title == others[0].title:
        return f"[bold red]The crosses hurt[/] on the test rows: {text}. Keep the model without them."
    if low > 0:
        return f"[bold yellow]No gain[/]: the model with crosses is behind another on the test rows: {text}."
    if high >= 0:
        return f"[bold yellow]No gain[/] that these test rows can tell from chance: {text}."
    return f"[bold green]The detected crosses help[/]: {text}, the least of the comparisons."
