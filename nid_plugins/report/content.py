"""What a report is made of: sections of tables, facts, notices and charts, shown in a terminal or on a page alike.

Each block names the template a page renders it with, and is itself something ``rich`` can print. A block of one's own
needs ``template`` and ``__rich__``, no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nid_plugins.errors import SettingError
from nid_plugins.report.values import TONES, Mark, as_number, clean, show, sort_key

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCHED = 10
"""Rows from which on a table has a search box."""


class Block(Protocol):
    """A part of a section."""

    @property
    def template(self) -> str:
        """Name of the template of its HTML, which knows it as ``block``, and an id of its own as ``id``."""

    def __rich__(self) -> Any:
        """Return what a terminal shows."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: Its head.
        format: Of its numbers, as :func:`format` takes it.
        number: Whether it is set and sorted as numbers.
        detail: Whether a terminal, which is narrow, leaves it out.
    """

    title: str
    format: str = ""
    number: bool = False
    detail: bool = False


def numbers(title: str, spec: str = "", *, detail: bool = False) -> Column:
    """Return a column of numbers."""
    return Column(title, spec, number=True, detail=detail)


@dataclass(frozen=True)
class Table:
    """A table that can be sorted and, when it is long, searched.

    Args:
        caption: What it shows.
        columns: Its columns; the first one names the row.
        rows: One sequence of values a row, as :func:`nid_plugins.report.values.show` takes them.
        note: A sentence below it.
        search: Whether it can be searched; by default from ``SEARCHED`` rows on.
        shown: Most rows a terminal shows.

    Raises:
        SettingError: A row has more or fewer values than there are columns, or a column has no title.
    """

    template: ClassVar[str] = "table.html"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    note: str = ""
    search: bool | None = None
    shown: int = 40

    def __post_init__(self) -> None:
        if not all(column.title for column in self.columns):
            raise SettingError(
                "a column without a title", field=self.caption, hint="A screen reader reads it out"
            )
        for row in self.rows:
            if len(row) != len(self.columns):
                raise SettingError(
                    "a row does not fit its table",
                    field=self.caption,
                    received=f"{len(row)} values",
                    expected=f"{len(self.columns)}, one a column",
                )

    @property
    def searchable(self) -> bool:
        """Whether there is a search box."""
        return len(self.rows) >= SEARCHED if self.search is None else self.search

    def cells(self) -> list[list[dict[str, Any]]]:
        """Return text, tone and sort key of every cell."""
        return [
            [
                {
                    "text": show(value, column.format),
                    "tone": _tone(value),
                    "key": sort_key(value) if column.number else None,
                }
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]

    def __rich__(self) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold")
        grid.title = Text(clean(self.caption))
        kept = [i for i, column in enumerate(self.columns) if not column.detail]
        for column in (self.columns[i] for i in kept):
            side: Any = "right" if column.number else "left"
            grid.add_column(Text(clean(column.title)), justify=side, no_wrap=column.number, overflow="fold")
        for cells in self.cells()[: self.shown]:
            grid.add_row(*(Text(cells[i]["text"], style=TONES[cells[i]["tone"]]) for i in kept))
        below = [clean(self.note)] if self.note else []
        if len(self.rows) > self.shown:
            below.insert(0, f"and {len(self.rows) - self.shown:,} more")
        return Group(grid, *(Text(line, style="dim") for line in below))


@dataclass(frozen=True)
class Facts:
    """Names and their values, such as settings.

    Args:
        caption: What they are about; may be empty below a heading that says it.
        pairs: The names and values.
    """

    template: ClassVar[str] = "facts.html"
    caption: str
    pairs: Sequence[tuple[str, object]]

    def shown(self) -> list[dict[str, str]]:
        """Return name, text and tone of each."""
        return [
            {"name": clean(name), "text": show(value), "tone": _tone(value)} for name, value in self.pairs
        ]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2, 0, 0))
        for pair in self.shown():
            grid.add_row(Text(pair["name"], style="dim"), Text(pair["text"], style=TONES[pair["tone"]]))
        title = [Text(clean(self.caption), style="bold")] if self.caption else []
        return Group(*title, grid)


@dataclass(frozen=True)
class Notice:
    """A verdict, or a warning: what a reader must not miss.

    Args:
        title: The verdict.
        tone: One of ``TONES``.
        lines: Sentences below it.
    """

    template: ClassVar[str] = "notice.html"
    title: str
    tone: str = ""
    lines: Sequence[str] = ()

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        head = Text(clean(self.title), style=f"bold {TONES[self.tone]}".strip())
        return Group(head, *(Text(clean(line)) for line in self.lines))


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    template: ClassVar[str] = "paragraph.html"
    text: str

    def __rich__(self) -> Any:
        from rich.text import Text

        return Text(clean(self.text))


@dataclass(frozen=True)
class Folded:
    """Blocks below a title that opens and closes them.

    Args:
        title: What they are about.
        blocks: The blocks.
        open: Whether they are open at first.
    """

    template: ClassVar[str] = "folded.html"
    title: str
    blocks: Sequence[Block]
    open: bool = False

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(clean(self.title), style="bold"), *self.blocks)


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Args:
        title: The heading.
        blocks: What stands below it.
        intro: A sentence before.
        detail: Whether a terminal leaves it out.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    intro: str = ""
    detail: bool = False

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        head = Text.assemble(("\n" + clean(self.title), "bold cyan"), ("  " + clean(self.intro), "dim"))
        head.rstrip()
        return Group(head, *self.blocks)


def _tone(value: object) -> str:
    if isinstance(value, Mark):
        return value.tone
    number = as_number(value)
    return "muted" if value is None or (number is not None and number != number) else ""  # noqa: PLR0124 - NaN
