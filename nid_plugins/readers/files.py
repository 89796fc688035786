"""Tables from files: CSV, TSV, Parquet and Feather, told apart by their ending.

pandas fills up a short line and reads an overlong first one as an index. A click log with such a line is damaged, so
the width of every line is checked first.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import importlib.util
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

from nid_plugins.errors import FrameError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_BINARY = {
    ".parquet": "read_parquet",
    ".pq": "read_parquet",
    ".feather": "read_feather",
    ".arrow": "read_feather",
}


def read_table(path: str | Path, *, rows: int | None = None) -> pd.DataFrame:
    """Read a table whose columns have types: numbers are numbers, an empty cell is missing.

    Args:
        path: File ending in .csv, .tsv, .txt (tabs; each may have .gz added), .parquet, .pq, .feather or .arrow.
        rows: Read only the first so many rows.

    Raises:
        FrameError: No such file, unknown ending, damaged, no rows, a name used twice, or a line of another width than
            the header.
        MissingExtraError: Parquet or Feather without pyarrow.
    """
    path = _existing(path)
    ending = _ending(path)
    if ending in DELIMITERS:
        _check_names(path, check_widths(path, DELIMITERS[ending]))
        with _damage(path):
            table = pd.read_csv(path, sep=DELIMITERS[ending], nrows=rows)
    else:
        table = _read_binary(path, ending, rows)
    return _not_empty(table, path)


def read_raw(
    path: str | Path, *, names: Sequence[str] | None = None, rows: int | None = None
) -> pd.DataFrame:
    """Read a table of text as it stands: categories stay as they are spelt, an empty cell is missing.

    Parquet and Feather files keep their types.

    Args:
        path: See :func:`read_table`.
        names: Column names of a file that may lack a header line; a first line that is exactly these names is one.
        rows: Read only the first so many rows.

    Raises:
        FrameError: As for :func:`read_table`.
        MissingExtraError: Parquet or Feather without pyarrow.
    """
    path = _existing(path)
    ending = _ending(path)
    if ending not in DELIMITERS:
        return _not_empty(_read_binary(path, ending, rows), path)
    first = check_widths(path, DELIMITERS[ending], None if names is None else len(names))
    header: int | None = 0
    if names is None:
        _check_names(path, first)
    if names is not None and [name.lower() for name in first] != [name.lower() for name in names]:
        header = None
    with _damage(path):
        table = pd.read_csv(
            path,
            sep=DELIMITERS[ending],
            header=header,
            names=None if names is None else list(names),
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            nrows=rows,
        )
    return _not_empty(table, path)


def check_widths(path: Path, delimiter: str, width: int | None = None) -> list[str]:
    """Check that all lines of a text file have the same number of columns.

    Args:
        path: The file, gzipped if its name ends in .gz.
        delimiter: What separates columns.
        width: Columns wanted; those of the first line by default.

    Returns:
        The cells of the first line.

    Raises:
        FrameError: Lines of different widths, an empty or damaged file.
    """
    with _damage(path), _open(path) as text:
        lines = _cells(text, delimiter)
        number, count, line = next(lines, (0, 0, ""))
        if not number:
            raise FrameError(f"{path} is empty", received="0 lines", expected="a header line and rows")
        first = next(csv.reader([line], delimiter=delimiter))
        width = count if width is None else width
        while count == width:
            number, count, line = next(lines, (0, 0, ""))
            if not number:
                return first
    raise FrameError(
        f"line {number} of {path} has the wrong number of columns",
        received=f"{count} columns",
        expected=f"{width} columns separated by {'tabs' if delimiter == chr(9) else repr(delimiter)}",
        hint="Check the file's ending (.csv: commas, .tsv: tabs) and that line",
    )


def _check_names(path: Path, names: Sequence[str]) -> None:
    # pandas would rename the second one, and a second column of labels would become a feature.
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FrameError(
            f"two columns of {path} have the same name", received=twice, hint="Rename or drop one"
        )


def _cells(text: IO[str], delimiter: str) -> Iterator[tuple[int, int, str]]:
    # Counting delimiters is ten times faster than parsing; a quote may hide one, or a line break, so then parse.
    for number, line in enumerate(text, 1):
        if '"' in line:
            rest = csv.reader(_chained(line, text), delimiter=delimiter)
            for cells in rest:
                if cells:
                    yield number + rest.line_num - 1, len(cells), line
            return
        if line.strip("\r\n"):
            yield number, line.count(delimiter) + 1, line


def _chained(line: str, text: IO[str]) -> Iterator[str]:
    yield line
    yield from text


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except FrameError:
        raise
    except pd.errors.EmptyDataError:
        raise FrameError(f"{path} is empty", received="0 lines", expected="a header line and rows") from None
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:  # UnicodeError is a ValueError
        raise FrameError(
            f"{path} cannot be read",
            received=f"{type(error).__name__}: {error}",
            hint="Check that it is complete and in the format its ending says",
        ) from error


def _read_binary(path: Path, ending: str, rows: int | None) -> pd.DataFrame:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError(
            f"reading {path.name} needs pyarrow", hint="pip install 'nid-plugins[parquet]'"
        )
    with _damage(path):
        reader: Any = getattr(pd, _BINARY[ending])
        table: pd.DataFrame = reader(path)
    return table if rows is None else table.head(rows)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FrameError("no such file", received=str(path), hint="Check the path")
    return path


def _ending(path: Path) -> str:
    ending = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if ending not in DELIMITERS and (ending not in _BINARY or path.suffix == ".gz"):
        raise FrameError(
            "unknown kind of file",
            received=path.name,
            expected=f"an ending out of {', '.join(DELIMITERS)} (also with .gz), {', '.join(_BINARY)}",
            hint="Rename the file",
        )
    return ending


def _not_empty(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if not len(table):
        raise FrameError(f"{path} has no rows", received="0 rows", expected="at least one row")
    return table
