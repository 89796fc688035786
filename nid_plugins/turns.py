"""Threads take turns at a model.

Predictors put a model in inference mode and at the end restore its modes, buffers and random state. Two threads doing
that at once would restore each other's half-changed state: train mode in the middle of a prediction, or eval mode left
behind for good. So all black boxes of one model object share one lock, wherever they were made.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from nid_plugins.forks import renew_after_fork


class Turn:
    """A lock that the same thread may take again. Copies and pickles of it are new locks.

    Args:
        model: Kept alive as long as the lock, so that its identity means one model.
    """

    def __init__(self, model: object = None) -> None:
        self._model = model
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Make the lock free: in a forked process the thread that held it does not exist."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Turn, ())


_turns: weakref.WeakValueDictionary[int, Turn] = weakref.WeakValueDictionary()
_turns_lock = Turn()


def turn_of(model: object) -> Turn:
    """Return the lock of a model: the same one as long as somebody holds it."""
    with _turns_lock:
        turn = _turns.get(id(model))
        if turn is None:
            turn = _turns[id(model)] = Turn(model)
        return turn
