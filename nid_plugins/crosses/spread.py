"""Passes over files shared out among workers: a map over fragments, then a reduction of counters in their order.

Counters add up whatever rows they have seen (Dean and Ghemawat, "MapReduce", OSDI 2004), and the reduction is exact, so
that the crosses are those of one process to the last bit. A piece's result is taken once: when a worker dies, its piece is
counted anew from nothing.
"""

from __future__ import annotations

import copy
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from nid_plugins.crosses import loops
from nid_plugins.crosses.columns import BatchColumns
from nid_plugins.crosses.frame_source import block_of
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.crosses.threads import in_threads
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nid_plugins.crosses.bins import FastBins
    from nid_plugins.crosses.compact import MemberCodes
    from nid_plugins.crosses.compiled import CompiledCrosses
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.passes import Source, Task
    from nid_plugins.crosses.sources import Fragment, ParquetSource
    from nid_plugins.detection.executors import Executor
    from nid_plugins.schema import FeatureSchema


def remote_executor(executor: str | Executor | None) -> Executor | None:
    """Return an executor with workers elsewhere; None where the work is done here.

    Raises:
        SettingError: There is no such executor.
    """
    if executor is None:
        return None
    from nid_plugins.detection.executors import Executor
    from nid_plugins.plugins import get_manager

    found = get_manager().executor(executor) if isinstance(executor, str) else executor
    if not isinstance(found, Executor):
        raise SettingError(
            "not an executor",
            received=type(executor).__name__,
            expected="an executor's name, an Executor, or None",
        )
    return found if found.remote else None


class PassWorker:
    """Counts pieces of a pass where it has been sent to.

    Args:
        tasks: What to count, as it is at the start of the pass.
        source: The rows; files that every worker can read at the same paths.
        schema: What the columns mean.
        columns: What the tasks read.
        rows: Most rows of a batch.
        bins: Bins of dense fields, where they are known.
        members: Codes of the members, where they are known.
        threads: How many threads of a process it serves.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        source: Source,
        schema: FeatureSchema,
        columns: list[str],
        rows: int,
        bins: Mapping[str, FastBins] | None,
        members: Mapping[str, MemberCodes] | None,
        threads: int = 1,
    ) -> None:
        self._block = block_of(threads)
        self._tasks = list(tasks)
        self._source = source
        self._schema = schema
        self._columns = columns
        self._rows = rows
        self._bins = bins
        self._members = members

    def __call__(self, piece: Any) -> list[Any]:
        """Return what counters have counted of a piece of the rows, from nothing."""
        loops.for_rows(self._source.rows)
        own = self.fresh()
        self.count(own, piece)
        return [task.counter for task in own]

    def fresh(self) -> list[Any]:
        """Return the tasks with counters of their own that have counted nothing in this pass."""
        found = []
        for task in self._tasks:
            own: Any = copy.copy(task)
            own.counter = own.counter.fresh()
            found.append(own)
        return found

    def count(self, tasks: Sequence[Task], piece: Any = None, scratch: Scratch | None = None) -> None:
        """Count a piece of the rows, or all of them, in tasks."""
        scratch = scratch or Scratch()
        for batch in self._source.batches(self._columns, self._rows, piece):
            # Codes of a block serve many crosses; a field on its own is counted with all rows at once.
            for block in [batch] if self._members is None else batch.blocks(self._block):
                rows = BatchColumns(
                    block,
                    self._schema,
                    known_only=True,
                    bins=self._bins,
                    members=self._members,
                    check=not self._source.checked,
                    scratch=scratch,
                )
                for task in tasks:
                    task.add(rows)


def one_pass(executor: Executor, worker: PassWorker, tasks: Sequence[Task], source: Source) -> None:
    """Count all rows in a pass by workers, and add up what they counted."""
    for counters in executor.map(worker, source.pieces()):
        for task, counter in zip(tasks, counters, strict=True):
            task.merge(counter)


def one_pass_here(worker: PassWorker, tasks: Sequence[Task], source: Source, threads: int) -> None:
    """Count all rows in a pass by threads, each with counters of its own, and add up what they counted."""
    if threads == 1:
        worker.count(tasks)
        return
    sets = [list(tasks), *(worker.fresh() for _ in range(threads - 1))]
    idle: SimpleQueue[tuple[list[Task], Scratch]] = SimpleQueue()
    for one in sets:
        idle.put((one, Scratch()))

    def work(piece: Any) -> None:
        own = idle.get()
        try:
            worker.count(own[0], piece, own[1])
        finally:
            idle.put(own)

    for _ in in_threads(work, source.pieces(), threads):
        pass
    for own in sets[1:]:
        for task, other in zip(tasks, own, strict=True):
            task.merge(cast("Any", other).counter)


class PartWriter:
    """Writes parts of cross ids where it has been sent to.

    Args:
        crosses: The crosses.
        source: The files, which every worker can read at the same paths.
        working: The folder for parts, which every worker can write to.
        kept: Columns to write before the ids.
        memory: Bytes for rows on their way.
        threads: How many threads of a process it serves.
    """

    def __init__(
        self,
        crosses: CrossFeatures,
        source: ParquetSource,
        working: Path,
        kept: tuple[str, ...],
        memory: int,
        threads: int = 1,
    ) -> None:
        self._block = block_of(threads)
        self._crosses = crosses
        self._source = source
        self._working = working
        self._kept = kept
        self._memory = memory
        self._compiled: CompiledCrosses | None = None
        self._lock = Lock()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what was sent."""
        self.__dict__ |= state | {"_lock": Lock()}

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent: look-up tables are made anew where it arrives."""
        return {**self.__dict__, "_compiled": None, "_lock": None}

    def __call__(self, numbered: tuple[int, Fragment | None]) -> None:
        """Write a part, unless it is there: a file is there when it is complete, however often it is begun."""
        from nid_plugins.crosses.compiled import CompiledCrosses
        from nid_plugins.crosses.files_out import part_name, write_part

        loops.for_rows(self._source.rows)
        number, fragment = numbered
        target = self._working / part_name(number)
        if target.exists():
            return
        with self._lock:
            if self._compiled is None:
                self._compiled = CompiledCrosses(self._crosses, self._memory)
        write_part(
            self._crosses,
            self._compiled,
            self._source,
            fragment,
            target,
            kept=self._kept,
            memory=self._memory,
            block=self._block,
        )
