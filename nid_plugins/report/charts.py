"""Charts as inline SVG: intervals of effects, and curves over time. Each says in words what it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.errors import SettingError
from nid_plugins.report.scales import Scale
from nid_plugins.report.values import TONES, clean, show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

WIDTH = 380
"""Of every drawing, in its own units; a page scales it to the room there is."""
CELLS = 31
"""Width of an interval in a terminal."""
POINTS = 5
"""Places on the horizontal axis that a terminal shows."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its bounds. What is not known is NaN; a bound may be infinite.

    Args:
        label: What it is of.
        low: Lower bound.
        value: The estimate.
        high: Upper bound.
        tone: What it means, one of ``TONES``.
        dashed: Whether it is drawn dashed, to tell a second kind from the first.
    """

    label: str
    low: float
    value: float
    high: float
    tone: str = ""
    dashed: bool = False

    @property
    def known(self) -> bool:
        """Whether there is something to draw."""
        return not any(math.isnan(v) for v in (self.low, self.value, self.high))

    def words(self, spec: str) -> str:
        """Return the interval in words."""
        if not self.known:
            return f"{show(self.value, spec)} (no interval)"
        return f"{show(self.value, spec)} [{show(self.low, spec)}, {show(self.high, spec)}]"


@dataclass(frozen=True)
class Forest:
    """Intervals below each other on one axis, with a line at what they are compared with.

    Args:
        title: What is shown.
        rows: The intervals.
        format: Of the values.
        note: How to read it.
        reference: Where the line stands.
    """

    template: ClassVar[str] = "forest.html"
    title: str
    rows: Sequence[Interval]
    format: str = "+.2%"
    note: str = ""
    reference: float = 0.0

    @property
    def description(self) -> str:
        """The chart in words, for those who do not see it."""
        return "; ".join(f"{clean(row.label)}: {row.words(self.format)}" for row in self.rows) + "."

    def _axis(self, start: float, end: float) -> Scale:
        drawn = [row for row in self.rows if row.known]
        bounds = [v for row in drawn for v in (row.low, row.value, row.high)]
        return Scale.over([*bounds, self.reference], start, end)

    def layout(self) -> dict[str, Any]:
        """Return sizes and places of everything drawn."""
        step, top = 46, 8
        axis = self._axis(12, WIDTH - 12)
        bottom = top + step * len(self.rows)
        rows = []
        for i, row in enumerate(self.rows):
            place = {
                "label": clean(row.label),
                "words": row.words(self.format),
                "tone": row.tone,
                "dashed": row.dashed,
            }
            place |= {"text": top + step * i + 14, "y": top + step * i + 30, "known": row.known}
            if row.known:
                place |= {"low": axis(row.low), "value": axis(row.value), "high": axis(row.high)}
                place |= {"open_low": row.low < axis.low, "open_high": row.high > axis.high}
            rows.append(place)
        return {
            "width": WIDTH,
            "height": bottom + 26,
            "bottom": bottom,
            "reference": axis(self.reference),
            "rows": rows,
            "ticks": _ticks(axis, self.format, 5),
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        axis = self._axis(0, CELLS - 1)
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column()
        grid.add_column(min_width=CELLS, no_wrap=True)
        grid.add_column(justify="right")
        for row in self.rows:
            bar = Text(_bar(row, axis, self.reference), style=TONES[row.tone])
            grid.add_row(Text(clean(row.label)), bar, Text(row.words(self.format)))
        return Group(Text(clean(self.title), style="bold"), grid)


@dataclass(frozen=True, slots=True)
class Series:
    """A curve, with a band around it if there are bounds.

    Args:
        label: What it is.
        y: Its values; NaN leaves a gap.
        low: Lower bounds, or none.
        high: Upper bounds, or none.
        tone: One of ``TONES``.
        dashed: Whether it is drawn dashed.
    """

    label: str
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    tone: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Lines:
    """Curves over numbers or times.

    Args:
        title: What is shown.
        x: Places on the horizontal axis, ascending: numbers, or times with one zone.
        series: Curves of as many values.
        format: Of the values.
        x_title: Name of the horizontal axis.
        note: How to read it.

    Raises:
        SettingError: A curve is longer or shorter than ``x``, or there is nothing.
    """

    template: ClassVar[str] = "lines.html"
    title: str
    x: Sequence[float] | Sequence[datetime]
    series: Sequence[Series]
    format: str = "+.2%"
    x_title: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        lengths = {len(v) for s in self.series for v in (s.y, s.low, s.high) if len(v) or v is s.y}
        if lengths != {len(self.x)} or not len(self.x):
            raise SettingError(
                "curves do not fit their axis",
                field=self.title,
                received=f"lengths {sorted(lengths)}",
                expected=f"{len(self.x)} values, one at least",
            )

    @property
    def description(self) -> str:
        """The chart in words: where each curve begins and ends."""
        ends = [
            f"{clean(s.label)}: {Interval('', *_bounds(s, 0)).words(self.format)} at {show(self.x[0])}, "
            f"{Interval('', *_bounds(s, -1)).words(self.format)} at {show(self.x[-1])}"
            for s in self.series
        ]
        return "; ".join(ends) + "."

    def layout(self) -> dict[str, Any]:
        """Return sizes and places of everything drawn."""
        left, right, top, bottom = 62, WIDTH - 10, 10, 220
        places = [_place(x) for x in self.x]
        across = Scale.over(places, left, right, zero=False, room=0.0)
        # Bounds of the first looks are far out: the axis is that of the later three quarters, where it can be read.
        later = len(places) // 4
        shown = [v for s in self.series for v in (*s.y, *s.low[later:], *s.high[later:])]
        up = Scale.over(shown, bottom, top)
        drawn = [
            {
                "label": clean(s.label),
                "tone": s.tone,
                "dashed": s.dashed,
                "line": _path(
                    [
                        (across(x), up(y)) if math.isfinite(y) else None
                        for x, y in zip(places, s.y, strict=True)
                    ]
                ),
                "band": _band(s, places, across, up),
            }
            for s in self.series
        ]
        return {
            "width": WIDTH,
            "height": bottom + 46 + 20 * len(self.series),
            "bottom": bottom,
            "left": left,
            "right": right,
            "zero": up(0.0),
            "series": drawn,
            "ticks": _ticks(up, self.format, 6),
            "ends": _ends(self.x),
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_row(Text(clean(self.x_title)), *(Text(clean(s.label), style="dim") for s in self.series))
        last = len(self.x) - 1
        for at in sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)}):
            words = (Interval("", *_bounds(s, at)).words(self.format) for s in self.series)
            grid.add_row(Text(show(self.x[at]), style="dim"), *map(Text, words))
        return Group(Text(clean(self.title), style="bold"), grid)


def _bar(row: Interval, axis: Scale, reference: float) -> str:
    cells = [" "] * CELLS
    cells[round(axis(reference))] = "┊"
    if row.known:
        low, value, high = (round(axis(v)) for v in (row.low, row.value, row.high))
        for i in range(low, high + 1):
            cells[i] = ("╌" if row.dashed else "─") if cells[i] == " " else "┼"
        cells[low] = "<" if row.low < axis.low else "├"
        cells[high] = ">" if row.high > axis.high else "┤"
        cells[value] = "●"
    return "".join(cells)


def _ticks(axis: Scale, spec: str, most: int) -> list[dict[str, Any]]:
    ticks = axis.ticks(most)
    texts = [format(tick, spec) for tick in ticks]
    digits = 0
    # As few digits as tell the ticks apart.
    for digits in range(5):
        kind = spec[-1] if spec else "g"
        short = f"{'+' if spec.startswith('+') else ''},.{digits}{kind if kind in '%f' else 'f'}"
        texts = [format(tick, short) for tick in ticks]
        exact = all(
            math.isclose(_read(text), tick, abs_tol=1e-12) for text, tick in zip(texts, ticks, strict=True)
        )
        if exact:
            break
    return [{"at": axis(tick), "text": text} for tick, text in zip(ticks, texts, strict=True)]


def _read(text: str) -> float:
    bare = text.replace(",", "")
    return float(bare[:-1]) / 100 if bare.endswith("%") else float(bare)


def _ends(x: Sequence[Any]) -> list[str]:
    first, last = x[0], x[-1]
    if hasattr(first, "date") and (last - first).days >= 2:
        return [str(first.date()), str(last.date())]
    return [show(first), show(last)]


def _place(x: Any) -> float:
    return float(x.timestamp()) if hasattr(x, "timestamp") else float(x)


def _bounds(series: Series, at: int) -> tuple[float, float, float]:
    low = series.low[at] if len(series.low) else math.nan
    high = series.high[at] if len(series.high) else math.nan
    return low, series.y[at], high


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{point[0]:g} {point[1]:g}")
        pen = "L"
    return " ".join(parts)


def _band(series: Series, places: Sequence[float], across: Scale, up: Scale) -> str:
    if not len(series.low) or not len(series.high):
        return ""
    bounds = [
        (x, low, high)
        for x, low, high in zip(places, series.low, series.high, strict=True)
        if not (math.isnan(low) or math.isnan(high))
    ]
    if not bounds:
        return ""
    there = [(across(x), up(high)) for x, _, high in bounds]
    back = [(across(x), up(low)) for x, low, _ in reversed(bounds)]
    return _path([*there, *back]) + " Z"


@dataclass(frozen=True)
class Drawing:
    """A picture of one's own: SVG, an image as a data URL, or text with marks.

    Args:
        title: What is shown.
        body: Its HTML, as :class:`markupsafe.Markup`, in which all that comes from data has been escaped
            (``Markup.format`` does so). Plain text is escaped. The page's policy takes no ``style`` attributes and loads
            nothing: colours are classes (``good``, ``fill``, ``stroke``) or attributes of SVG, images are ``data:`` URLs.
        description: The picture in words, for those who do not see it.
        note: How to read it.
    """

    template: ClassVar[str] = "drawing.html"
    title: str
    body: Any
    description: str
    note: str = ""

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(clean(self.title), style="bold"), Text(clean(self.description)))
