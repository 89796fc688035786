"""How the work of many instances is spread: one thread, or fits beside queries in several."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(ABC):
    """Applies a function to items as they come. Register an instance in the hook ``nid_register_executors``.

    Attributes:
        name: What users write in ``executor=``.
    """

    name: ClassVar[str]

    @abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` in the order of the items.

        Items are drawn in the caller's thread, one after the other. When drawing one raises, the results of the items
        drawn before are yielded first, so that nothing already computed is lost.
        """


class SerialExecutor(Executor):
    """One item after the other."""

    name = "serial"

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield results one by one."""
        for item in items:
            yield function(item)


class ThreadExecutor(Executor):
    """Explainers are fitted in threads while the caller's thread goes on querying the model.

    NumPy releases the interpreter lock in its kernels, and results do not depend on the number of threads.

    Args:
        workers: Number of threads; by default one a core, at most 8.
    """

    name = "threads"

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(8, os.cpu_count() or 1)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order, at most ``workers + 1`` items ahead of the caller."""
        pending: deque[Future[Any]] = deque()
        source = iter(items)
        failure: Exception | None = None
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while True:
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                    except Exception as error:  # noqa: BLE001 - raised again below, after what was drawn before it
                        failure = error
                        break
                    pending.append(pool.submit(function, item))
                    # What is ready goes out at once: it is then in the journal when the run is killed.
                    while pending and (len(pending) > self.workers or pending[0].done()):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
        if failure is not None:
            raise failure
