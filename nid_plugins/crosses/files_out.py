"""Cross ids of Parquet files, written as Parquet part by part: all of it or nothing, and going on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops
from nid_plugins.crosses.columns import BatchColumns
from nid_plugins.crosses.compiled import CompiledCrosses, ids_of_rows, member_fields
from nid_plugins.crosses.frame_source import BLOCK, block_of
from nid_plugins.crosses.out_of_core import memory_of
from nid_plugins.crosses.passes import batch_rows
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.crosses.sources import ParquetSource, placed
from nid_plugins.crosses.spread import PartWriter, remote_executor
from nid_plugins.crosses.threads import in_threads, thread_count, threads_for
from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.paths import as_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.sources import Batch, Fragment
    from nid_plugins.detection.executors import Executor

MANIFEST = "_manifest.json"
_ROW_GROUP = 2**20


def writing(kept: Sequence[str], ids: Sequence[str]) -> dict[str, Any]:
    """Return how columns are written, as pyarrow takes it.

    Cross ids are small numbers in no order. Packed into as many bits as they need they are written in less than half the
    time of a dictionary and its compression, and read in half; every reader of Parquet knows the encoding.

    Args:
        kept: Paths of columns of any kind.
        ids: Columns of cross ids.
    """
    return {
        "use_dictionary": list(kept),
        "column_encoding": dict.fromkeys(ids, "DELTA_BINARY_PACKED"),
        "compression": dict.fromkeys(kept, "zstd") | dict.fromkeys(ids, "none"),
        "compression_level": dict.fromkeys(kept, 1) or None,
        "write_statistics": list(kept),
    }


def transform_files(
    crosses: CrossFeatures,
    paths: Any,
    out: str | Path,
    *,
    keep: str | Iterable[str],
    memory: int | str,
    executor: str | Executor | None = None,
    threads: int | None = None,
) -> Path:
    """Write the cross ids of files; see :meth:`nid_plugins.CrossFeatures.transform`.

    Raises:
        ArtefactError: The folder is there already and not empty, or cannot be written.
        FrameError: A file cannot be read or does not fit the schema.
        MissingExtraError: pyarrow is not installed.
        SettingError: An option is not usable.
    """
    size, most = memory_of(memory), thread_count(threads)
    out = as_path(out, "a folder")
    source = ParquetSource(paths)
    _check_place(out, paths)
    spread = remote_executor(executor)
    source.require(member_fields(crosses))
    kept = _kept(keep, source, crosses)
    fragments = source.fragments()
    manifest = _manifest(crosses, source, fragments, kept)
    try:
        working = _working_folder(out, manifest)
        parts = list(enumerate(map(placed, fragments) if fragments else [None]))
        most = min(most, len(parts), threads_for(source.rows, most)) if spread is None else 1
        writer = PartWriter(crosses, source, working.absolute(), kept, size // most, most)
        for _ in in_threads(writer, parts, most) if spread is None else spread.map(writer, parts):
            pass
        for left in working.glob(".part-*.tmp"):  # of workers that were killed
            left.unlink()
        working.replace(out)
    except OSError as error:
        raise _not_written(out, error) from error
    return out


def _paths(schema: Any) -> list[str]:
    """Return the paths of columns as Parquet has them: a nested column has several."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(i).path for i in range(len(columns))]


def part_name(number: int) -> str:
    """Return the name of a part."""
    return f"part-{number:05d}.parquet"


def write_part(
    crosses: CrossFeatures,
    compiled: CompiledCrosses,
    source: ParquetSource,
    fragment: Fragment | None,
    target: Path,
    *,
    kept: Sequence[str],
    memory: int,
    block: int = BLOCK,
) -> None:
    """Write the cross ids of a fragment to a file, which is there when it is complete and not before.

    Args:
        crosses: The crosses.
        compiled: Made of them.
        source: Where the fragment is from.
        fragment: The rows. None: no rows.
        target: The file.
        kept: Columns of the source to write before the ids.
        memory: Bytes for rows on their way.
        block: Rows to work on at a time.

    Raises:
        ArtefactError: The file cannot be written.
        FrameError: The rows cannot be read or do not fit the schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(dict.fromkeys([*compiled.fields, *kept]))
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    size = batch_rows(memory // 4, len(columns) + len(crosses))
    fields = [pa.field(name, pa.int32(), nullable=False) for name in crosses.names]
    rows = 0 if fragment is None else fragment.rows
    # One array for all row groups of the part: for fresh memory the system would take longer than the ids do.
    room = min(max(min(_ROW_GROUP, memory // (16 * len(crosses))), size), rows)
    ids, scratch, filled = np.empty((len(crosses), room), dtype=np.int32), Scratch(), 0
    others: list[Any] = []
    writer: pq.ParquetWriter | None = None

    def flush() -> None:
        if writer is not None and filled:
            own = [pa.chunked_array([batch.column(name) for batch in others]) for name in kept]
            arrays = [*own, *(pa.array(one[:filled]) for one in ids)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=writer.schema), row_group_size=filled)
            others.clear()

    try:
        try:
            batches = iter(()) if fragment is None else source.batches(columns, size, [fragment])
            for batch in batches:
                if writer is None:
                    own = [batch.table.schema.field(name) for name in kept]
                    schema = pa.schema([*own, *fields])
                    paths = _paths(pa.schema(own))
                    writer = pq.ParquetWriter(temporary, schema, **writing(paths, crosses.names))
                if filled + len(batch) > room or sum(one.nbytes for one in others) > memory // 4:
                    flush()
                    filled = 0
                _fill(ids[:, filled : filled + len(batch)], batch.blocks(block), crosses, compiled, scratch)
                others.append(batch.table.select(list(kept)))
                filled += len(batch)
            if writer is None:
                writer = pq.ParquetWriter(temporary, pa.schema(fields), **writing((), crosses.names))
            flush()
        finally:
            if writer is not None:
                writer.close()
        temporary.replace(target)
    except (OSError, pa.ArrowException) as error:
        raise _not_written(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _fill(
    ids: npt.NDArray[np.int32],
    blocks: Iterable[Batch],
    crosses: CrossFeatures,
    compiled: CompiledCrosses,
    scratch: Scratch,
) -> None:
    """Write the cross ids of the blocks of a batch into an array of shape (K, n)."""
    start = 0
    for block in blocks:
        columns = BatchColumns(
            block,
            crosses.schema,
            known_only=False,
            bins=compiled.bins,
            members=compiled.members,
            scratch=scratch,
        )
        compiled.ids(columns, ids[:, start : start + len(block)])
        start += len(block)


def ids_of_files(
    crosses: CrossFeatures, paths: Any, memory: int | str, threads: int | None = None
) -> npt.NDArray[np.int32]:
    """Return the cross ids of files, shape (n, K): these must fit into memory, the files need not.

    Raises:
        FrameError: A file cannot be read or does not fit the schema.
        MissingExtraError: pyarrow is not installed.
        SettingError: An option is not usable.
    """
    size, most = memory_of(memory), thread_count(threads)
    source = ParquetSource(paths)
    loops.for_rows(source.rows)
    compiled = CompiledCrosses(crosses, size)
    source.require(compiled.fields)
    out = np.empty((source.rows, len(crosses)), dtype=np.int32)
    pieces = source.pieces()
    stops = np.cumsum([sum(fragment.rows for fragment in piece) for piece in pieces])
    most = min(most, threads_for(source.rows, most))
    rows = batch_rows(size // 2 // most, len(compiled.fields) + len(crosses))

    def work(placed_piece: tuple[int, list[Fragment]]) -> None:
        stop, piece = placed_piece
        own = out[stop - sum(fragment.rows for fragment in piece) : stop]
        batches = source.batches(compiled.fields, rows, piece)
        blocks = (block for batch in batches for block in batch.blocks(block_of(most)))
        ids_of_rows(compiled, blocks, crosses.schema, own, Scratch(), check=True)

    for _ in in_threads(work, list(zip(stops.tolist(), pieces, strict=True)), most):
        pass
    return out


def coverage_of_files(crosses: CrossFeatures, paths: Any, memory: int | str) -> npt.NDArray[np.float64]:
    """Return the share of rows in files that have an id other than 0, shape (K,); see :func:`ids_of_files`."""
    size = memory_of(memory)
    source = ParquetSource(paths)
    loops.for_rows(source.rows)
    compiled = CompiledCrosses(crosses, size)
    source.require(compiled.fields)
    rows = batch_rows(size // 2, len(compiled.fields) + len(crosses))
    covered, scratch = np.zeros(len(crosses), dtype=np.int64), Scratch()
    ids = np.empty((len(crosses), rows), dtype=np.int32)
    for batch in source.batches(compiled.fields, rows):
        own = ids[:, : len(batch)]
        _fill(own, batch.blocks(BLOCK), crosses, compiled, scratch)
        covered += np.count_nonzero(own, axis=1)
    return covered / max(source.rows, 1)


def _kept(keep: str | Iterable[str], source: ParquetSource, crosses: CrossFeatures) -> tuple[str, ...]:
    if isinstance(keep, str):
        names = list(source.files[0].columns) if keep == "all" else [keep]
    elif hasattr(keep, "__iter__"):
        names = list(dict.fromkeys(keep))
    else:
        raise SettingError("not names of columns", received=repr(keep), expected='names, or "all"')
    for name in names:
        if not isinstance(name, str):
            raise SettingError("not the name of a column", received=repr(name), expected="text")
        if name in crosses.names:
            raise SettingError(
                "a column to keep is named like a cross",
                field=name,
                received=f"keep={list(names)}",
                hint="Leave it out of keep=, or rename it",
            )
    source.require(names)
    return tuple(names)


def _check_place(out: Path, paths: Any) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtefactError(
            "there is something at this place already",
            received=str(out),
            expected="a folder that does not exist, or an empty one",
            hint="Name another folder, or remove this one first",
        )
    for path in paths if isinstance(paths, list | tuple) else [paths]:
        if Path(path).is_dir() and out.resolve().is_relative_to(Path(path).resolve()):
            raise SettingError(
                "the output would become input",
                received=f"out={str(out)!r} in {str(path)!r}",
                expected="a folder beside the input",
            )


def _manifest(
    crosses: CrossFeatures, source: ParquetSource, fragments: list[Fragment], kept: tuple[str, ...]
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for cross in crosses.crosses:
        digest.update(repr((cross.name, cross.fields, cross.sizes)).encode() + cross.keys.tobytes())
    for name, edges in crosses.edges.items():
        digest.update(name.encode() + edges.tobytes())
    files = []
    for file in source.files:
        state = file.path.stat()
        files.append([str(file.path.resolve()), state.st_size, state.st_mtime_ns])
    return {
        "format": "nid-plugins cross ids",
        "crosses": list(crosses.names),
        "sha256": digest.hexdigest(),
        "kept": list(kept),
        "files": files,
        "parts": [
            [str(part.file.path.resolve()), part.groups[0], part.groups[-1], part.rows] for part in fragments
        ],
    }


def _working_folder(out: Path, manifest: dict[str, Any]) -> Path:
    """Return the folder for parts, with those of an attempt at the same that was cut off."""
    working = out.with_name(f".{out.name}.partial")
    note = working / MANIFEST
    if working.exists():
        try:
            begun = json.loads(note.read_text("utf-8"))
        except (OSError, ValueError):
            begun = None
        if begun == manifest:
            return working
        if any(working.iterdir()) and begun is None:
            raise ArtefactError(
                "a folder is in the way",
                received=str(working),
                expected=f"parts that an earlier call left, with a {MANIFEST}",
                hint="Remove it, or name another folder",
            )
        shutil.rmtree(working)
    working.mkdir(parents=True)
    temporary = working / f".{MANIFEST}.tmp"
    temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(note)
    return working


def _not_written(place: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        "cannot write the cross ids",
        received=f"{place}: {type(error).__name__}: {' '.join(str(error).split())}",
        expected="a place that can be written, with room",
        hint="The same call goes on after the parts that are complete",
    )
