"""Several processes of one machine, by joblib: a model in each."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_plugins.detection.executors import Executor, missing, packed, worker_count
from nid_plugins.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nid_plugins.detection.executors import Mapper

RETRIES = 3
"""How often workers are started again after one was killed, before giving up."""


class ProcessExecutor(Executor):
    """Worker processes query and explain, each with the model in it.

    For models that can be pickled, and whose predictions are bound by the interpreter or by one core. When a worker is
    killed, the items without a result are given to new ones.

    Args:
        workers: Number of processes; by default one a core.
        retries: How often killed workers are replaced before giving up.
    """

    name = "processes"
    remote = True

    def __init__(self, workers: int | None = None, *, retries: int = RETRIES) -> None:
        self.workers = worker_count(workers) or os.cpu_count() or 1
        self.retries = retries

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield results in the order of the items.

        Raises:
            MissingExtraError: joblib is not installed.
            SettingError: The function cannot be pickled.
            PluginError: Workers were killed again and again.
        """
        with self.hold(function) as mapped:
            yield from mapped(items)

    @contextlib.contextmanager
    def hold(self, function: Callable[[Any], Any]) -> Iterator[Mapper]:
        """Give a :meth:`map` of one function, which each worker loads once.

        Raises:
            MissingExtraError: joblib is not installed.
            SettingError: The function cannot be pickled.
        """
        data = packed(function)
        try:
            import joblib  # noqa: F401 - asked for here, before work begins
        except ImportError as error:
            raise missing("joblib", "processes") from error
        # Through a file, which workers that come later read too: joblib would send the model with every item.
        with tempfile.TemporaryDirectory(prefix="nid-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "function.pickle"
            path.write_bytes(data)
            yield lambda items: self._run(str(path), items)

    def _run(self, path: str, items: Iterable[Any]) -> Iterator[Any]:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        waiting = list(items)
        lost = 0
        while waiting:
            parallel = Parallel(
                n_jobs=self.workers,
                backend="loky",
                return_as="generator",
                pre_dispatch="2 * n_jobs",
                batch_size=1,
            )
            results = parallel(delayed(_call)(path, item) for item in list(waiting))
            try:
                for result in results:
                    waiting.pop(0)
                    yield result
            except BrokenProcessPool as error:
                lost += 1
                if lost > self.retries:
                    raise PluginError(
                        "the worker processes were killed again and again",
                        received=f"{lost} times",
                        hint="Often it is memory that is short: take fewer workers, or less memory=",
                    ) from error


_loaded: dict[str, Callable[[Any], Any]] = {}


def _call(path: str, item: object) -> Any:
    """Apply the function of a file, which is read once a process, and only the last one kept."""
    function = _loaded.get(path)
    if function is None:
        _loaded.clear()
        function = _loaded[path] = pickle.loads(Path(path).read_bytes())  # noqa: S301 - written by the caller
    return function(item)
