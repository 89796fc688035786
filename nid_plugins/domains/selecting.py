"""Which sets of features an additive model of one instance needs, and how large each is.

The model is the paper's: a linear model of the masks plus, for each interaction, the product of its members' masks,
which is one where all of them are on. A motif of six letters is then one term; in the centred coding that the ranking
of many rows uses it would be spread over all 57 sets inside it.

Terms are taken one by one, each the best there is for what the terms before leave, and only while they lower the error
on masks held out. A term is first moved to the best of its neighbours, one feature more or less, for as long as that
helps: a detector that finds pairs only still leads to larger sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.masks import r_squared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.masks import Floats, MaskDesign, Masks

EXTENSIONS = 24
"""Features tried, of those that look best, when a set is extended."""
STEPS = 40
"""Most moves of one set."""
SIGMAS = 2.0
"""Standard errors over held-out rows by which a term must lower the error."""
MOVE_SIGMAS = 3.0
"""Standard errors by which an extended set must fit better: the best of many extensions is better by chance alone."""


@dataclass(frozen=True, slots=True)
class Fit:
    """An additive model of one instance.

    Args:
        intercept: The target with every feature off.
        effects: What each feature adds when on, shape (p,).
        products: What each set adds when all of its members are on.
        r2_linear: Held-out R^2 of a linear model without the sets.
        r2: Held-out R^2 with them.
    """

    intercept: float
    effects: Floats
    products: Floats
    r2_linear: float
    r2: float


def product(masks: Masks, members: Members) -> Floats:
    """Return where all members are on, shape (M,)."""
    on: Masks = np.asarray(masks[:, list(members)].all(axis=1))
    return on.astype(np.float64)


def fit(design: MaskDesign, targets: Floats, sets: Sequence[Members]) -> Fit:
    """Fit the linear model and the one with the sets by least squares on the training rows."""
    masks, train, test = design.masks, design.train, design.test
    columns = np.column_stack(
        [np.ones(len(masks)), masks.astype(np.float64), *(product(masks, members) for members in sets)]
    )
    solution: Floats = np.linalg.lstsq(columns[train], targets[train], rcond=None)[0].astype(np.float64)
    left: Floats = targets[test] - columns[test] @ solution
    residual = design.residuals(targets[None])[0][test]
    p = masks.shape[1]
    return Fit(
        float(solution[0]),
        solution[1 : p + 1],
        solution[p + 1 :],
        float(r_squared(targets[test], residual)),
        float(r_squared(targets[test], left)),
    )


class Selector:
    """Forward selection of sets for one instance.

    Args:
        design: Random masks and their split.
        targets: Shape (M,).
        min_gain: Least held-out R^2 a set must add.
        fixed: Features that cannot interact, shape (p,).
    """

    def __init__(self, design: MaskDesign, targets: Floats, min_gain: float, fixed: Masks) -> None:
        self.design = design
        self.variance = float(targets[design.valid].var())
        self.min_gain = min_gain
        self.fixed = fixed
        self.left = design.residuals(targets[None])[0]
        self._taken: list[Floats] = []

    def select(self, found: Sequence[Members], limit: int) -> tuple[list[Members], list[float]]:
        """Return at most ``limit`` sets, the one that explains most first, and the held-out R^2 each added.

        Args:
            found: Sets to start from.
            limit: Most sets.
        """
        gains: dict[Members, float] = {}
        pool = list(dict.fromkeys(found))
        if self.variance <= 0 or not pool or not np.isfinite(self.variance):
            return [], []
        columns = self._clean([product(self.design.masks, members) for members in pool])
        while pool and len(gains) < limit:
            energy = self._energy(columns)
            best = int(energy.argmax())
            # Half, since the rows differ.
            if energy[best] < self.min_gain * self.variance / 2:
                break
            members, column = self._moved(pool[best], columns[best])
            gain = self._gain(column)
            if gain is None or members in gains:
                del pool[best]
                columns = np.delete(columns, best, axis=0)
                continue
            gains[members] = gain / self.variance
            unit = self._take(column)
            columns = columns - (columns[:, self.design.train] @ unit[self.design.train])[:, None] * unit
        ranked = sorted(gains, key=lambda members: -gains[members])
        return ranked, [gains[members] for members in ranked]

    def _clean(self, columns: Sequence[Floats]) -> Floats:
        """Return columns less what main effects and the sets taken so far explain of them on the training rows."""
        clean = self.design.residuals(np.array(columns))
        train = self.design.train
        for unit in self._taken:
            clean = clean - (clean[:, train] @ unit[train])[:, None] * unit
        return clean

    def _energy(self, columns: Floats) -> Floats:
        """Return the mean squared training error each column would take away."""
        train = columns[:, self.design.train]
        norms = (train**2).mean(axis=1)
        inner = train @ self.left[self.design.train] / train.shape[1]
        # What is left of a column that others span is rounding.
        floor = 1e-4
        energy: Floats = np.where(norms > floor, inner**2 / np.maximum(norms, floor), 0.0)
        return energy

    def _step(self, column: Floats) -> Floats:
        """Return what a column adds to the model, on all rows."""
        train = column[self.design.train]
        step: Floats = column * ((train @ self.left[self.design.train]) / max(float(train @ train), 1e-300))
        return step

    def _gain(self, column: Floats) -> float | None:
        """Return the fall of the mean squared validation error, or None where it may be chance."""
        valid = self.design.valid
        step, left = self._step(column)[valid], self.left[valid]
        better = step * (2.0 * left - step)
        gain = float(better.mean())
        enough = gain >= self.min_gain * self.variance and gain > SIGMAS * _error(better)
        return gain if enough else None

    def _take(self, column: Floats) -> Floats:
        train = column[self.design.train]
        self.left = self.left - self._step(column)
        unit = column / np.sqrt(train @ train)
        self._taken.append(unit)
        return unit

    def _moved(self, members: Members, column: Floats) -> tuple[Members, Floats]:
        """Return the set that fits best on the way from this one by single features."""
        for _ in range(STEPS):
            shorter = [tuple(m for m in members if m != out) for out in members] if len(members) > 2 else []
            longer = [tuple(sorted((*members, new))) for new in self._promising(members)]
            if not shorter and not longer:
                break
            columns = self._clean([product(self.design.masks, other) for other in [*shorter, *longer]])
            energy = self._energy(columns)
            best = int(energy.argmax())
            if best < len(shorter):
                better = energy[best] >= self._energy(column[None])[0]
            else:
                better = self._fits_better(columns[best], column)
            if not better:
                # Fewer features that do as well are the simpler answer.
                best = int(energy[: len(shorter)].argmax()) if shorter else -1
                if best < 0 or self._fits_better(column, columns[best], sigmas=1.0):
                    break
            members, column = [*shorter, *longer][best], columns[best]
        return members, column

    def _promising(self, members: Members) -> list[int]:
        """Return the features whose product with the set follows the residual best."""
        train = self.design.train
        both = product(self.design.masks, members)[train]
        masks = self.design.masks[train].astype(np.float64)
        inner = np.abs((both * self.left[train]) @ masks)
        inner[list(members)] = -1.0
        inner[self.fixed] = -1.0
        order = np.argsort(-inner, kind="stable")[:EXTENSIONS]
        return [int(k) for k in order if inner[k] >= 0]

    def _fits_better(self, new: Floats, old: Floats, sigmas: float = MOVE_SIGMAS) -> bool:
        train, valid = self.design.train, self.design.valid
        steps = self._step(new), self._step(old)
        errors = [(self.left - step) ** 2 for step in steps]
        better = (errors[1] - errors[0])[train]
        kept = float((errors[1] - errors[0])[valid].mean()) > 0
        return kept and float(better.mean()) > sigmas * _error(better)


def _error(values: Floats) -> float:
    return float(values.std() / np.sqrt(len(values)))
