"""Logs wherever they lie, as Ibis tables: files, DuckDB tables, frames, or tables of a warehouse.

Everything after this module is one path of Ibis expressions: it runs in DuckDB for files and frames, and where the data is
for Ibis tables.
"""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from nid_plugins.errors import FrameError, MissingExtraError, NidError, SettingError
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".duckdb", ".ddb", ".db")
"""Endings of DuckDB's files."""


def import_ibis() -> Any:
    """Return the module ``ibis``.

    Raises:
        MissingExtraError: It or DuckDB is not installed.
    """
    try:
        import duckdb  # noqa: F401 - the engine for files and frames
        import ibis
        import ibis.backends.duckdb
        import ibis.formats.pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "reading logs needs Ibis and DuckDB", received=str(error), hint="pip install 'nid-plugins[ab]'"
        ) from error
    return ibis


def is_ibis_table(value: object) -> bool:
    """Return whether something is an Ibis table, without importing Ibis."""
    return any(
        f"{cls.__module__}.{cls.__qualname__}".startswith("ibis.expr.types.") for cls in type(value).__mro__
    )


class Warehouse:
    """Where the expressions run: the backend of the Ibis tables given, else a DuckDB of our own in memory.

    Args:
        *values: Everything that will be read; Ibis tables among it decide.

    Raises:
        MissingExtraError: Ibis or DuckDB is not installed.
        SettingError: Ibis tables of two backends.
    """

    def __init__(self, *values: Any) -> None:
        self.ibis = import_ibis()
        backends = [value.get_backend() for value in values if _has_backend(value)]
        if any(backend is not backends[0] for backend in backends):
            raise SettingError(
                "Ibis tables of two connections",
                received=", ".join(sorted({backend.name for backend in backends})),
                expected="tables of one connection",
                hint="Get both from the same connection, or copy the smaller one over",
            )
        self.own = not backends
        self.backend = self.ibis.duckdb.connect() if self.own else backends[0]
        if self.own:
            self.backend.raw_sql("SET TimeZone = 'UTC'")
        self._attached = self._kept = 0
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.own:
            self.backend.disconnect()
        whose = type(error).__module__.partition(".")[0]
        if isinstance(error, Exception) and whose in {"ibis", "duckdb", "_duckdb", "pyarrow", "sqlglot"}:
            raise FrameError(
                "the database cannot compute what the analysis needs",
                received=one_line(error)[:400],
                hint=None if self.own else "Give it as files or frames; DuckDB then does the work",
            ) from error

    def keep(self, table: Any) -> Any:
        """Return a table computed once, in our own DuckDB; others' warehouses are only read."""
        if not self.own:
            return table
        self._kept += 1
        return self.backend.create_table(f"nid_kept_{self._kept}", table, temp=True)

    def table(self, value: Any, what: str) -> Any:
        """Return anything that holds a log as an Ibis table.

        Args:
            value: A path (a Parquet file, a folder of such, a glob, ``path::table`` of a DuckDB file), a frame, or an Ibis
                table.
            what: What it is, for errors: ``"exposures"``.

        Raises:
            FrameError: There is nothing to read, or it cannot be read.
            SettingError: Not a table at all.
        """
        if is_ibis_table(value):
            return value
        try:
            if isinstance(value, str | os.PathLike):
                return self._file(os.fspath(value), what)
            return self._register(arrow_of(value, what))
        except NidError:
            raise
        except Exception as error:  # of DuckDB, Arrow or Ibis: which differ by version
            raise FrameError(f"the {what} cannot be read", received=one_line(error)[:400]) from error

    def _register(self, table: pa.Table) -> Any:
        return self.ibis.memtable(table)

    def _file(self, path: str | bytes, what: str) -> Any:
        if isinstance(path, bytes):
            raise SettingError(f"not a path of the {what}", received=repr(path), expected="text")
        place, separator, name = path.rpartition("::")
        if separator:
            return self._database(place, name, what)
        if path.lower().endswith(ENDINGS):
            raise SettingError(
                f"a DuckDB file of the {what} without a table",
                received=path,
                expected=f"{path}::TABLE",
                hint="Say which table of the file",
            )
        folder = pathlib.Path(path)
        if folder.is_dir():
            if (folder / "_open").is_dir():  # of a sink that was at work: some of it is not Parquet yet
                from nid_plugins.experiment import read_exposures

                return self._register(read_exposures(folder))
            path = str(pathlib.Path(glob.escape(path)) / "**" / "*.parquet")
        pattern = glob.has_magic(path) and not pathlib.Path(path).is_file()
        # A glob of the user's own, which pathlib takes in parts only.
        files = sorted(glob.glob(path, recursive=True)) if pattern else [path]  # noqa: PTH207
        files = [file for file in files if pathlib.Path(file).is_file()]
        if not files:
            raise FrameError(
                f"there are no {what}",
                received=path,
                expected="a Parquet file, a folder or glob of such, or file.duckdb::table",
            )
        _check_parquet(files, what)
        if not self.own:
            import pyarrow.dataset

            return self._register(pyarrow.dataset.dataset(files, format="parquet").to_table())
        # Older files may lack a column that was added later; its values are missing there, and counted.
        return self.backend.read_parquet(files, union_by_name=True)

    def _database(self, place: str, name: str, what: str) -> Any:
        if not pathlib.Path(place).is_file():
            spooled = pathlib.Path(f"{place}.spool").is_dir()
            raise FrameError(
                f"there is no DuckDB file of the {what}",
                received=place,
                hint="A sink's spool is beside it, not loaded yet: flush the sink, or wait for it"
                if spooled
                else None,
            )
        self._note_spool(place, name, what)
        schema, _, table = name.rpartition(".")
        if not self.own:
            with self.ibis.duckdb.connect(place, read_only=True) as other:
                return self._register(other.table(table, database=schema or None).to_pyarrow())
        self._attached += 1
        catalogue = f"nid_{self._attached}"
        quoted = place.replace("'", "''")
        self.backend.raw_sql(f"ATTACH '{quoted}' AS {catalogue} (READ_ONLY)")
        schema = schema or "main"
        # Asked in SQL: Ibis' own listing goes by methods that newer releases of DuckDB lack.
        rows = self.backend.con.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?",
            [catalogue, schema],
        )
        known = {row[0] for row in rows.fetchall()}
        if table not in known:
            raise FrameError(
                f"there is no such table of the {what}",
                field=name,
                received=place,
                expected=f"one of {sorted(known)}",
            )
        return self.backend.table(table, database=(catalogue, schema))

    def _note_spool(self, place: str, name: str, what: str) -> None:
        """Note what a sink has put beside its file and not loaded yet."""
        waiting = [
            path for path in pathlib.Path(f"{place}.spool", name).glob("*.arrow") if path.stat().st_size
        ]
        if waiting:
            self.notes.append(
                f"{len(waiting)} spooled file(s) of {what} beside {place} are not in the table yet; flush or recover the sink."
            )


def _check_parquet(files: list[str], what: str) -> None:
    for file in files:
        if file.lower().endswith((".csv", ".tsv", ".txt", ".json", ".jsonl", ".gz")):
            raise FrameError(
                f"the {what} are in a file that is not Parquet",
                received=file,
                expected="a Parquet file, a folder or glob of such, or file.duckdb::table",
                hint="Read it as a frame, with ids as text, e.g. pandas.read_csv(file, dtype={'unit': str}), and save it as Parquet",
            )


def _has_backend(value: object) -> bool:
    if not is_ibis_table(value):
        return False
    backends, _ = value._find_backends()  # type: ignore[attr-defined]  # noqa: SLF001 - a table in memory has none
    return bool(backends)


def arrow_of(frame: Any, what: str) -> pa.Table:
    """Return a frame as an Arrow table, with names as text and categories as what they stand for.

    Args:
        frame: Mapping of name to 1-D array, or any table narwhals reads; lazy ones are collected.
        what: What it is, for errors.

    Raises:
        FrameError: Not a frame, two columns of a name, a column Arrow has no type for, columns of different lengths.
    """
    import narwhals.stable.v1 as nw
    import pyarrow as pa

    if isinstance(frame, Mapping):
        columns = dict(frame)
    else:
        try:
            table = nw.from_native(frame)
        except TypeError:
            raise FrameError(
                f"the {what} are not a table",
                received=type(frame).__name__,
                expected="a path, a frame, or an Ibis table",
            ) from None
        eager = table.collect() if isinstance(table, nw.LazyFrame) else table
        columns = {name: _series(eager.get_column(name)) for name in eager.columns}
    if len({str(name) for name in columns}) < len(columns):
        raise FrameError(f"the {what} have two columns of one name", received=[repr(n) for n in columns])
    arrays = {str(name): _array(str(name), values, what) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise FrameError(f"the columns of the {what} differ in length", received=lengths)
    return pa.table(arrays)


def _series(series: Any) -> Any:
    native = series.to_native()
    # pandas' NaN means missing, which only pandas' own conversion knows.
    return native if type(native).__module__.startswith("pandas") else series.to_arrow()


def _array(name: str, values: Any, what: str) -> Any:
    import pyarrow as pa

    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        array = (
            values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, from_pandas=True)
        )
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FrameError(
            f"a column of the {what} has values of several kinds, or of one no table holds",
            field=name,
            received=one_line(error)[:300],
            expected="text, numbers, booleans or times, one kind a column",
        ) from error
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return array
