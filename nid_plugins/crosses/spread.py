"""Passes over files shared out among workers: a map over fragments, then a reduction of counters in their order.

Counters add up whatever rows they have seen (Dean and Ghemawat, "MapReduce", OSDI 2004), and the reduction is exact, so
that the crosses are those of one process to the last bit. A piece's result is taken once: when a worker dies, its piece is
counted anew from nothing.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

from nid_plugins.crosses.file_columns import FileColumns
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nid_plugins.crosses.bins import FastBins
    from nid_plugins.crosses.compact import MemberCodes
    from nid_plugins.crosses.compiled import CompiledCrosses
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.passes import Task
    from nid_plugins.crosses.sources import Fragment, ParquetSource
    from nid_plugins.detection.executors import Executor
    from nid_plugins.schema import FeatureSchema

PIECES = 16
"""Pieces of a pass: enough for workers to end together and for one to be done again, few since each sends counters."""


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
        source: The files, which every worker can read at the same paths.
        schema: What the columns mean.
        columns: What the tasks read.
        rows: Most rows of a batch.
        bins: Bins of dense fields, where they are known.
        members: Codes of the members, where they are known.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        source: ParquetSource,
        schema: FeatureSchema,
        columns: list[str],
        rows: int,
        bins: Mapping[str, FastBins] | None,
        members: Mapping[str, MemberCodes] | None,
    ) -> None:
        self._tasks = list(tasks)
        self._source = source
        self._schema = schema
        self._columns = columns
        self._rows = rows
        self._bins = bins
        self._members = members

    def __call__(self, fragments: list[Fragment]) -> list[Any]:
        """Return what counters have counted of some fragments, from nothing."""
        own = []
        for task in self._tasks:
            mine: Any = copy.copy(task)
            mine.counter = copy.deepcopy(mine.counter)
            own.append(mine)
        for batch in self._source.batches(self._columns, self._rows, fragments):
            rows = FileColumns(batch, self._schema, known_only=True, bins=self._bins, members=self._members)
            for task in own:
                task.add(rows)
        return [task.counter for task in own]


def one_pass(executor: Executor, worker: PassWorker, tasks: Sequence[Task], source: ParquetSource) -> None:
    """Count all rows in a pass by workers, and add up what they counted."""
    for counters in executor.map(worker, pieces(source)):
        for task, counter in zip(tasks, counters, strict=True):
            task.merge(counter)


def pieces(source: ParquetSource) -> list[list[Fragment]]:
    """Return all rows as lists of fragments, about :data:`PIECES` of them; a row group is never cut."""
    wanted = max(source.rows // PIECES, 1)
    found: list[list[Fragment]] = []
    room = 0
    for fragment in map(placed, source.fragments(wanted)):
        if not found or fragment.rows > room:
            found.append([])
            room = wanted
        found[-1].append(fragment)
        room -= fragment.rows
    return found


def placed(fragment: Fragment) -> Fragment:
    """Return a fragment whose file is found from any working directory."""
    return dataclasses.replace(
        fragment, file=dataclasses.replace(fragment.file, path=fragment.file.path.absolute())
    )


class PartWriter:
    """Writes parts of cross ids where it has been sent to.

    Args:
        crosses: The crosses.
        source: The files, which every worker can read at the same paths.
        working: The folder for parts, which every worker can write to.
        kept: Columns to write before the ids.
        memory: Bytes for rows on their way.
    """

    def __init__(
        self,
        crosses: CrossFeatures,
        source: ParquetSource,
        working: Path,
        kept: tuple[str, ...],
        memory: int,
    ) -> None:
        self._crosses = crosses
        self._source = source
        self._working = working
        self._kept = kept
        self._memory = memory
        self._compiled: CompiledCrosses | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent: look-up tables are made anew where it arrives."""
        return {**self.__dict__, "_compiled": None}

    def __call__(self, numbered: tuple[int, Fragment | None]) -> None:
        """Write a part, unless it is there: a file is there when it is complete, however often it is begun."""
        from nid_plugins.crosses.compiled import CompiledCrosses
        from nid_plugins.crosses.files_out import part_name, write_part

        number, fragment = numbered
        target = self._working / part_name(number)
        if target.exists():
            return
        if self._compiled is None:
            self._compiled = CompiledCrosses(self._crosses)
        write_part(
            self._crosses,
            self._compiled,
            self._source,
            fragment,
            target,
            kept=self._kept,
            memory=self._memory,
        )
