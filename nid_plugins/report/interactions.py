"""A detection as a page: the ranking, which field interacts with which, what crosses would add, and the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nid_plugins.comparison import ModelComparison
from nid_plugins.crosses.features import CrossFeatures
from nid_plugins.crosses.screen_report import ScreenReport
from nid_plugins.errors import SettingError
from nid_plugins.report.comparison_page import calibrated, measured
from nid_plugins.report.content import Block, Column, Facts, Folded, Notice, Section, Table, numbers
from nid_plugins.report.page import Page
from nid_plugins.report.pictures import graph, heat_map
from nid_plugins.report.store import to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from nid_plugins.report.report import InteractionReport

EMBEDDED = 10_000
"""Most instances of a report whose data go into its page."""

BeforeAfter = Mapping[str, tuple[float, float]]


def interactions_page(
    report: InteractionReport,
    *,
    screening: ScreenReport | None = None,
    crosses: CrossFeatures | None = None,
    frame: Any = None,
    label: Any = None,
    logits: npt.ArrayLike | None = None,
    before_after: ModelComparison | BeforeAfter | None = None,
    title: str = "Interactions of a model",
) -> Page:
    """Return the page of a detection.

    Args:
        report: What was detected.
        screening: What ``nid.screen`` returned; its gains join the ranking.
        crosses: Crosses whose combinations are shown; needs ``frame``, ``label`` and ``logits``.
        frame: Rows, best ones the model was not trained on.
        label: Their 0/1 labels, or the name of the frame's column.
        logits: The model's logits of them.
        before_after: The model without and with the crosses: what :func:`nid_plugins.compare` returned, or measures of
            one's own, ``{"auc": (0.781, 0.789)}``.
        title: Of the page.

    Raises:
        FrameError: The rows do not fit the crosses.
        SettingError: An argument is not what it should be, or crosses without rows.
    """
    _check(screening, crosses, frame, label, logits, before_after)
    sections = [Section("Ranking", [*_verdict(report), _ranking(report, screening)])]
    if isinstance(before_after, ModelComparison):
        sections.append(Section("Before and after", measured(before_after)))
        sections.append(Section("Calibration", calibrated(before_after), detail=True))
    elif before_after:
        sections.append(Section("Before and after", [_measures(before_after)]))
    pictures: list[Block] = [one for one in (heat_map(report), graph(report)) if one is not None]
    if pictures:
        sections.append(Section("Fields", pictures, detail=True))
    if crosses is not None and logits is not None:
        sections.append(
            Section(
                "Combinations",
                list(_combinations(crosses, frame, label, logits)),
                "For each cross, the combinations whose clicks the model is furthest from.",
                detail=True,
            )
        )
    sections.append(Section("Explanations", _explanations(report, screening), detail=True))
    sections.append(Section("Settings", [Facts("", list(_flat(report.settings)))], detail=True))
    return Page(
        title,
        sections,
        f"{len(report):,} interactions from {report.instances:,} instances of {len(report.schema):,} fields",
        data=to_dict(report) if report.instances <= EMBEDDED else None,
    )


def _check(
    screening: object, crosses: object, frame: object, label: object, logits: object, before_after: object
) -> None:
    if screening is not None and not isinstance(screening, ScreenReport):
        raise SettingError(
            "not a screening", received=type(screening).__name__, expected="what nid.screen returns"
        )
    if crosses is not None and not isinstance(crosses, CrossFeatures):
        raise SettingError(
            "not crosses", received=type(crosses).__name__, expected="what nid.fit_crosses returns"
        )
    parts = {"crosses": crosses, "frame": frame, "label": label, "logits": logits}
    absent = [name for name, part in parts.items() if part is None]
    if 0 < len(absent) < len(parts):
        raise SettingError(
            "combinations of crosses need clicks and predictions",
            received=f"no {', '.join(absent)}",
            expected="crosses, frame, label and logits, or none of them",
        )
    if before_after is None or isinstance(before_after, ModelComparison):
        return
    try:
        for before, after in before_after.values():  # type: ignore[attr-defined]
            float(before), float(after)
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingError(
            "not measures before and after",
            field="before_after",
            received=repr(before_after)[:80],
            expected='what nid.compare returns, or a mapping such as {"auc": (0.781, 0.789)}',
        ) from error


def _verdict(report: InteractionReport) -> list[Block]:
    if report.interactions:
        return []
    return [
        Notice(
            "No interactions were found",
            "open",
            ["The model may have none, or the instances may be too few to see them."],
        )
    ]


def _ranking(report: InteractionReport, screening: ScreenReport | None) -> Table:
    columns = [
        Column("interaction"),
        numbers("rank"),
        numbers("count"),
        numbers("share", ".1%"),
        numbers("strength", ".4g"),
        numbers("stability", ".0%"),
    ]
    explained = any(not math.isnan(one.gain) for one in report)
    if explained:
        columns.append(numbers("R² gain", ".4f", detail=True))
    screened = {} if screening is None else {frozenset(one.fields): one for one in screening}
    if screening is not None:
        columns += [numbers("screened gain", "+.6f"), numbers("error", ".6f", detail=True)]
    rows = []
    for rank, one in enumerate(report, 1):
        row: list[object] = [str(one), rank, one.count, one.share, one.strength, one.stability]
        if explained:
            row.append(one.gain)
        if screening is not None:
            found = screened.get(frozenset(one.fields))
            row += [None, None] if found is None else [found.gain, found.error]
        rows.append(row)
    note = "Stability: share of resamples of the instances in which it is among the best."
    if screening is not None:
        note += (
            " Screened gain: fall in held-out log-loss, in nats a row, when the cross is added to the model."
        )
    return Table("Interactions, best first", columns, rows, note, search=len(rows) > 1)


def _measures(before_after: BeforeAfter) -> Table:
    rows: list[list[object]] = []
    for name, (before, after) in before_after.items():
        change = float(after) - float(before)
        relative = change / abs(float(before)) if before else math.nan
        rows.append([name, float(before), float(after), change, relative])
    return Table(
        "The model without and with the crosses",
        [
            Column("measure"),
            numbers("before", ".6g"),
            numbers("after", ".6g"),
            numbers("change", "+.4g"),
            numbers("relative", "+.2%"),
        ],
        rows,
    )


def _combinations(crosses: CrossFeatures, frame: Any, label: Any, logits: npt.ArrayLike) -> Iterator[Folded]:
    from nid_plugins.report.combinations import strongest_combinations

    found = strongest_combinations(crosses, frame, label, logits)
    for place, (cross, combinations) in enumerate(zip(crosses.crosses, found, strict=True)):
        table = Table(
            f"Strongest combinations of {' x '.join(cross.fields)}",
            [
                *(Column(name) for name in cross.fields),
                numbers("rows"),
                numbers("CTR observed", ".2%"),
                numbers("CTR predicted", ".2%"),
                numbers("offset", "+.3f"),
            ],
            [[*c.values, c.rows, c.observed, c.predicted, c.offset] for c in combinations],
            "Offset: what the clicks would add to the model's logit, shrunk where rows are few.",
            search=False,
        )
        yield Folded(" x ".join(cross.fields), [table], open=place == 0)


def _explanations(report: InteractionReport, screening: ScreenReport | None) -> list[Block]:
    fit = report.fit_summary()
    blocks: list[Block] = [
        Facts(
            "How far the explanations fit the model, on held-out perturbations",
            [
                ("instances", report.instances),
                ("R², median", fit["r2_median"]),
                ("R², 10 % quantile", fit["r2_p10"]),
                ("R² of main effects alone, median", fit["r2_linear_median"]),
            ],
        )
    ]
    if screening is not None:
        blocks.append(
            Facts(
                "Screening",
                [
                    ("rows", screening.rows),
                    ("log-loss of the model", screening.base_loss),
                    ("gain of its fields one by one", screening.main_effects_gain),
                    *_flat(screening.settings),
                ],
            )
        )
    unswitched = {name: share for name, share in report.unswitched.items() if share > 0}
    if unswitched:
        blocks.append(
            Table(
                "Fields that hold their off value, and cannot interact there",
                [Column("field"), numbers("share of instances", ".1%")],
                [[name, unswitched[name]] for name in sorted(unswitched, key=lambda name: -unswitched[name])],
            )
        )
    return blocks


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", None if value == {} else value
