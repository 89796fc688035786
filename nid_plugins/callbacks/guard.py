"""Keeping what goes wrong in a callback from the training it looks at: each trouble is said once."""

from __future__ import annotations

import contextlib
import re
import warnings
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nid_plugins.errors import NidWarning, SettingError
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nid_plugins.callbacks.record import Check
    from nid_plugins.callbacks.sinks import Sink

T = TypeVar("T")

TRIES = 3
"""Writes in a row that may fail before a sink is left out: it may be slow to fail, e.g. a server that does not answer."""


class Guard:
    """Runs what may fail, and writes to sinks.

    Args:
        sinks: Objects with ``write(check)`` and ``close()``.

    Raises:
        SettingError: One of them has not.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        if not hasattr(sinks, "__iter__"):
            raise SettingError(
                "sinks are no list", received=repr(sinks), expected="e.g. [JsonLinesSink(path)]"
            )
        listed = list(sinks)
        for sink in listed:
            if isinstance(sink, type) or not all(
                callable(getattr(sink, n, None)) for n in ("write", "close")
            ):
                raise SettingError(
                    "not a sink",
                    received=repr(sink),
                    expected="an object with write(check) and close(), e.g. JsonLinesSink(path)",
                )
        self._sinks = [(sink, 0) for sink in listed]
        self._said: set[str] = set()

    def run(self, what: str, call: Callable[[], T]) -> T | None:
        """Return what a call returns, or None where it raised, which is said once for each ``what``."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - training must go on whatever it was
            self.say(f"{what} failed, and training goes on without: {one_line(error)}", key=what)
            return None

    def say(self, sentence: str, key: str | None = None) -> None:
        """Warn, once for each key, by default the sentence without its numbers."""
        key = _without_numbers(sentence) if key is None else key
        if key not in self._said:
            self._said.add(key)
            warnings.warn(sentence, NidWarning, stacklevel=2)

    @contextlib.contextmanager
    def warnings(self) -> Iterator[None]:
        """Let each warning of the block through once, whatever numbers are in it; the next check would repeat it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                found = list(caught)
        for warning in found:
            key = f"{warning.category.__name__} {_without_numbers(str(warning.message))}"
            if key not in self._said:
                self._said.add(key)
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno, source=warning.source
                )

    def write(self, check: Check) -> None:
        """Give a check to every sink; one that fails :data:`TRIES` times in a row is left out."""
        for place, (sink, failed) in enumerate(self._sinks):
            if failed >= TRIES:
                continue
            what = f"the sink {type(sink).__name__} (number {place + 1})"
            ok = self.run(what, partial(_written, sink, check))
            self._sinks[place] = (sink, 0 if ok else failed + 1)

    def close(self) -> None:
        """Close every sink."""
        for place, (sink, _) in enumerate(self._sinks):
            self.run(f"closing the sink {type(sink).__name__} (number {place + 1})", sink.close)


def _written(sink: Sink, check: Check) -> bool:
    sink.write(check)
    return True


def _without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.,e+-]*", "#", text)
