"""TensorFlow under the demo: started without its log lines, on few threads of the CPU."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def start() -> Any:
    """Import TensorFlow and return it.

    The lines it writes before its log level counts, straight to the file behind standard error, are kept off the
    screen, unless the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if "tensorflow" in sys.modules else _stderr_held_back():
        import tensorflow as tf
    # Settled once the first operation has run; then it stays as it is, and `on_cpu` is what remains.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def on_cpu() -> AbstractContextManager[object]:
    """Return a context in which models are built and run on the CPU: these are far too small for a GPU."""
    import tensorflow as tf

    return tf.device("CPU:0")  # type: ignore[no-any-return]


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        screen = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(screen, 2)
            held.seek(0)
            os.write(screen, held.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
