"""One variant's model in service: asked, timed, given up on, and counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nid_plugins.errors import FrameError, ModelError
from nid_plugins.experiment.workers import Workers
from nid_plugins.turns import Turn
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.experiment.breaker import Breaker, State
    from nid_plugins.experiment.workers import Call
    from nid_plugins.frames import FloatMatrix

SLOW, BUSY, PAUSED, INVALID = "slow", "busy", "paused", "invalid output"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking a model for some rows.

    Attributes:
        predictions: Probabilities, shape (n,); None when there is no answer in time.
        seconds: How long the request waited.
        reason: Why there is no answer: ``"slow"`` (beyond the limit), ``"busy"`` (all its threads are, with calls that
            nobody waits for any more among them), ``"paused"`` (it failed too often and is left alone for a while),
            ``"invalid output"`` (wrong shape, not finite, no probability) or ``"raised ERROR"``; else None.
        error: What the model raised.
    """

    predictions: npt.NDArray[np.float64] | None
    seconds: float
    reason: str | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class ArmStatus:
    """What a variant's model has done so far.

    Attributes:
        variant: Name of the variant.
        state: Of its circuit breaker: ``"closed"`` (in service), ``"open"`` (paused), ``"half-open"`` (the next call decides).
        calls: Times it was asked; while paused it is not.
        rows: Rows it has answered.
        seconds: Time those answers took, all together.
        failures: Calls without an answer in time.
        fallbacks: Rows of its units the control answered.
        busy: Calls under way in its threads, abandoned ones included.
        last_error: What the last failure was.
    """

    variant: str
    state: State
    calls: int
    rows: int
    seconds: float
    failures: int
    fallbacks: int
    busy: int
    last_error: str | None


class Arm:
    """A variant's model.

    Args:
        name: Of the variant.
        box: The model.
        breaker: Decides whether to ask; None to ask always.
        limit: Seconds a request waits for it; None for as long as it takes, without a thread of its own.
        workers: Threads, where there is a limit.
    """

    def __init__(
        self,
        name: str,
        box: BlackBox,
        breaker: Breaker | None,
        *,
        limit: float | None = None,
        workers: int = 0,
    ) -> None:
        self.name = name
        self.box = box
        self._breaker = breaker
        self._limit = limit
        self._workers = Workers(f"nid-{name}", workers) if limit is not None else None
        self._counting = Turn()
        self._calls = self._rows = self._failures = self._fallbacks = 0
        self._seconds = 0.0
        self._last_error: str | None = None

    def ask(self, rows: FloatMatrix) -> Outcome:
        """Return the answer for rows of shape (n, p), or why there is none in time."""
        if self._breaker is not None and not self._breaker.allows():
            with self._counting:
                self._fallbacks += len(rows)
            return Outcome(None, 0.0, PAUSED)
        started = time.perf_counter()
        try:
            outcome = self._asked(rows, started)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, warnings made errors included
            self._last_error = one_line(error)
            outcome = Outcome(None, time.perf_counter() - started, reason_of(error), error)
        self._count(outcome, len(rows))
        return outcome

    def refuse(self, rows: int, error: FrameError) -> Outcome:
        """Return the outcome of rows the model cannot take. Nothing is wrong with the model."""
        with self._counting:
            self._fallbacks += rows
            self._last_error = one_line(error)
        return Outcome(None, 0.0, reason_of(error))

    def _asked(self, rows: FloatMatrix, started: float) -> Outcome:
        if self._limit is None or self._workers is None:
            predictions = self.box.probabilities_of(rows)
            return Outcome(predictions, time.perf_counter() - started)

        def work(call: Call) -> npt.NDArray[np.float64] | None:
            with self.box.turn:  # the wait for it is part of what the request sees
                return None if call.abandoned else self.box.probabilities_of(rows)

        call = self._workers.submit(work)
        if call is None:
            self._last_error = f"{self._workers.busy} calls under way already"
            return Outcome(None, 0.0, BUSY)
        if not call.wait(max(0.0, started + self._limit - time.perf_counter())):
            self._last_error = f"no answer within {self._limit * 1000:g} ms"
            return Outcome(None, time.perf_counter() - started, SLOW)
        if isinstance(call.error, Exception):
            raise call.error
        if call.error is not None:  # SystemExit and the like were meant for the thread, not for the request
            raise ModelError("the model ended its thread", received=repr(call.error)) from call.error
        seconds = call.ended - started
        if seconds > self._limit or call.result is None:
            self._last_error = f"{seconds * 1000:.1f} ms"
            return Outcome(None, time.perf_counter() - started, SLOW)
        return Outcome(call.result, seconds)

    def _count(self, outcome: Outcome, rows: int) -> None:
        failed = outcome.predictions is None
        with self._counting:
            self._calls += 1
            if failed:
                self._failures += 1
                self._fallbacks += rows
            else:
                self._rows += rows
                self._seconds += outcome.seconds
        if self._breaker is not None:
            (self._breaker.failed if failed else self._breaker.succeeded)()

    def status(self) -> ArmStatus:
        """Return what it has done so far."""
        with self._counting:
            return ArmStatus(
                self.name,
                self._breaker.state if self._breaker is not None else "closed",
                self._calls,
                self._rows,
                self._seconds,
                self._failures,
                self._fallbacks,
                self._workers.busy if self._workers is not None else 0,
                self._last_error,
            )

    def close(self) -> None:
        """Let its threads end."""
        if self._workers is not None:
            self._workers.close()


def reason_of(error: BaseException) -> str:
    """Return an error as the reason of a fallback: a word or two, for counting."""
    if isinstance(error, ModelError) and error.__cause__ is None:
        return INVALID
    return f"raised {type(error.__cause__ or error).__name__}"
