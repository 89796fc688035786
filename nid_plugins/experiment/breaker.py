"""A circuit breaker: a model that fails again and again is left alone for a while."""

from __future__ import annotations

import time
from typing import Literal

from nid_plugins.turns import Turn

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Counts failures in a row, and says whether to ask.

    Closed, it lets every call through. After ``failures`` failures in a row it is open for ``seconds``; then one call
    is let through (half-open), whose success closes it and whose failure opens it again.

    Args:
        failures: Failures in a row that open it.
        seconds: How long it stays open.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._limit, self._seconds = failures, seconds
        self._lock = Turn()
        self._row = 0
        self._until: float | None = None
        self._trying_since: float | None = None

    @property
    def state(self) -> State:
        """``"closed"``, ``"open"`` or ``"half-open"``: the next call, or one under way, decides."""
        if self._until is None:
            return "closed"
        return "open" if time.monotonic() < self._until else "half-open"

    def allows(self) -> bool:
        """Return whether a call may be made; its outcome must then be told."""
        if self._until is None:
            return True
        with self._lock:
            now = time.monotonic()
            if self._until is None:
                return True
            # A trial whose outcome was never told, its thread having died, does not keep others out for good.
            if now < self._until or (
                self._trying_since is not None and now - self._trying_since < self._seconds
            ):
                return False
            self._trying_since = now
            return True

    def succeeded(self) -> None:
        """Tell that a call that was allowed has succeeded."""
        if self._row == 0 and self._until is None:
            return
        with self._lock:
            if self._until is None or self._trying_since is not None:
                self._row, self._until, self._trying_since = 0, None, None

    def failed(self) -> None:
        """Tell that a call that was allowed has failed."""
        with self._lock:
            self._row += 1
            if self._row >= self._limit or self._trying_since is not None:
                self._until = time.monotonic() + self._seconds
                self._trying_since = None
