"""How the work of many instances is spread: one thread, fits beside queries in several, or workers with a model each."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Mapper = Callable[[Iterable[Any]], Iterator[Any]]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(ABC):
    """Applies a function to items as they come. Register an instance in the hook ``nid_register_executors``.

    Attributes:
        name: What users write in ``executor=``.
        remote: Whether the function runs where this process's objects are not. A detection then sends the model along
            with the function, once a worker, and the workers query it; the items are small and can be drawn ahead.
            Otherwise the model is queried while the items are drawn, and the function only fits explainers.
    """

    name: ClassVar[str]
    remote: ClassVar[bool] = False

    @abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` in the order of the items.

        Items are drawn in the caller's thread, one after the other. When drawing one raises, the results of the items
        drawn before are yielded first, so that nothing already computed is lost.
        """

    @contextlib.contextmanager
    def hold(self, function: Callable[[Any], Any]) -> Iterator[Mapper]:
        """Give a :meth:`map` of one function that may be called again and again; workers may stay between the calls."""
        yield lambda items: self.map(function, items)


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
        self.workers = worker_count(workers) or min(8, os.cpu_count() or 1)

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


def worker_count(workers: int | None) -> int | None:
    """Return a number of workers, checked; None means the executor's own choice.

    Raises:
        SettingError: It is no positive integer.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise SettingError("workers out of range", received=repr(workers), expected="a positive integer")
    return workers


def packed(function: object) -> bytes:
    """Return a function, and the model with it, pickled for another process.

    Raises:
        MissingExtraError: cloudpickle is not installed.
        SettingError: It cannot be pickled.
    """
    try:
        import cloudpickle
    except ImportError as error:
        raise missing("cloudpickle", "processes") from error
    try:
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:
        raise SettingError(
            f"the model, the detector or the baseline cannot be sent to another process: {error}",
            received=type(error).__name__,
            expected="what pickle can carry",
            hint='Use executor="threads", which stays in this process',
        ) from error
    return data


def missing(package: str, extra: str) -> Exception:
    """Return the error for an executor whose package is not installed."""
    from nid_plugins.errors import MissingExtraError

    return MissingExtraError(
        f"the executor needs {package}, which is not installed",
        received=f"no package {package}",
        hint=f'Install the extra: pip install "nid-plugins[{extra}]"',
    )
