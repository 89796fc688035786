"""Rows in Parquet files: a file, a folder, a pattern or a list of these, read in batches of the columns that are needed."""

from __future__ import annotations

import glob
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import FrameError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

ENDINGS = (".parquet", ".pq")
PIECES = 16
"""Pieces of a pass: enough for workers to end together and for one to be done again, few since each sends counters."""

FRAGMENT_ROWS = 2**22
"""Row groups of a file are taken together up to about this many rows: the rows of one part of an output."""

_BUFFER = 2**20  # bytes read of a column at a time: without it a whole row group's columns are held


def is_paths(value: object) -> bool:
    """Return whether a value names files: a path, or a sequence of paths."""
    if isinstance(value, str | os.PathLike):
        return True
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(v, str | os.PathLike) for v in value)
    )


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """What is known of a file from its footer.

    Attributes:
        path: Where it is.
        columns: Names of its columns.
        row_groups: Number of rows of each row group.
    """

    path: Path
    columns: tuple[str, ...]
    row_groups: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.row_groups)


@dataclass(frozen=True, slots=True)
class Fragment:
    """Consecutive row groups of a file: what can be read on its own.

    Attributes:
        file: The file.
        groups: Positions of the row groups.
        first: Number of the file's rows before them.
        rows: Number of their rows.
    """

    file: ParquetFile
    groups: tuple[int, ...]
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file.

    Attributes:
        table: Arrow record batch of the columns asked for.
        file: Where from.
        first: Number of the file's rows before the first.
    """

    table: Any
    file: ParquetFile
    first: int

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def where(self) -> str:
        """The rows, for messages."""
        return f"{self.file.path} from row {self.first}"

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the rows, at most so many at a time."""
        for start in range(0, len(self), size):
            yield Batch(self.table.slice(start, size), self.file, self.first + start)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column as a NumPy array, shape (n,); missing values are NaN, or None in a column of objects."""
        column = self.table.column(name)
        if hasattr(column, "dictionary_decode"):
            column = column.dictionary_decode()
        plain = _is_plain(column)  # for the rest pyarrow imports pandas
        array: npt.NDArray[Any] = np.from_dlpack(column) if plain else column.to_numpy(zero_copy_only=False)
        return array


class ParquetSource:
    """Parquet files taken as one table, in the order of the list, those of a folder or pattern by name.

    Args:
        paths: A file, a folder (every file in or below it that ends in .parquet or .pq, but for names that start with
            "." or "_"), a pattern such as ``"logs/day=*/*.parquet"``, or a list of any of these.
        what: Name of the rows in messages.

    Attributes:
        files: The files, those without rows included.
        rows: Number of rows of all together.

    Raises:
        FrameError: No file, or one that is damaged, or two columns of one name.
        MissingExtraError: pyarrow is not installed.
    """

    checked = False

    def __init__(self, paths: Any, what: str = "files") -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtraError(
                "reading Parquet files needs pyarrow", hint="pip install 'nid-plugins[parquet]'"
            )
        self.what = what
        listed: list[Any] = list(paths) if isinstance(paths, list | tuple) else [paths]
        found = [path for one in listed for path in _files_of(os.fspath(one))]
        twice = (
            sorted({str(path) for path in found if found.count(path) > 1})
            if len(set(found)) < len(found)
            else []
        )
        if twice:
            raise FrameError("a file is named twice", received=twice, expected="each file once")
        self.files = tuple(_footer(path) for path in found)
        self.rows = sum(file.rows for file in self.files)

    def require(self, columns: Iterable[str]) -> None:
        """Check that every file has these columns.

        Raises:
            FrameError: One lacks some.
        """
        wanted = list(columns)
        for file in self.files:
            absent = [name for name in wanted if name not in file.columns]
            if absent:
                raise FrameError(
                    f"a file of the {self.what} lacks columns",
                    field=absent[0],
                    received=f"{file.path} is missing {absent}, has {sorted(file.columns)}",
                    expected=f"all of {wanted}",
                    hint="Name files of one kind only, rename the columns, or change the schema",
                )

    def fragments(self, rows: int = FRAGMENT_ROWS) -> list[Fragment]:
        """Return all rows as fragments of about ``rows`` rows, in order; a row group is never cut."""
        found = []
        for file in self.files:
            groups: list[int] = []
            first = have = 0
            for group, size in enumerate(file.row_groups):
                if groups and have + size > rows:
                    found.append(Fragment(file, tuple(groups), first, have))
                    groups, first, have = [], first + have, 0
                groups.append(group)
                have += size
            if have:
                found.append(Fragment(file, tuple(groups), first, have))
        return found

    def pieces(self) -> list[list[Fragment]]:
        """Return all rows as lists of fragments, about :data:`PIECES` of them; a row group is never cut."""
        wanted = max(self.rows // PIECES, 1)
        found: list[list[Fragment]] = []
        room = 0
        for fragment in map(placed, self.fragments(wanted)):
            if not found or fragment.rows > room:
                found.append([])
                room = wanted
            found[-1].append(fragment)
            room -= fragment.rows
        return found

    def batches(
        self, columns: Sequence[str], size: int, fragments: Iterable[Fragment] | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in order, at most ``size`` at a time, of some columns.

        Args:
            columns: The columns wanted; nothing else is read.
            size: Most rows of a batch.
            fragments: Which rows. None: all.

        Raises:
            FrameError: A file is damaged, or has changed since this source was made.
        """
        for fragment in self.fragments() if fragments is None else fragments:
            yield from _read(fragment, list(columns), size)


def placed(fragment: Fragment) -> Fragment:
    """Return a fragment whose file is found from any working directory."""
    return replace(fragment, file=replace(fragment.file, path=fragment.file.path.absolute()))


def _is_plain(column: Any) -> bool:
    """Return whether an Arrow array is a NumPy array but for its name: numbers, none of them missing."""
    import pyarrow as pa

    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return bool(number and not column.null_count and hasattr(column, "__dlpack__"))


def _files_of(text: str) -> list[Path]:
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(one for one in path.rglob("*") if one.suffix.lower() in ENDINGS and one.is_file())
        found = [one for one in found if not any(part[0] in "._" for part in one.relative_to(path).parts)]
        expected = f"a folder with files that end in {' or '.join(ENDINGS)}"
    else:
        found = sorted(Path(one) for one in glob.glob(text, recursive=True) if Path(one).is_file())  # noqa: PTH207 - absolute patterns too
        expected = "a file, a folder, or a pattern of existing files"
    if not found:
        raise FrameError("no such file", received=text, expected=expected, hint="Check the path")
    return found


def _footer(path: Path) -> ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            meta = file.metadata
            groups = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FrameError(
            f"two columns of {path} have the same name", received=twice, hint="Rename or drop one"
        )
    return ParquetFile(path, names, groups)


def _read(fragment: Fragment, columns: list[str], size: int) -> Iterator[Batch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, first = fragment.file.path, fragment.first
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            meta = file.metadata
            groups = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
            if groups != fragment.file.row_groups:
                raise FrameError(
                    f"{path} has changed while it was being read",
                    received=f"{sum(groups)} rows in {len(groups)} row groups",
                    expected=f"{fragment.file.rows} rows in {len(fragment.file.row_groups)}",
                    hint="Read files that nobody writes to",
                )
            # By this thread alone: the fragments are what threads share out, and handing columns over to others costs time.
            for table in file.iter_batches(
                size, row_groups=list(fragment.groups), columns=columns, use_threads=False
            ):
                yield Batch(table, fragment.file, first)
                first += table.num_rows
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FrameError:
    return FrameError(
        f"{path} cannot be read",
        received=f"{type(error).__name__}: {' '.join(str(error).split())}",
        expected="a complete Parquet file",
        hint="Check that it was written to the end, or leave it out",
    )
