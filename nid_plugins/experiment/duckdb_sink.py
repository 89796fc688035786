"""Exposures in a table of a DuckDB file, written by any number of threads and processes.

A DuckDB file has one writing process at a time, and opening it takes several milliseconds: no request may wait for
that. So events are spooled beside it, and loaded in batches by whichever process holds the lock file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import MissingExtraError, SettingError
from nid_plugins.experiment.ahead import try_lock
from nid_plugins.experiment.exposures import COLUMNS
from nid_plugins.experiment.spool import Spool

if TYPE_CHECKING:
    import pyarrow as pa

_PAUSE = 0.02  # seconds between two attempts to open the file


class DuckDBSink(Spool):
    """Writes exposures to a table of a DuckDB file; see :class:`~nid_plugins.experiment.spool.Spool` for how.

    Events not loaded yet are in ``PATH.spool/TABLE``; :meth:`~nid_plugins.experiment.spool.Spool.flush` loads them. While another process has the file open for
    writing they stay there. Which spooled files have been loaded is kept in the table ``TABLE_files``, in the same
    transaction as their events: none is loaded twice.

    Args:
        path: The file; made if absent.
        table: The table; made if absent.
        rows: Events to load at once.
        seconds: Age at which fewer are loaded.
        backlog: Events kept in memory while the disk refuses them.
        wait: Seconds to wait for other processes to close the file.

    Raises:
        SettingError: An option is out of its domain, or the table's name is not an identifier.
        MissingExtraError: DuckDB or PyArrow is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str = "exposures",
        *,
        rows: int = 50_000,
        seconds: float = 30.0,
        backlog: int = 100_000,
        wait: float = 10.0,
    ) -> None:
        if not isinstance(table, str) or not table.isidentifier() or not table.isascii():
            raise SettingError(
                "not the name of a table",
                received=repr(table),
                expected="letters, digits and _, e.g. exposures",
            )
        self.path = Path(path)
        self.table = table
        self._duckdb = _import_duckdb()
        self._wait = wait
        spool = self.path.with_name(f"{self.path.name}.spool") / table
        super().__init__(spool, rows=rows, seconds=seconds, backlog=backlog)

    def __repr__(self) -> str:
        return f"DuckDBSink({str(self.path)!r}, {self.table!r})"

    def _store(self, key: str, table: pa.Table) -> None:
        deadline = time.monotonic() + self._wait
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            while not try_lock(lock):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.path}.lock is held by another process")
                time.sleep(_PAUSE)
            connection = self._open(deadline)
            try:
                self._load(connection, key, table)
            finally:
                connection.close()
        finally:
            os.close(lock)

    def _open(self, deadline: float) -> Any:
        if not self.path.exists():
            self._create()
        while True:
            try:
                return self._duckdb.connect(str(self.path))
            except self._duckdb.IOException:  # somebody reads the file, or writes to it without us
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def _create(self) -> None:
        # DuckDB writes the headers of a new file one after the other, and cannot read a file that has only some of them:
        # a process killed between two would leave a database that nobody can open again. So it comes into its place whole.
        new = self.path.with_name(f"{self.path.name}.new")  # only who holds the lock is here
        new.unlink(missing_ok=True)
        self._duckdb.connect(str(new)).close()
        try:
            os.link(new, self.path)
        except FileExistsError:  # somebody without our lock was faster
            new.unlink()
        except OSError:  # a file system without links
            new.rename(self.path)
        else:
            new.unlink()

    def _load(self, connection: Any, key: str, table: pa.Table) -> None:
        # Names are identifiers, checked above; DuckDB takes no parameters in their place.
        connection.execute("BEGIN")
        connection.execute(f'CREATE TABLE IF NOT EXISTS "{self.table}" ({_COLUMNS})')
        connection.execute(f'CREATE TABLE IF NOT EXISTS "{self.table}_files" (file VARCHAR PRIMARY KEY)')
        known = connection.execute(f'SELECT 1 FROM "{self.table}_files" WHERE file = ?', [key]).fetchone()  # noqa: S608
        if known is None:
            connection.register("spooled", table)
            names = ", ".join(f'"{name}"' for name in COLUMNS)
            connection.execute(f'INSERT INTO "{self.table}" ({names}) SELECT {names} FROM spooled')  # noqa: S608
            connection.execute(f'INSERT INTO "{self.table}_files" VALUES (?)', [key])  # noqa: S608
        connection.execute("COMMIT")


_TYPES = {
    "fallback": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "latency_ms": "FLOAT",
    "prediction": "DOUBLE",
    "covariate": "DOUBLE",
}
_COLUMNS = ", ".join(f'"{name}" {_TYPES.get(name, "VARCHAR")}' for name in COLUMNS)


def _import_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            "DuckDB is not installed", received=str(error), hint="pip install 'nid-plugins[ab]'"
        ) from error
    return duckdb
