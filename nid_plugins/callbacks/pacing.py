"""Keeping the time spent on looking at a model within a share of the time spent on training it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SMOOTHING = 0.5
"""Weight of the last measurement in a cost; the first call of a model is often slower than the rest."""

MARGIN = 0.95
"""Share of the budget that is planned with; the rest is for what cannot be foreseen, so that the whole stays inside."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a check may do.

    Args:
        instances: Most instances it may explain; 0: put the check off.
        screen: Whether there is time for the screening of crosses.
    """

    instances: int
    screen: bool


class Pacing:
    """Two clocks, one of the training and one of everything else, and what each part of a check costs.

    Unused budget is carried forward, and so is a debt: what is spent is at all times compared with what the whole of
    the training up to then allows.

    Args:
        budget: Seconds that may be spent for each second of training; None for no limit.
        minimum: Fewest instances worth a check.
        clock: Returns seconds.

    Attributes:
        trained: Seconds of training so far.
        spent: Seconds of everything else so far.
    """

    def __init__(
        self, budget: float | None, minimum: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.budget = budget
        self.minimum = minimum
        self.trained = 0.0
        self.spent = 0.0
        self._clock = clock
        self._mark: float | None = None
        self._away = 0
        self._costs: dict[str, float] = {}

    # The two clocks

    def start(self) -> None:
        """Training begins, or goes on after :meth:`stop`."""
        if self._mark is None:
            self._mark = self._clock()

    def stop(self) -> None:
        """Training has ended: time does not count until :meth:`start`."""
        if self._mark is not None and not self._away:
            self.trained += self._clock() - self._mark
        self._mark = None

    def __enter__(self) -> None:
        """Leave the training for something that counts against the budget."""
        if not self._away and self._mark is not None:
            now = self._clock()
            self.trained += now - self._mark
            self._mark = now
        self._away += 1

    def __exit__(self, *error: object) -> None:
        """Go back to the training."""
        self._away -= 1
        if not self._away and self._mark is not None:
            now = self._clock()
            self.spent += now - self._mark
            self._mark = now

    @property
    def share(self) -> float:
        """Seconds spent for each second of training; 0 before there was any."""
        return self.spent / self.trained if self.trained > 0 else 0.0

    def left(self) -> float:
        """Return the seconds that may be planned with from now on; negative when more was spent than allowed."""
        if self.budget is None:
            return float("inf")
        running = 0.0 if self._mark is None or not self._away else self._clock() - self._mark
        return MARGIN * self.budget * self.trained - self.spent - running

    def now(self) -> float:
        """Return the clock's seconds."""
        return self._clock()

    # What things cost

    def measured(self, part: str, seconds: float) -> None:
        """Take note of what a part of a check took: ``"instance"`` (one), ``"screen"`` or ``"rest"``."""
        before = self._costs.get(part)
        self._costs[part] = seconds if before is None else before + SMOOTHING * (seconds - before)

    def cost(self, part: str) -> float | None:
        """Return what a part is expected to take, or None when it has not been done yet."""
        return self._costs.get(part)

    def plan(self, most: int, *, screen: bool) -> Plan:
        """Return what a check may do now.

        Before the first check nothing is known: it may do everything, and :meth:`may_go_on` ends it.

        Args:
            most: Instances there are.
            screen: Whether crosses are to be screened at all.
        """
        each = self.cost("instance")
        if each is None or self.budget is None:
            # Unless the checks before have all failed, and taken their time.
            return Plan(most if self.spent == 0 or self.left() > 0 else 0, screen)
        least = min(self.minimum, most)
        free = self.left() - (self.cost("rest") or 0.0)
        with_screening = free - (self.cost("screen") or 0.0)
        if screen and with_screening >= least * each:
            return Plan(self._affordable(with_screening, each, most), screen=True)
        if free < least * each:
            return Plan(0, screen=False)
        # Saved up for: otherwise the instances of every check would use up what screening needs.
        spare = free / 2 if screen else free
        return Plan(max(least, self._affordable(spare, each, most)), screen=False)

    @staticmethod
    def _affordable(seconds: float, each: float, most: int) -> int:
        return min(most, int(seconds / each)) if each > 0 else most

    def may_go_on(self, done: int, more: int, elapsed: float, *, screen: bool) -> bool:
        """Return whether a check that has taken some instances has time for more.

        Args:
            done: Instances taken.
            more: Instances asked for.
            elapsed: Seconds those taken have needed.
            screen: Whether time for the screening has to be left over.
        """
        if done < self.minimum:
            return True
        still = self.cost("rest") or 0.0
        if screen:  # where its cost is not known yet, it gets as much time as the instances have had
            still += elapsed if (known := self.cost("screen")) is None else known
        return self.left() - still >= more * elapsed / done

    def state_dict(self) -> dict[str, float]:
        """Return the two clocks' readings."""
        return {"trained": self.trained, "spent": self.spent}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Set the two clocks; costs are measured anew, since the machine may be another."""
        self.trained = float(state["trained"])
        self.spent = float(state["spent"])
