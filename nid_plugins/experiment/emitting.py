"""Sending exposures to the hook and the sinks, whatever becomes of them there."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Protocol

from nid_plugins.errors import NidWarning, SettingError
from nid_plugins.turns import Turn
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nid_plugins.experiment.exposures import Exposures
    from nid_plugins.plugins import PluginManager


class Sink(Protocol):
    """Where exposures go. It is called from all threads of the router's users."""

    def write(self, events: Exposures, /) -> object:
        """Take the exposures of one request."""

    def flush(self) -> object:
        """Put what was taken where others can read it."""

    def close(self) -> object:
        """Flush and stop."""


class Emitter:
    """Sends events to ``nid_exposure`` and to sinks. Nothing it does raises: trouble is said once a sink and counted.

    Args:
        sinks: Objects with ``write(events)``, ``flush()`` and ``close()``.
        manager: Plug-ins with the hook; None for the process-wide ones.

    Raises:
        SettingError: Something is no sink.
    """

    def __init__(self, sinks: Iterable[Sink], manager: PluginManager | None) -> None:
        self._sinks: list[Any] = list(sinks) if hasattr(sinks, "__iter__") else [sinks]
        for sink in self._sinks:
            if isinstance(sink, type) or not all(
                callable(getattr(sink, name, None)) for name in ("write", "flush", "close")
            ):
                raise SettingError(
                    "not a sink",
                    field="sinks",
                    received=repr(sink),
                    expected="an object with write(events), flush() and close(), e.g. ParquetSink(folder)",
                )
        self._manager = manager
        self._lost = 0
        self._counting = Turn()
        self._said: set[int] = set()

    def emit(self, events: Exposures) -> None:
        """Send events to everyone."""
        if not len(events):
            return
        self._notify(events)
        for i, sink in enumerate(self._sinks):
            try:
                sink.write(events)
            except Exception as error:  # noqa: BLE001 - a sink may raise anything
                with self._counting:
                    self._lost += len(events)
                self._say(i, f"{sink!r} lost exposures, and is tried again: {one_line(error)}")
            else:
                self._said.discard(i)

    def _notify(self, events: Exposures) -> None:
        from nid_plugins.plugins import get_manager

        # Plug-ins are guarded by their manager; where warnings are errors, its warning comes out.
        with contextlib.suppress(Warning):
            (self._manager or get_manager()).notify("nid_exposure", events=events)

    def _say(self, sink: int, sentence: str) -> None:
        if sink in self._said:
            return
        self._said.add(sink)
        with contextlib.suppress(Warning):
            warnings.warn(sentence, NidWarning, stacklevel=2)

    @property
    def dropped(self) -> int:
        """Events lost: by sinks that raised, and by those that say so in ``dropped``."""
        own: Any = (getattr(sink, "dropped", 0) for sink in self._sinks)
        return self._lost + sum(n for n in own if isinstance(n, int))

    def flush(self) -> None:
        """Flush all sinks."""
        self._each("flush")

    def close(self) -> None:
        """Close all sinks."""
        self._each("close")

    def _each(self, what: str) -> None:
        for i, sink in enumerate(self._sinks):
            try:
                getattr(sink, what)()
            except Exception as error:  # noqa: BLE001 - the others must have their turn
                self._say(i, f"{sink!r} failed to {what}: {one_line(error)}")
