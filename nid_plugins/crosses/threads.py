"""Threads of one process: NumPy and Arrow let go of Python's lock while they work on a block of rows."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

ROWS_A_THREAD = 2**17
"""Fewer rows are not worth a further thread."""


def thread_count(threads: object = None) -> int:
    """Return a number of threads; None: one for each core that this process may use.

    Raises:
        SettingError: Not an integer of at least 1.
    """
    if threads is None:
        usable = getattr(os, "sched_getaffinity", None)  # not on every system
        return len(usable(0)) if usable else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise SettingError(
            "threads out of range", received=repr(threads), expected="an integer of at least 1, or None"
        )
    return int(threads)


def threads_for(rows: int, most: int) -> int:
    """Return how many of at most so many threads are worth it for these rows."""
    return max(min(most, rows // ROWS_A_THREAD), 1)


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Yield the results of work on items, in their order.

    Of several errors that of the first item is raised, as it is without threads.
    """
    if threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)
