"""A few threads for calls that may have to be given up on."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from nid_plugins.forks import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable


class Call:
    """A call under way in another thread.

    Attributes:
        result: What it returned.
        error: What it raised.
        ended: When it ended, by ``time.perf_counter``, seconds.
        abandoned: Nobody waits for it any more; a call that has not begun need not.
    """

    __slots__ = ("_done", "abandoned", "ended", "error", "result", "work")

    def __init__(self, work: Callable[[Call], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = 0.0
        self.abandoned = False
        self._done = threading.Event()

    def run(self, then: Callable[[], None]) -> None:
        """Make the call, in this thread; ``then`` is run before those who wait are told."""
        try:
            if not self.abandoned:
                self.result = self.work(self)
        except BaseException as error:  # noqa: BLE001 - the one who waits is told, whatever it is
            self.error = error
        self.ended = time.perf_counter()
        then()
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended within some seconds; if not, it is abandoned."""
        if self._done.wait(seconds):
            return True
        self.abandoned = True
        return self._done.is_set()


class Workers:
    """At most ``size`` threads, started when needed, each busy with one call or idle.

    They are daemons: a call that never ends keeps no process alive.

    Args:
        name: Of the threads.
        size: Number of threads, and so of calls under way.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without threads."""
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._busy = self._threads = 0
        self._closed = False

    def submit(self, work: Callable[[Call], Any]) -> Call | None:
        """Hand a call to an idle thread; None when all are busy, or after :meth:`close`."""
        with self._lock:
            if self._busy >= self._size or self._closed:
                return None
            self._busy += 1
            if self._busy > self._threads:
                self._threads += 1
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        call = Call(work)
        self._calls.put(call)
        return call

    @property
    def busy(self) -> int:
        """Calls under way, the abandoned ones included."""
        return self._busy

    def close(self) -> None:
        """Let the threads end when their calls have."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._calls.put(None)

    def _serve(self) -> None:
        calls = self._calls
        while (call := calls.get()) is not None:
            # The thread counts as idle before the caller goes on: it may come back at once, and shall not find it busy.
            call.run(self._idle)
            del call  # with its rows and its result

    def _idle(self) -> None:
        with self._lock:
            self._busy -= 1
