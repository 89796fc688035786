"""Exposures as a folder of Parquet files, written by any number of threads and processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.experiment.ahead import SUFFIX, TEMPORARY, arrow_table, complete
from nid_plugins.experiment.exposures import COLUMNS, import_arrow
from nid_plugins.experiment.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

OPEN = "_open"
"""Folder of write-ahead files inside a sink's folder; readers of Parquet folders leave out names with ``_``."""


class ParquetSink(Spool):
    """Writes exposures to ``folder/part-*.parquet``; see :class:`~nid_plugins.experiment.spool.Spool` for how.

    Events not moved yet are in ``folder/_open``: :func:`read_exposures` returns both, each event once.

    Args:
        folder: Made if absent.
        rows: Events in a Parquet file.
        seconds: Age at which a file is written with fewer events.
        backlog: Events kept in memory while the disk refuses them.

    Raises:
        SettingError: An option is out of its domain.
        MissingExtraError: PyArrow is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        rows: int = 100_000,
        seconds: float = 300.0,
        backlog: int = 100_000,
    ) -> None:
        self.folder = Path(folder)
        super().__init__(self.folder / OPEN, rows=rows, seconds=seconds, backlog=backlog)

    def __repr__(self) -> str:
        return f"ParquetSink({str(self.folder)!r})"

    def _store(self, key: str, table: pa.Table) -> None:
        from pyarrow import parquet

        final = self.folder / f"part-{key}.parquet"
        if final.exists():  # the process died between the renaming and the removal of the write-ahead file
            return
        temporary = self.folder / OPEN / f"{key}.parquet{TEMPORARY}"
        try:
            with temporary.open("wb") as file:
                parquet.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())  # before the write-ahead file goes
            temporary.rename(final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def read_exposures(folder: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Return all exposures a :class:`ParquetSink` has written to a folder, each once, while it is written to or after.

    Args:
        folder: The sink's folder.
        columns: Columns to return; all by default.

    Returns:
        Arrow table, files in the order they were begun.

    Raises:
        ArtefactError: There is no such folder, or a file in it does not hold exposures.
        SettingError: There is no such column.
        MissingExtraError: PyArrow is not installed.
    """
    pa = import_arrow()
    from pyarrow import parquet

    unknown = sorted(set(columns or ()) - set(COLUMNS))
    if unknown:
        raise SettingError("no such column", received=unknown, expected=f"some of {', '.join(COLUMNS)}")
    wanted = list(columns or COLUMNS)
    home = Path(folder)
    if not home.is_dir():
        raise ArtefactError("no such folder of exposures", received=str(home))
    # Write-ahead files first: one that is moved meanwhile is then found among the Parquet files, by its key.
    ahead = {path.name.removesuffix(SUFFIX): _unmoved(path) for path in (home / OPEN).glob(f"*{SUFFIX}")}
    tables = {}
    for path in home.glob("part-*.parquet"):
        key = path.stem.removeprefix("part-")
        ahead.pop(key, None)
        try:
            tables[key] = parquet.read_table(path, columns=wanted, partitioning=None)
        except (pa.ArrowInvalid, OSError) as error:
            raise ArtefactError(
                "not a Parquet file of exposures", received=f"{path}: {' '.join(str(error).split())}"
            ) from error
    tables |= {key: table.select(wanted) for key, table in ahead.items() if table is not None}
    empty = arrow_table(home, []).select(wanted)
    return pa.concat_tables([empty, *(tables[key] for key in sorted(tables))])


def _unmoved(path: Path) -> pa.Table | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # moved since the folder was listed
        return None
    return complete(data, path)
