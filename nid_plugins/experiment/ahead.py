"""Write-ahead files: an Arrow stream a process appends to, readable to its last complete batch whatever becomes of it.

A file is locked (``flock``) by the process that writes it. The lock goes with the process, so whoever gets it knows
that the file has no writer any more. What ``write`` has been given outlives the process; only a crash of the whole
machine can lose what the operating system had not yet put on the disk.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import ArtefactError, UnsupportedError
from nid_plugins.experiment.exposures import arrow_schema, import_arrow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

SUFFIX = ".arrow"
TEMPORARY = ".tmp"


class AheadFile:
    """A write-ahead file, open and locked. Made by :meth:`create` and :meth:`adopt`.

    Attributes:
        key: Unique name, without the suffix; sorts by the time of creation.
        path: Where it is.
        rows: Rows appended here.
        born: When it was opened, by the monotonic clock, seconds.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.key = path.name.removesuffix(SUFFIX)
        self.path = path
        self.rows = 0
        self.born = time.monotonic()
        self._descriptor = descriptor
        self._size = 0
        self._torn = False
        self._close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def create(cls, folder: Path) -> AheadFile:
        """Open a new file in a folder, made if absent.

        Raises:
            OSError: It cannot be written.
            UnsupportedError: The system has no file locks.
        """
        folder.mkdir(parents=True, exist_ok=True)
        key = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}"
        # Under its own name only once it is locked: nobody may take it for a dead process's.
        temporary = folder / f"{key}{TEMPORARY}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o644)
        made = cls(folder / f"{key}{SUFFIX}", descriptor)
        try:
            if not try_lock(descriptor):
                raise BlockingIOError(f"{temporary} is locked by another process")
            made._write(arrow_schema().serialize())
            temporary.rename(made.path)
        except BaseException:
            made.close()
            temporary.unlink(missing_ok=True)
            raise
        return made

    @classmethod
    def adopt(cls, path: Path) -> AheadFile | None:
        """Lock a file its process has left behind; None while it has a writer, or when another has settled it."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        left = cls(path, descriptor)
        if try_lock(descriptor) and not left.gone:
            return left
        left.close()
        return None

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one batch. After an error the file holds the batches before it.

        Raises:
            OSError: It could not be written whole.
        """
        self._write(batch.serialize())
        self.rows += batch.num_rows

    def _write(self, data: pa.Buffer) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # A torn batch ends what can be read: nothing may come after it.
            self._torn = True
            os.ftruncate(self._descriptor, self._size)
            self._torn = False
            raise
        self._size += len(data)

    @property
    def usable(self) -> bool:
        """Whether more can be appended: it is still there, and does not end in a torn batch."""
        return not self._torn and not self.gone

    @property
    def gone(self) -> bool:
        """Whether the file has been deleted."""
        return os.fstat(self._descriptor).st_nlink == 0

    def read(self) -> pa.Table:
        """Return all complete batches, also of a file that was deleted."""
        size = os.fstat(self._descriptor).st_size
        parts, offset = [], 0
        while offset < size:
            part = os.pread(self._descriptor, size - offset, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return complete(b"".join(parts), self.path)

    def remove(self) -> None:
        """Delete the file and let go of it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file: from now on anyone may adopt it."""
        self._close()


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process, and return whether that was possible at once.

    Raises:
        UnsupportedError: The system has no file locks.
    """
    fcntl = need_locks()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def need_locks() -> Any:
    """Return the module ``fcntl``.

    Raises:
        UnsupportedError: The system has no file locks: Windows.
    """
    try:
        import fcntl
    except ImportError as error:
        raise UnsupportedError(
            "sinks need the file locks of a POSIX system",
            received=str(error),
            hint="Send events elsewhere with the hook nid_exposure",
        ) from error
    return fcntl


def complete(data: bytes, path: Path) -> pa.Table:
    """Return the complete batches of a stream that may end anywhere.

    Raises:
        ArtefactError: It holds something other than exposures.
    """
    return arrow_table(path, list(_batches(data)))


def arrow_table(path: Path, batches: list[Any]) -> pa.Table:
    """Return batches as one table of exposures.

    Raises:
        ArtefactError: They have another schema.
    """
    pa = import_arrow()
    if batches and not batches[0].schema.equals(arrow_schema()):
        raise ArtefactError(
            "not a file of exposures",
            received=f"{path} with columns {batches[0].schema.names}",
            expected=f"columns {arrow_schema().names}",
        )
    return pa.Table.from_batches(batches, schema=arrow_schema())


def _batches(data: bytes) -> Iterator[Any]:
    pa = import_arrow()
    # A process that was killed leaves a header or a batch cut short.
    with contextlib.suppress(pa.ArrowInvalid, OSError, EOFError):
        yield from pa.ipc.open_stream(data)
