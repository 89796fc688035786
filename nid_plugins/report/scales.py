"""Axes of charts: from values to places in a drawing, with ticks at round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis.

    Args:
        low: Value at its start.
        high: Value at its end, above ``low``.
        start: Place of ``low``.
        end: Place of ``high``; may be below ``start``.
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, *, zero: bool = True, room: float = 0.04
    ) -> Scale:
        """Return the axis that holds all finite values, and zero if wanted, with some room on both sides."""
        known = [float(v) for v in values if math.isfinite(v)]
        if zero or not known:
            known.append(0.0)
        low, high = min(known), max(known)
        span = high - low
        if span <= abs(high) * 1e-9:
            span = abs(high) or 1.0
            low, high = low - span / 2, high + span / 2
        return cls(low - room * span, high + room * span, start, end)

    def __call__(self, value: float) -> float:
        """Return the place of a value, that of the nearer end if it is beyond the axis."""
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values on the axis, at most so many."""
        rough = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * s for s in STEPS if size * s >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]
