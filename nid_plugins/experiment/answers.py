"""What the router answers a request with, and the exposures in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError
from nid_plugins.experiment.exposures import Exposures

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """Predictions of one request, in the order of its rows, and how each came about.

    Attributes:
        predictions: Probabilities, shape (n,).
        impressions: Ids of the rows; clicks refer to them.
        units: Unit ids as text.
        assigned: Index into ``names`` of the variant a row's unit is in, shape (n,), int32; -1: not in the experiment.
        answered: The same of the variant whose model answered; never -1.
        reasons: Why the control answered instead, one text or None a row; None altogether if it nowhere did.
        latency_ms: What the answer of a row's part of the request took, shape (n,), float32; a wait in vain counts.
        covariate: The control's prediction, NaN where it was not asked for, shape (n,).
        request: Id of the request, one for all or one a row.
        timestamp: When it was, datetime64[us] in UTC, one for all or one a row.
        experiment: Name of the design.
        names: Names of the variants, control first.
    """

    predictions: Floats
    impressions: list[str]
    units: list[str]
    assigned: npt.NDArray[np.int32]
    answered: npt.NDArray[np.int32]
    reasons: npt.NDArray[np.object_] | None
    latency_ms: npt.NDArray[np.float32]
    covariate: Floats
    request: str | list[str]
    timestamp: Any
    experiment: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def variants(self) -> npt.NDArray[np.object_]:
        """Name of the variant of each row's unit, None for a unit that is not in the experiment."""
        return self._named(self.assigned)

    @property
    def served(self) -> npt.NDArray[np.object_]:
        """Name of the variant whose model answered, the control's outside the experiment."""
        return self._named(self.answered)

    @property
    def fallback(self) -> npt.NDArray[np.bool_]:
        """Whether the control answered instead of the unit's own variant."""
        fallen: npt.NDArray[np.bool_] = (self.assigned >= 0) & (self.assigned != self.answered)
        return fallen

    def _named(self, index: npt.NDArray[np.int32]) -> npt.NDArray[np.object_]:
        return np.array([*self.names, None], dtype=object)[index]  # -1 is the last one

    def exposures(self, rows: Any = None, covariate: Any = None) -> Exposures:
        """Return the events of the rows that are in the experiment and have an answer.

        Args:
            rows: Only these: positions or a mask. By default all. When they are some of several candidates the model chose
                between, the covariate is the mean of the control's predictions over **all** candidates of the unit in this
                answer: which row was shown depends on the variant, so adjusting for the control's prediction of that
                row alone would bias the effect.
            covariate: Something else instead, shape (n,), known before the variant had any influence.

        Raises:
            FrameError: Not rows of this answer, or a covariate of another length.
        """
        inside = (self.assigned >= 0) & ~np.isnan(self.predictions)
        values = self.covariate
        if rows is not None:
            inside &= _mask(rows, len(self))
            values = self._mean_of_candidates()
        if covariate is not None:
            values = np.asarray(covariate, dtype=np.float64)
            if values.shape != (len(self),):
                raise FrameError(
                    "the covariate has another length", received=values.shape, expected=f"({len(self)},)"
                )
        columns: dict[str, Any] = {
            "experiment": self.experiment,
            "unit": self.units,
            "variant": self.variants,
            "served": self.served,
            "fallback": False if self.reasons is None else self.fallback,
            "reason": self.reasons,
            "impression": self.impressions,
            "request": self.request,
            "timestamp": self.timestamp,
            "latency_ms": self.latency_ms,
            "prediction": self.predictions,
            "covariate": values,
        }
        events = Exposures(columns, len(self))
        return events if inside.all() else events.take(np.flatnonzero(inside))

    def _mean_of_candidates(self) -> Floats:
        if np.isnan(self.covariate).all():
            return self.covariate
        _, group = np.unique(np.array(self.units, dtype=object), return_inverse=True)
        known = ~np.isnan(self.covariate)
        count = np.bincount(group, weights=known)
        total = np.bincount(group, weights=np.where(known, self.covariate, 0.0))
        means = np.full(len(count), np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means[group]


def _mask(rows: Any, n: int) -> npt.NDArray[np.bool_]:
    given = np.asarray(rows)
    if given.dtype == bool and given.shape == (n,):
        return given
    mask = np.zeros(n, dtype=bool)
    if given.size == 0 and given.ndim == 1:
        return mask
    if given.dtype.kind not in "iu" or given.ndim != 1 or given.min() < 0 or given.max() >= n:
        raise FrameError(
            "not rows of the answer",
            received=repr(rows)[:80],
            expected=f"positions from 0 to {n - 1}, or a mask of shape ({n},)",
        )
    mask[given] = True
    return mask
