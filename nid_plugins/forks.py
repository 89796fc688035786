"""Objects that must start afresh in a forked process: their locks may be held, and their threads do not exist there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What can start afresh."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent process: locks, threads, open files."""


_known: weakref.WeakSet[Forked] = weakref.WeakSet()


def renew_after_fork(thing: Forked) -> None:
    """Call ``thing.after_fork()`` in every process forked while it lives."""
    _known.add(thing)


def _after_fork() -> None:
    for thing in list(_known):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
