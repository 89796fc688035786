"""The base logit of every row, once for each held-out fold, and what is added to it without that fold."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.members import MemberIds
from nid_plugins.crosses.offsets import calibrate, fit_offsets, sigmoid, softplus

if TYPE_CHECKING:
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.frames import FloatMatrix

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.integer[Any]]

_SWEEPS = 2  # of backfitting


class HeldOutBase:
    """The base logit of every row, once for each held-out fold: whatever is added was fitted without that fold.

    Rows are sorted by fold, so that a held-out fold is a slice.
    """

    def __init__(
        self, logits: Floats, label: Floats, fold_of: npt.NDArray[np.intp], l2: float | None
    ) -> None:
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(fold_of)) + 1, [len(fold_of)]))
        self.folds = [Fold(int(a), int(b), logits, label) for a, b in itertools.pairwise(bounds)]
        self._l2 = l2
        self._rows = len(label)

    def gain(self, ids: Ids, size: int) -> tuple[float, float]:
        """Return mean and standard error of the fall in held-out log-loss by offsets for these ids."""
        falls = np.concatenate(
            [fold.held_out_fall(fold.fit(ids, size, self._l2)[ids[fold.held]]) for fold in self.folds]
        )
        return float(falls.mean()), float(falls.std(ddof=1) / np.sqrt(self._rows))

    def add(self, ids: Ids, size: int) -> None:
        """Add offsets for these ids to the base."""
        for fold in self.folds:
            fold.move(fold.fit(ids, size, self._l2)[ids])

    def add_main_effects(self, rows: FloatMatrix, crosses: CrossFeatures) -> float:
        """Recalibrate, add offsets of every member field, and return the gain."""
        members = MemberIds(rows, crosses.schema, crosses.edges)
        used = [
            name for name in crosses.schema.names if any(name in cross.fields for cross in crosses.crosses)
        ]
        compacted = [compact(members[name]) for name in used]
        falls = [fold.add_main_effects(compacted) for fold in self.folds]
        return float(np.concatenate(falls).mean())


class Fold:
    """One held-out fold, and the base logits of all rows as they are when it is held out."""

    def __init__(self, start: int, stop: int, logits: Floats, label: Floats) -> None:
        self.held = slice(start, stop)
        self._logits = logits.copy()
        self._label = label
        self._train_label = self._train(label)
        self._refresh()

    def fit(self, ids: Ids, size: int, l2: float | None) -> Floats:
        """Return offsets fitted on the rows that are not held out."""
        return fit_offsets(
            self._train(ids),
            size,
            self._train_logits,
            self._train_label,
            l2=l2,
            probability=self._train_probability,
        )

    def move(self, offsets: Floats) -> None:
        """Add to the logits of all rows, shape (n,)."""
        self._logits += offsets
        self._refresh()

    def held_out_fall(self, offsets: Floats) -> Floats:
        """Return by how much the log-loss of each held-out row falls when these are added to their logits."""
        logits, label = self._logits[self.held], self._label[self.held]
        return self._held_softplus - softplus(logits + offsets) + label * offsets

    def add_main_effects(self, members: list[tuple[npt.NDArray[np.intp], int]]) -> Floats:
        """Recalibrate and backfit offsets of each field; return the fall in log-loss of held-out rows."""
        intercept, slope = calibrate(self._train_logits, self._train_label)
        given = self._logits
        before = self._held_softplus - self._label[self.held] * given[self.held]
        self._logits = intercept + slope * given
        own: list[Floats] = [np.zeros(size) for _, size in members]
        for _ in range(_SWEEPS):
            for j, (ids, size) in enumerate(members):
                self.move(-own[j][ids])
                own[j] = self.fit(ids, size, None)
                self.move(own[j][ids])
        return before - (self._held_softplus - self._label[self.held] * self._logits[self.held])

    def _train(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([values[: self.held.start], values[self.held.stop :]])

    def _refresh(self) -> None:
        self._train_logits = self._train(self._logits)
        self._train_probability = sigmoid(self._train_logits)
        self._held_softplus = softplus(self._logits[self.held])


def compact(ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], int]:
    """Number the ids that occur from 1, keeping 0 for rows without one; return ids and their number."""
    values, numbers = np.unique(ids, return_inverse=True)
    first = 0 if values[0] < 0 else 1
    return numbers + first, len(values) + first
