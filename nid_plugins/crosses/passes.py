"""Passes over files: counters of fields and of crosses, fed batch by batch until each has what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nid_plugins.crosses.columns import Rows
from nid_plugins.crosses.counting import DirectCounter, FilteredCounter, SortedCounter, counter_type
from nid_plugins.crosses.spread import PassWorker, one_pass, one_pass_here
from nid_plugins.crosses.threads import threads_for
from nid_plugins.schema import DenseField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nid_plugins.crosses.bins import FastBins
    from nid_plugins.crosses.columns import BatchColumns
    from nid_plugins.crosses.compact import CrossCode, MemberCodes
    from nid_plugins.crosses.keys import Int64Array
    from nid_plugins.crosses.radix import QuantileCounter
    from nid_plugins.detection.executors import Executor
    from nid_plugins.schema import FeatureSchema

SMALLEST_BATCH, LARGEST_BATCH = 2**10, 2**18
_FILTER_BYTES = 8 * 2**20
_MOST_FILTER_BYTES = 2**30
_ROOMY = 64  # an array of many times more keys than rows costs more than a filter
_BYTES_A_CELL = 40  # of a batch: the Arrow column, and ids, codes and a few temporaries of it


class Blocks(Rows, Protocol):
    """Rows that are worked on in blocks."""

    def blocks(self, size: int) -> Iterator[Rows]:
        """Yield them, at most so many rows at a time."""


class Source(Protocol):
    """Where rows come from, pass after pass.

    Attributes:
        rows: Number of rows.
        checked: Whether values are known to fit the schema.
    """

    rows: int
    checked: bool

    def require(self, columns: Iterable[str]) -> None:
        """Check that there are these columns."""

    def pieces(self) -> Sequence[Any]:
        """Return all rows in pieces that may be counted apart."""

    def batches(self, columns: Sequence[str], size: int, piece: Any = None, /) -> Iterator[Blocks]:
        """Yield the rows of a piece, or all of them, of some columns, at most ``size`` at a time."""


class Task(Protocol):
    """What counts something in passes."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads."""

    @property
    def done(self) -> bool:
        """Whether no further pass is needed."""

    @property
    def bytes(self) -> int:
        """Most memory of its counters in this pass."""

    def add(self, rows: BatchColumns) -> None:
        """Count a batch in this pass."""

    def merge(self, counter: Any) -> None:
        """Add what another counter has counted of other rows in this pass."""

    def close(self) -> None:
        """End a pass."""


def batch_rows(memory: int, columns: int) -> int:
    """Return how many rows of so many columns to work on at a time."""
    return min(max(memory // (_BYTES_A_CELL * columns), SMALLEST_BATCH), LARGEST_BATCH)


def run(
    tasks: Sequence[Task],
    source: Source,
    schema: FeatureSchema,
    memory: int,
    *,
    room: int = 0,
    threads: int = 1,
    bins: Mapping[str, FastBins] | None = None,
    members: Mapping[str, MemberCodes] | None = None,
    passed: Callable[[], object] = lambda: None,
    executor: Executor | None = None,
) -> None:
    """Pass over the files until every task has ended.

    Args:
        tasks: What to count; each pass feeds all that have not ended, and reads their columns alone.
        source: The rows.
        schema: What the columns mean.
        memory: Bytes for batches.
        room: Bytes for counters: threads have counters of their own, as far as these hold them.
        threads: At most so many.
        bins: Bins of dense fields, where they are known.
        members: Codes of the members, where they are known.
        passed: Called after each pass.
        executor: Whose workers share a pass out among them; each takes as much memory as one process would.

    Raises:
        FrameError: A file is damaged or does not fit the schema.
    """
    while waiting := [task for task in tasks if not task.done]:
        columns = sorted({name for task in waiting for name in task.columns}, key=schema.index_of)
        taken = sum(task.bytes for task in waiting)
        own = max(min(threads_for(source.rows, threads), room // max(taken, 1)), 1)
        size = batch_rows(memory // own, len(columns))
        worker = PassWorker(waiting, source, schema, columns, size, bins, members, threads=own)
        if executor is not None:
            one_pass(executor, worker, waiting, source)
        else:
            one_pass_here(worker, waiting, source, own)
        for task in waiting:
            task.close()
        passed()


FieldCounter = DirectCounter | FilteredCounter | SortedCounter


class FieldTask:
    """Ids of a sparse field that are frequent: no combination is more frequent than its members.

    Args:
        name: The field.
        counter: Counts its ids.
    """

    def __init__(self, name: str, counter: FieldCounter) -> None:
        self.columns: tuple[str, ...] = (name,)
        self.counter = counter

    @property
    def done(self) -> bool:
        """Whether no further pass is needed."""
        return self.counter.done

    @property
    def bytes(self) -> int:
        """Most memory of its counters in this pass."""
        return 0 if isinstance(self.counter, SortedCounter) else self.counter.bytes

    def add(self, rows: BatchColumns) -> None:
        """Count a batch in this pass."""
        ids = rows.sparse(self.columns[0])
        known = ids >= 0
        self.counter.add(ids if known.all() else ids[known])

    def merge(self, counter: Any) -> None:
        """Add what another counter has counted of other rows in this pass."""
        if not isinstance(self.counter, SortedCounter):  # which has seen all rows
            self.counter.merge(counter)

    def close(self) -> None:
        """End a pass."""
        self.counter.close()


class EdgesTask:
    """Bin edges of a dense field.

    Args:
        name: The field.
        counter: Finds its quantiles.
    """

    def __init__(self, name: str, counter: QuantileCounter) -> None:
        self.columns: tuple[str, ...] = (name,)
        self.counter = counter

    @property
    def done(self) -> bool:
        """Whether no further pass is needed."""
        return self.counter.done

    @property
    def bytes(self) -> int:
        """Most memory of its counters in this pass."""
        return self.counter.bytes

    def add(self, rows: BatchColumns) -> None:
        """Count a batch in this pass."""
        self.counter.add(rows.values(self.columns[0]))

    def merge(self, counter: Any) -> None:
        """Add what another counter has counted of other rows in this pass."""
        self.counter.merge(counter)

    def close(self) -> None:
        """End a pass."""
        self.counter.close()


class CrossTask:
    """Combinations of a cross that are frequent.

    Args:
        code: How its combinations are numbered.
        counter: Counts these numbers.
    """

    def __init__(self, code: CrossCode, counter: DirectCounter | FilteredCounter) -> None:
        self.columns = code.fields
        self.code = code
        self.counter = counter

    @property
    def done(self) -> bool:
        """Whether no further pass is needed."""
        return self.counter.done

    @property
    def bytes(self) -> int:
        """Most memory of its counters in this pass."""
        return self.counter.bytes

    def add(self, rows: BatchColumns) -> None:
        """Count a batch in this pass."""
        codes = [rows.codes(name) for name in self.columns]
        if isinstance(self.counter, DirectCounter) and self.code.radix:
            if self.counter.add_numbers(codes, self.code.bases):
                return
        elif isinstance(self.counter, FilteredCounter):
            # A combination with a rare member must not fill a counter.
            known = np.logical_and.reduce([own > 0 for own in codes])
            codes = [own[known] for own in codes]
        self.counter.add(self.code.numbers(codes, rows.scratch))

    def merge(self, counter: Any) -> None:
        """Add what another counter has counted of other rows in this pass."""
        self.counter.merge(counter)

    def close(self) -> None:
        """End a pass."""
        self.counter.close()

    def keys(self) -> Int64Array:
        """Return the format's keys of the frequent combinations, ascending."""
        return self.code.keys(self.counter.keys)


def counters(
    spaces: Sequence[int | None], memory: int, threshold: float, rows: int
) -> list[DirectCounter | FilteredCounter]:
    """Share memory out among key spaces: an array for the smallest ones, a filter for the rest.

    Args:
        spaces: Number of keys of each, None where they are any int64.
        memory: Bytes for all.
        threshold: What a count must exceed.
        rows: Most keys that will be added to each.
    """
    width = np.dtype(counter_type(rows)).itemsize
    direct: set[int] = set()
    left = memory
    sensible = _ROOMY * rows + 2**16
    bounded = [(space, k) for k, space in enumerate(spaces) if space is not None and space <= sensible]
    for done, (space, k) in enumerate(sorted(bounded)):
        others = len(spaces) - done - 1
        # What is left must do for filters of the others that are no smaller than this array, or of the usual size.
        if space * width > left or (left - space * width) < others * min(space * width, _FILTER_BYTES):
            break
        direct.add(k)
        left -= space * width
    share = left // max(len(spaces) - len(direct), 1)
    return [
        DirectCounter(int(space), threshold, rows)
        if k in direct and space is not None
        else FilteredCounter(min(share, _MOST_FILTER_BYTES), threshold, rows)
        for k, space in enumerate(spaces)
    ]


def is_dense(schema: FeatureSchema, name: str) -> bool:
    """Return whether a field is dense."""
    return isinstance(schema[name], DenseField)
