"""Users of simulated experiments: unlike in how often they come and how often they click, with heavy tails.

A world draws per-unit sums the way a log would give them: numerator, denominator, covariate and its denominator, in the order
the units arrive. The treatment multiplies what it changes by ``1 + lift``, so that the true relative effect is the lift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]
CTR = 0.05
"""Mean click probability of the control."""
MEAN_REVENUE = 0.4
"""Mean revenue of the control's units, from the worlds' own formula (see :func:`revenue`)."""


def impressions_geometric(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Return impressions of each unit: geometric, 5 on average."""
    return rng.geometric(0.2, n)


def impressions_heavy(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Return impressions of each unit: rounded log-normal with sigma 1.2, 5 on average; one unit in 1,000 has 80 or more."""
    return 1 + np.floor(rng.lognormal(0.62, 1.2, n)).astype(np.int64)


def clicks(
    rng: np.random.Generator, counts: npt.NDArray[np.int64], treated: npt.NDArray[np.bool_], lift: float
) -> Floats:
    """Return clicks, impressions, summed base predictions, impressions: shape (n, 4).

    Units' click probabilities are Beta(2, 38): mean 0.05, and a deviation between units of 0.034. The base model knows a
    unit's probability up to a log-normal error with sigma 0.5.
    """
    n = len(counts)
    p = rng.beta(2.0, 38.0, n)
    hits = rng.binomial(counts, np.minimum(p * np.where(treated, 1.0 + lift, 1.0), 1.0))
    known = p * rng.lognormal(-0.125, 0.5, n)
    return np.column_stack([hits, counts, counts * known, counts]).astype(np.float64)


def revenue(
    rng: np.random.Generator, counts: npt.NDArray[np.int64], treated: npt.NDArray[np.bool_], lift: float
) -> Floats:
    """Return revenue of each unit, ones, revenue expected before, ones: shape (n, 4).

    A click brings 1.6 on average, log-normal with sigma 1.5: most of the revenue comes from few clicks.
    """
    n = len(counts)
    p = rng.beta(2.0, 38.0, n)
    hits = rng.binomial(counts, p)
    owners = np.repeat(np.arange(n), hits)
    amounts = rng.lognormal(np.log(1.6) - 1.125, 1.5, len(owners))
    money = np.bincount(owners, amounts, n) * np.where(treated, 1.0 + lift, 1.0)
    ones = np.ones(n)
    return np.column_stack([money, ones, counts * p, ones])


@dataclass(frozen=True)
class World:
    """A kind of experiment.

    Args:
        title: What tables call it.
        counts: Draws impressions of each unit.
        sums: Draws per-unit sums.
        value: The metric's expected value of the control.
        ratio: Whether the metric is a ratio, else a mean.
    """

    title: str
    counts: Callable[[np.random.Generator, int], npt.NDArray[np.int64]]
    sums: Callable[[np.random.Generator, npt.NDArray[np.int64], npt.NDArray[np.bool_], float], Floats]
    value: float
    ratio: bool = True

    def draw(
        self, rng: np.random.Generator, n: int, lift: float = 0.0, share: float = 0.5
    ) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return per-unit sums of ``n`` units and whether each is treated."""
        treated = rng.random(n) < share
        return self.sums(rng, self.counts(rng, n), treated, lift), treated


WORLDS = {
    "geometric": World("CTR, geometric visits", impressions_geometric, clicks, CTR),
    "heavy": World("CTR, heavy-tailed visits", impressions_heavy, clicks, CTR),
    "revenue": World("revenue, heavy-tailed", impressions_geometric, revenue, MEAN_REVENUE, ratio=False),
}


def returning(
    rng: np.random.Generator, n: int, looks: int, treated: npt.NDArray[np.bool_], lift: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return impressions and clicks of each unit up to each look, both of shape (looks, n): units come back all the time."""
    counts = impressions_heavy(rng, n)
    owners = np.repeat(np.arange(n), counts)
    p = rng.beta(2.0, 38.0, n) * np.where(treated, 1.0 + lift, 1.0)
    hit = rng.random(len(owners)) < p[owners]
    cells = rng.integers(0, looks, len(owners)) * n + owners
    seen = np.bincount(cells, minlength=looks * n).reshape(looks, n).cumsum(axis=0)
    hits = np.bincount(cells[hit], minlength=looks * n).reshape(looks, n).cumsum(axis=0)
    return seen, hits
