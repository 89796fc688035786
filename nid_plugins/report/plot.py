"""A report as a matplotlib picture, for papers and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import MissingExtraError, SettingError
from nid_plugins.report.pictures import pair_strengths
from nid_plugins.report.values import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nid_plugins.report.report import InteractionReport

KINDS = ("ranking", "map")
INCHES = 0.28
"""Height of a row."""


def plot(report: InteractionReport, kind: str, *, top: int, ax: Axes | None) -> Axes:
    """Draw a report; see :meth:`nid_plugins.InteractionReport.plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib", hint="pip install 'nid-plugins[report]'") from error
    if kind not in KINDS:
        raise SettingError("no such plot", received=repr(kind), expected=f"one of {list(KINDS)}")
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
        raise SettingError("top out of range", received=repr(top), expected="an integer of at least 1")
    rows = min(top, len(report) if kind == "ranking" else len(report.schema))
    if ax is None:
        # A figure of its own: pyplot would keep it, and may open a window.
        height = 1.2 + INCHES * max(rows, 2)
        ax = Figure(
            figsize=(7.0 if kind == "ranking" else height + 1.5, height), layout="constrained"
        ).subplots()
    elif not hasattr(ax, "barh"):
        raise SettingError("not axes", received=type(ax).__name__, expected="matplotlib Axes, or None")
    if kind == "ranking":
        _ranking(report, ax, rows)
    else:
        _map(report, ax, rows)
    return ax


def _ranking(report: InteractionReport, ax: Axes, rows: int) -> None:
    shown = report.interactions[:rows]
    ax.barh(range(rows), [one.share for one in shown])
    # Names are text: a dollar sign would start a formula.
    ax.set_yticks(range(rows), [clean(str(one)) for one in shown], parse_math=False)
    ax.invert_yaxis()
    ax.set_xlabel("share of instances")
    ax.set_xlim(0, 1)
    ax.set_title(f"Interactions found in {report.instances:,} instances")


def _map(report: InteractionReport, ax: Axes, rows: int) -> None:
    strengths = pair_strengths(report)
    kept = sorted(np.argsort(-strengths.sum(axis=1), kind="stable")[:rows].tolist())
    names = [clean(report.schema.names[i]) for i in kept]
    image = ax.imshow(strengths[np.ix_(kept, kept)], cmap="viridis", vmin=0)
    options: dict[str, Any] = {"parse_math": False}
    ax.set_xticks(range(rows), names, rotation=90, **options)
    ax.set_yticks(range(rows), names, **options)
    ax.set_title("Strength of every pair of fields")
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(image, ax=ax, label="strength")
