"""How per-unit sums differ between units, after each number of days of a past log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import SettingError
from nid_plugins.experiment.metrics import IMPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from nid_plugins.experiment.metrics import Metric
    from nid_plugins.experiment.past import Past

ROUNDING = 1e-12
MOST = 1e6
"""A relative change larger than any."""
NAMES = ("numerator", "denominator", "covariate", "covariate_denominator")


@dataclass(frozen=True)
class Spread:
    """Moments of the per-unit sums after some days.

    Args:
        count: Units.
        mean: Of the sums in the order of ``NAMES``, shape (2,) without a covariate, else (4,).
        cov: Their covariances, of that size both ways.
        ratio: Whether the metric is a ratio of sums; else it is a mean over units, and both denominators are 1.
        counts: Whether the numerator counts events, such as clicks; else it sums values, such as revenue.
    """

    count: int
    mean: npt.NDArray[np.float64]
    cov: npt.NDArray[np.float64]
    ratio: bool
    counts: bool = False

    def aggregates(self, times: float = 1.0) -> Any:
        """Return the moments as tea-tasting takes them, with so many times the variances and covariances."""
        from tea_tasting.aggr import Aggregates

        names = NAMES[: len(self.mean)]
        pairs = [(a, b) for a in range(len(names)) for b in range(a + 1, len(names))]
        return Aggregates(
            count_=self.count,
            mean_={name: float(self.mean[i]) for i, name in enumerate(names)},
            var_={name: times * float(self.cov[i, i]) for i, name in enumerate(names)},
            cov_={(names[a], names[b]): times * float(self.cov[a, b]) for a, b in pairs},
        )

    @property
    def denominator(self) -> str | None:
        """Name of the denominator in the aggregates."""
        return NAMES[1] if self.ratio else None

    @property
    def covariate_denominator(self) -> str | None:
        """Name of the covariate's denominator in the aggregates."""
        return NAMES[3] if self.ratio else None

    @property
    def baseline(self) -> float:
        """The metric's value."""
        return float(self.mean[0] / (self.mean[1] if self.ratio else 1.0))

    def noise(self, top: int) -> float:
        """Return the variance roundings alone can make of what is the same in each unit.

        Args:
            top: Which sum: 0 for the metric's, 2 for the covariate's.
        """
        if not self.ratio:
            return 1e-26 * float(self.mean[top]) ** 2
        # The delta method takes large numbers from each other.
        below = float(self.mean[top + 1])
        size = 1.0 + float(self.cov[top + 1, top + 1]) / below**2
        return 1e-14 * (float(self.mean[top]) / below) ** 2 * size

    def variances(self) -> tuple[float, float, float]:
        """Return the variance of a unit's part in the metric, its covariance with the covariate, the covariate's variance."""
        aggregates = self.aggregates()
        metric = (NAMES[0], self.denominator)
        variance = float(aggregates.ratio_var(*metric))
        if len(self.mean) == 2:
            return variance, 0.0, 0.0
        covariate = (NAMES[2], self.covariate_denominator)
        return (
            variance,
            float(aggregates.ratio_cov(*metric, *covariate)),
            float(aggregates.ratio_var(*covariate)),
        )

    def of_both(self, change: float, ratio: float, *, covariate: bool) -> float:
        """Return the variance that, taken for control and treatment alike, gives their difference the variance it has.

        A treatment that changes the metric by a share of it is taken to change it by that share in every unit. The part of
        the variance that comes from how units differ, and of summed values all of it, then grows with the square
        of the metric. Events that happen or not keep their own: with one in a unit that is p(1 - p) of the rate p of each
        variant, the usual formula for two proportions. The covariance with the covariate grows as the metric does; its
        coefficient is that of both variants together, as in the analysis.

        Args:
            change: Relative change of the metric.
            ratio: Units of the treatment over units of the control.
            covariate: Whether the covariate takes its part out.

        Returns:
            The variance relative to the control's, which is 1.
        """
        variance, covariance, other = self.variances()
        grown = (1.0 + change) ** 2
        if self.counts:
            below = float(self.mean[1]) if self.ratio else 1.0
            event = float(self.mean[0]) / below**2 / variance
            grown -= change * (1.0 + change) * event
        explained = covariance**2 / (variance * other) if covariate else 0.0
        if explained > 1.0 - ROUNDING:  # nothing is left that could grow
            return 1.0
        pulled = 1.0 + change * ratio / (1.0 + ratio)
        control = 1.0 - explained * (2.0 * pulled - pulled**2)
        # Events that are nearly certain cannot happen so much more often: at most they no longer vary.
        treatment = max(0.0, grown - explained * (2.0 * pulled * (1.0 + change) - pulled**2))
        return (ratio * control + treatment) / ((1.0 + ratio) * (1.0 - explained))

    def grown(self, change: float, ratio: float, *, covariate: bool) -> float:
        """Return the smallest change that is found where the treatment varies as :meth:`of_both` says.

        Args:
            change: The smallest one that would be found if it varied as the control does.
            ratio: As for :meth:`of_both`.
            covariate: As for :meth:`of_both`.

        Raises:
            SettingError: There is none: the variance grows faster than the change does.
        """
        from scipy.optimize import brentq

        def missing(size: float) -> float:
            return change * math.sqrt(self.of_both(size, ratio, covariate=covariate)) - size

        if not missing(MOST) < 0:
            raise SettingError(
                "so few units find no change, however large",
                field="units",
                received=f"a change of {change:.0%}, before it adds to the variance",
                expected="more units",
            )
        return float(brentq(missing, 0.0, MOST, xtol=1e-12, rtol=1e-12))


def windows(past: Past, metric: Metric, covariate: str | None) -> Iterator[Spread]:
    """Yield the moments of the units seen after 1, 2, ... days, each from those before it.

    Args:
        past: Impressions.
        metric: A ratio or a mean.
        covariate: Column, summed over a unit's impressions; for a ratio it is a rate, over impressions.
    """
    ratio = metric.kind == "ratio"
    columns = [
        str(metric.numerator if ratio else metric.value),
        str(metric.denominator) if ratio else IMPRESSIONS,
    ]
    columns += [] if covariate is None else [covariate, IMPRESSIONS]
    top = past.values[columns[0]]
    counts = bool((top >= 0).all() and (top == np.floor(top)).all())
    sums = np.zeros((past.units, len(columns)))
    rows = np.zeros(past.units)
    order = np.argsort(past.days, kind="stable")
    ends = np.searchsorted(past.days[order], np.arange(past.window), side="right")
    start = 0
    for stop in ends:
        part = order[start:stop]
        start = int(stop)
        codes = past.codes[part]
        rows += np.bincount(codes, minlength=past.units)
        for j, name in enumerate(columns):
            sums[:, j] += np.bincount(codes, weights=past.values[name][part], minlength=past.units)
        seen = sums if rows.all() else sums[rows > 0]
        cov = np.cov(seen, rowvar=False) if len(seen) > 1 else np.full((len(columns),) * 2, math.nan)
        yield Spread(len(seen), seen.mean(axis=0), cov, ratio, counts)


def solved(test: Any, moments: Any, wanted: str) -> Any:
    """Return what tea-tasting finds for one parameter of a test's power.

    Raises:
        SettingError: The options leave the numbers of a computer.
    """
    try:
        (found,) = test.solve_power_from_aggregates(moments, wanted)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        raise SettingError(
            "no size for such numbers", received=str(error)[:200], hint="Check mde, alpha, power and units"
        ) from error
    if not math.isfinite(getattr(found, wanted)):
        raise SettingError("no size for such numbers", hint="Check mde, alpha, power and units")
    return found
