"""What the sinks share: events go to a write-ahead file of the process first, and from there to their final place.

Writing is one system call, so a request hardly waits; what is written survives the process. A thread moves full files
to where the sink keeps its events. Files of processes that died are moved by the next sink on the same place. A file
is moved under its key, and a sink knows the keys it has: an event is never there twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import NidWarning, SettingError
from nid_plugins.experiment.ahead import SUFFIX, TEMPORARY, AheadFile, need_locks, try_lock
from nid_plugins.experiment.exposures import Exposures, import_arrow
from nid_plugins.forks import renew_after_fork
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa


_PIECES = 64
"""Batches that wait before they are joined into one."""


class Spool(ABC):
    """A sink of exposures that may be used by many threads and processes at once.

    Trouble with the disk never reaches the request: it is said once as a :class:`~nid_plugins.errors.NidWarning`,
    events wait in memory and are tried again with every write, and those beyond ``backlog`` are counted and dropped.
    A forked process goes on with files of its own.

    Args:
        folder: Where the write-ahead files are; made if absent.
        rows: Events in a write-ahead file before it is moved.
        seconds: Age of a write-ahead file, in seconds, at which it is moved.
        backlog: Events kept in memory while the disk refuses them.

    Attributes:
        dropped: Events given up.

    Raises:
        SettingError: An option is out of its domain.
        MissingExtraError: A package of the extra ``ab`` is not installed.
        UnsupportedError: The system has no file locks.
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: Path, *, rows: int, seconds: float, backlog: int) -> None:
        import_arrow()
        need_locks()
        for name, value, low in (("rows", rows, 1), ("seconds", seconds, 1e-3), ("backlog", backlog, 0)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= low:
                raise SettingError(
                    f"{name} out of range", received=repr(value), expected=f"a number of at least {low:g}"
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise SettingError(
                "a file is where a sink's folder should be",
                field="folder",
                received=str(error.filename or folder),
                expected="a folder, or nothing yet",
            ) from error
        self.dropped = 0
        self._folder = folder
        self._rows, self._seconds, self._backlog = rows, seconds, backlog
        self._closed = False
        self._reset()
        renew_after_fork(self)
        self.recover()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # of what is being written
        self._settling = threading.Lock()  # of what is being moved; never taken while holding the other
        self._ahead: AheadFile | None = None
        self._sealed: deque[AheadFile] = deque()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._waiting_rows = 0
        self._said: set[str] = set()
        self._wake: threading.Event | None = None

    @abstractmethod
    def _store(self, key: str, table: pa.Table) -> None:
        """Put the events of a write-ahead file in their final place, unless those of this key are there."""

    # Writing

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write events; when it returns they survive the process, unless the disk refused them.

        Raises:
            SettingError: They are not exposures, or the sink is closed.
        """
        batch = Exposures.of(events).to_arrow()
        if not batch.num_rows:
            return
        with self._lock:
            if self._closed:
                raise SettingError("the sink is closed", received=repr(self))
            self._waiting.append(batch)
            self._waiting_rows += batch.num_rows
            self._drain()
            due = self._seal(due=True)
            self._start()
        if due and self._wake is not None:
            self._wake.set()

    def _drain(self) -> None:
        if len(self._waiting) > _PIECES:  # or the request that finds room again would write thousands
            (joined,) = import_arrow().Table.from_batches(self._waiting).combine_chunks().to_batches()
            self._waiting = deque([joined])
        try:
            while self._waiting:
                if self._ahead is None or not self._ahead.usable:  # what it holds is moved all the same
                    self._seal()
                    self._ahead = AheadFile.create(self._folder)
                self._ahead.append(self._waiting[0])
                self._waiting_rows -= self._waiting.popleft().num_rows
        except OSError as error:
            self._say("write", f"cannot write exposures, and keeps trying: {one_line(error)}")
            # What came last is given up: what is on the disk stays a beginning without gaps.
            while self._waiting_rows > self._backlog:
                rows = self._waiting.pop().num_rows
                self._waiting_rows -= rows
                self.dropped += rows
        else:
            self._said.discard("write")

    def _seal(self, *, due: bool = False) -> bool:
        ahead = self._ahead
        if ahead is None:
            return False
        if due and ahead.rows < self._rows and time.monotonic() - ahead.born < self._seconds:
            return False
        self._ahead = None
        self._sealed.append(ahead)
        return True

    # Moving

    def flush(self) -> None:
        """Move all this process has written to its final place, and what dead processes have left behind."""
        with self._lock:
            self._drain()
            self._seal()
        self._settle()
        self.recover()

    def close(self) -> None:
        """Flush and stop. Events the disk still refuses are counted as dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.flush()
        with self._lock:
            self.dropped += self._waiting_rows
            self._waiting.clear()
            self._waiting_rows = 0
            if self._wake is not None:
                self._wake.set()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def recover(self) -> None:
        """Move the events of files whose process is gone. A file that cannot be moved now stays where it is."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                left = AheadFile.adopt(path)
            except OSError as error:  # of another user, say
                self._say("adopt", f"cannot open what a dead process has left: {one_line(error)}")
                continue
            if left is not None:
                with self._settling:
                    self._settle_one(left)
        for path in self._folder.glob(f"*{TEMPORARY}"):
            if not path.with_name(path.name.split(".")[0] + SUFFIX).exists():
                _remove_unlocked(path)

    def _settle(self) -> None:
        with self._settling:
            while True:
                with self._lock:
                    if not self._sealed:
                        return
                    ahead = self._sealed.popleft()
                self._settle_one(ahead)

    def _settle_one(self, ahead: AheadFile) -> None:
        try:
            table = ahead.read()
            if table.num_rows:
                self._store(ahead.key, table)
            ahead.remove()
        except Exception as error:  # noqa: BLE001 - of the disk, Arrow or the database; a request must not see it
            ahead.close()  # it is safe where it is, and the next to look will try again
            self._say(
                "move", f"cannot move exposures out of {ahead.path}, and keeps trying: {one_line(error)}"
            )
        else:
            self._said.discard("move")

    def _start(self) -> None:
        if self._wake is None:
            self._wake = threading.Event()
            threading.Thread(
                target=_work,
                args=(weakref.ref(self), self._wake, self._seconds),
                name="nid-exposures",
                daemon=True,
            ).start()

    def _tick(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._drain()
            self._seal(due=True)
        self._settle()
        if "move" in self._said:
            self.recover()
        return True

    def _say(self, what: str, sentence: str) -> None:
        if what in self._said:
            return
        self._said.add(what)
        with contextlib.suppress(Warning):  # where warnings are errors, the request must still be answered
            warnings.warn(f"{self!r} {sentence}", NidWarning, stacklevel=2)

    def after_fork(self) -> None:
        """Go on with files and threads of the new process's own."""
        # The files are the parent's, and so are the events that wait; only the descriptors are let go of.
        for ahead in (self._ahead, *self._sealed):
            if ahead is not None:
                ahead.close()
        self.dropped = 0
        self._reset()


def _work(sink_of: weakref.ref[Spool], wake: threading.Event, seconds: float) -> None:
    while True:
        wake.wait(seconds / 4)
        wake.clear()
        sink = sink_of()
        if sink is None or sink._wake is not wake or not sink._tick():  # noqa: SLF001 - its own thread
            return
        del sink


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            if try_lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)
