"""Fitting crosses on rows that come in batches, of Parquet files of any size or of a frame, in bounded memory.

Three or more passes, each over the columns it needs. First the frequent ids of sparse fields and the leading digits of
dense values are counted; then, where needed, what is left of those; last the combinations of all crosses at once, by the
codes of their members. A combination cannot be more frequent than one of its members, so that rare ids need no code
(Agrawal and Srikant, "Fast algorithms for mining association rules", VLDB 1994): what is counted is small however large the
cardinalities are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.crosses import loops
from nid_plugins.crosses.bins import FastBins, edges_of_sorted, sorted_values
from nid_plugins.crosses.columns import BatchColumns
from nid_plugins.crosses.compact import CrossCode, MemberCodes, table_room, with_tables
from nid_plugins.crosses.counting import DirectCounter, FilteredCounter, SortedCounter
from nid_plugins.crosses.frame_source import SHARED_BLOCK
from nid_plugins.crosses.keys import is_exact
from nid_plugins.crosses.passes import CrossTask, EdgesTask, FieldTask, counters, is_dense, run
from nid_plugins.crosses.radix import QuantileCounter
from nid_plugins.crosses.ranking import cross_name
from nid_plugins.crosses.sources import ParquetSource
from nid_plugins.crosses.spread import remote_executor
from nid_plugins.crosses.threads import in_threads, thread_count, threads_for
from nid_plugins.crosses.vocabulary import Cross, check_min_count
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.schema import SparseField
from nid_plugins.sizes import byte_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.crosses.frame_source import FrameSource
    from nid_plugins.crosses.passes import FieldCounter, Source, Task
    from nid_plugins.detection.executors import Executor
    from nid_plugins.schema import FeatureSchema

DEFAULT_MEMORY = "2GB"
SMALLEST_MEMORY = 2**20
_SMALL_SPACE = 2**16


def memory_of(memory: Any) -> int:
    """Return a memory budget in bytes.

    Raises:
        SettingError: Not an amount of memory, or less than :data:`SMALLEST_MEMORY`.
    """
    size = byte_count(memory)
    if size < SMALLEST_MEMORY:
        raise SettingError(
            "too little memory",
            received=repr(memory),
            expected=f"at least {SMALLEST_MEMORY} bytes (1 MiB)",
            hint="Write the unit too: memory='2GB'",
        )
    return size


class Fit:
    """The state of a fit: what is known of fields, and how crosses are counted.

    Args:
        source: The rows.
        schema: The fields.
        bins: Most bins of a dense field.
        min_count: See :func:`~nid_plugins.crosses.vocabulary.check_min_count`.
        memory: Bytes for batches and counters; what Python, Arrow and the result take is beside it.
        executor: Whose workers count, with as much memory each; None or one without workers: this process.
        threads: Threads of this process, at most. None: one a core. Counters of all of them fit into the memory.

    Attributes:
        threshold: What a combination's count must exceed.
        edges: Bin edges of the dense fields counted so far.
        passes: Passes made over the rows, each of some columns.
        filters: The counters that did not fit into memory as an array, of fields and crosses, by name or members.

    Raises:
        SettingError: ``min_count``, ``memory`` or ``threads`` is not usable.
    """

    def __init__(
        self,
        source: Source,
        schema: FeatureSchema,
        *,
        bins: int,
        min_count: float | None,
        memory: int | str,
        executor: str | Executor | None = None,
        threads: int | None = None,
    ) -> None:
        size = memory_of(memory)
        self._executor = remote_executor(executor)
        self._threads = thread_count(threads)
        self._batch, self._counting = size // 4, size * 3 // 4
        self._tables = table_room(size)
        self._source = source
        loops.for_rows(source.rows)
        self._schema = schema
        self._bins = bins
        self.threshold = check_min_count(min_count, self._source.rows)
        self.edges: dict[str, npt.NDArray[np.float32]] = {}
        self.passes = 0
        self.filters: dict[str, FilteredCounter] = {}
        self._fast: dict[str, FastBins] = {}
        self._members: dict[str, MemberCodes] = {}

    def crosses(self, ranked: list[tuple[str, ...]], wanted: int) -> tuple[list[Cross], list[str]]:
        """Return the first ``wanted`` crosses that have a frequent combination, and the names of those that have none.

        Raises:
            FrameError: A file is damaged, lacks a column, or does not fit the schema.

        Warns:
            NidWarning: A dense field is constant or always missing.
        """
        made: list[Cross] = []
        rare: list[str] = []
        taken = set(self._schema.names)
        waiting = list(ranked)
        while waiting and len(made) < wanted:
            batch, waiting = waiting[: wanted - len(made)], waiting[wanted - len(made) :]
            for fields, keys in zip(batch, self._count(batch), strict=True):
                name = cross_name(fields, taken)
                if not len(keys):
                    rare.append(name)
                    continue
                taken.add(name)
                sizes = self._sizes(fields)
                made.append(Cross(name, fields, sizes, is_exact(sizes), keys))
        return made, rare

    def _sizes(self, fields: tuple[str, ...]) -> tuple[int, ...]:
        found = []
        for name in fields:
            field = self._schema[name]
            found.append(field.cardinality if isinstance(field, SparseField) else len(self.edges[name]) + 1)
        return tuple(found)

    def _note(self, named: Iterable[tuple[str, object]]) -> None:
        self.filters |= {name: counter for name, counter in named if isinstance(counter, FilteredCounter)}

    def _passed(self) -> None:
        self.passes += 1

    def _count(self, sets: list[tuple[str, ...]]) -> list[npt.NDArray[np.int64]]:
        """Return the keys of the frequent combinations of each set of fields, in one pass where memory allows."""
        self._count_fields(list(dict.fromkeys(name for fields in sets for name in fields)))
        codes = [CrossCode(fields, self._sizes(fields), self._members) for fields in sets]
        spaces = [code.space if code.radix else None for code in codes]
        tasks = [
            CrossTask(code, counter)
            for code, counter in zip(
                codes,
                counters(spaces, self._counting, self.threshold, self._source.rows),
                strict=True,
            )
        ]
        self._note([(" x ".join(task.columns), task.counter) for task in tasks])
        self._run(tasks, bins=self._fast, members=self._members)
        return [task.keys() for task in tasks]

    def _run(self, tasks: Sequence[Task], **known: Any) -> None:
        """Pass over the rows until all tasks are done, with what is known of the fields already."""
        run(
            tasks,
            self._source,
            self._schema,
            self._batch,
            room=self._counting,
            threads=self._threads,
            passed=self._passed,
            executor=self._executor,
            **known,
        )

    def _count_fields(self, names: list[str]) -> None:
        """Find the frequent ids of sparse fields and the edges of dense ones."""
        names = [name for name in names if name not in self._members]
        if not names:
            return
        self._source.require(names)
        sparse = [name for name in names if not is_dense(self._schema, name)]
        dense = [name for name in names if is_dense(self._schema, name)]
        share = self._counting * len(dense) // len(names)
        edge_tasks = self._edge_tasks(dense, share) if dense else []
        counted = self._field_counters(sparse, self._counting - share)
        field_tasks = [FieldTask(name, counter) for name, counter in zip(sparse, counted, strict=True)]
        self._note([(task.columns[0], task.counter) for task in field_tasks])
        self._run_fields([*field_tasks, *edge_tasks])
        for edge_task in edge_tasks:
            (name,) = edge_task.columns
            self.edges[name] = edge_task.counter.edges(name)
        for name in dense:
            self._fast[name] = FastBins(self.edges[name])
            self._members[name] = MemberCodes(len(self.edges[name]) + 1)
        sizes = {name: self._sizes((name,))[0] for name in sparse}
        kept = {task.columns[0]: len(task.counter.keys) for task in field_tasks}
        tables = with_tables({name: (sizes[name], kept[name]) for name in sparse}, self._tables)
        for field_task in field_tasks:
            (name,) = field_task.columns
            self._members[name] = MemberCodes(sizes[name], field_task.counter.keys, table=name in tables)

    def _field_counters(self, sparse: list[str], memory: int) -> Sequence[FieldCounter]:
        """Return what counts the ids of sparse fields."""
        spaces = [self._sizes((name,))[0] for name in sparse]
        return counters(spaces, memory, self.threshold, self._source.rows)

    def _run_fields(self, tasks: list[Task]) -> None:
        """Count fields until all tasks are done."""
        self._run(tasks)

    def _edge_tasks(self, dense: list[str], share: int) -> list[EdgesTask]:
        """Return what finds the bin edges of dense fields in passes, or find them here and return nothing."""
        rows = self._source.rows
        return [EdgesTask(name, QuantileCounter(self._bins, share // len(dense), rows)) for name in dense]


class FileFit(Fit):
    """A fit on Parquet files.

    Args:
        paths: See :class:`~nid_plugins.crosses.sources.ParquetSource`.
        schema: The fields.
        **options: See :class:`Fit`.

    Raises:
        FrameError: No file, a damaged one, or no rows.
        MissingExtraError: pyarrow is not installed.
        SettingError: An option is not usable.
    """

    def __init__(self, paths: Any, schema: FeatureSchema, **options: Any) -> None:
        memory_of(options["memory"])
        source = ParquetSource(paths, "training files")
        if not source.rows:
            raise FrameError(
                "the training files have no rows", received="0 rows", expected="at least one row"
            )
        super().__init__(source, schema, **options)


class FrameFit(Fit):
    """A fit on a frame in memory: bin edges are those of sorted columns.

    Args:
        source: The rows of the frame.
        schema: The fields.
        **options: See :class:`Fit`.
    """

    def __init__(self, source: FrameSource, schema: FeatureSchema, **options: Any) -> None:
        super().__init__(source, schema, **options)
        self._columns = source.columns

    def _edge_tasks(self, dense: list[str], share: int) -> list[EdgesTask]:
        del share
        columns = [self._columns[name] for name in dense]
        threads = threads_for(self._source.rows, self._threads)
        for name, ordered in zip(dense, in_threads(sorted_values, columns, threads), strict=True):
            self.edges[name] = edges_of_sorted(ordered, self._bins, field=name)
        return []

    def _field_counters(self, sparse: list[str], memory: int) -> Sequence[FieldCounter]:
        del memory  # a copy of a column at most
        rows = self._source.rows
        spaces = [self._sizes((name,))[0] for name in sparse]
        return [
            DirectCounter(space, self.threshold, rows)
            if space <= rows + _SMALL_SPACE
            else SortedCounter(self.threshold)
            for space in spaces
        ]

    def _run_fields(self, tasks: list[Task]) -> None:
        # Field by field: one's counters stay in cache, and threads need no counters of their own.
        def count(task: Task) -> None:
            for rows in self._source.batches(task.columns, 0):
                for block in rows.blocks(SHARED_BLOCK):
                    task.add(BatchColumns(block, self._schema, known_only=True, check=False))
            task.close()

        threads = threads_for(self._source.rows, self._threads)
        while waiting := [task for task in tasks if not task.done]:
            for _ in in_threads(count, waiting, threads):
                pass
            self._passed()
