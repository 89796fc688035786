"""How many units and days an experiment needs, from a sample of past impressions.

The metric is a ratio of sums, or a mean, with units as what is independent; its variance is the delta method's (Deng, Knoblich
and Lu, KDD 2018), less what a covariate explains (CUPED: Deng, Xu, Kohavi and Walker, WSDM 2013). The number of units is
tea-tasting's, by the normal approximation, where treatments vary as they do that change every unit's own metric by ``mde``: of
proportions that is the usual p1(1 - p1) and p2(1 - p2); see :meth:`~nid_plugins.experiment.spread.Spread.of_both`.

The longer each unit is watched, the more impressions it has, so that the variance of a unit depends on the days. With
timestamps the days are those after which the units seen by then are enough, at the variance they have by then. Take the
sample by units, all impressions of some of them: a sample of impressions tears units apart.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import FrameError, MissingExtraError, NidWarning, SettingError
from nid_plugins.experiment import checks
from nid_plugins.experiment.design import Design
from nid_plugins.experiment.past import Traffic, read_past
from nid_plugins.experiment.sizes import Sizing
from nid_plugins.experiment.spread import Spread, solved, windows

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 3_650
"""Days after which an experiment is said never to end."""
MOST = 10**12
"""More units than there will ever be."""
LEAST = 4
"""Units of two variants together below which nothing is compared."""
FEW = 30
"""Units of a variant below which the normal approximation is not to be believed."""


def size(
    design: Design,
    logs: Any,
    *,
    units_per_day: float | None = None,
    covariate: str | None = None,
    timestamp: str | None = None,
) -> Sizing:
    """Return the units and days needed to find a change of ``design.mde`` in the primary metric.

    Treatments are taken to change the metric by so much in every unit, and to vary more for it.

    Every treatment is to find it against the control with the power of the design. With several treatments alpha is divided
    by their number, unless the correction is ``"none"``; Holm's and Benjamini and Hochberg's need no less where one treatment
    alone has an effect.

    Args:
        design: The plan.
        logs: Past impressions: any frame with the unit column and the columns of the primary metric, or a path or an Ibis
            table as :func:`nid_plugins.experiment.analyze` takes them.
        units_per_day: Units of a day, of the whole traffic. Without it, those of the logs' first day.
        covariate: Column that takes variance out, such as the base model's prediction; the primary metric's by default.
        timestamp: Column of moments; ``"timestamp"`` where there is one. Without moments, each day's units are taken as new.

    Returns:
        The size; keep it with ``dataclasses.replace(design, sizing=...)``.

    Raises:
        FrameError: A column is missing, ids or values are missing; one unit only; a metric without events or that does not
            vary; a covariate that does not vary.
        SettingError: ``units_per_day`` is not a number above 0.
        MissingExtraError: tea-tasting is not installed.
    """
    plan = _Plan(design, logs, units_per_day, covariate, timestamp)
    day, units = plan.reached(lambda spread: plan.units_for(spread, covariate=False))
    spread = plan.spread(day)
    per_variant = plan.per_variant(units)
    found: dict[str, Any] = {}
    if plan.covariate is not None:
        day_cuped, units_cuped = plan.reached(lambda spread: plan.units_for(spread, covariate=True))
        found = {
            "mde_cuped": design.mde,
            "units_per_variant_cuped": plan.per_variant(units_cuped),
            "units_cuped": sum(plan.per_variant(units_cuped).values()),
            "days_cuped": day_cuped,
        }
    plan.warn_of_few(per_variant)
    return plan.sizing(spread, design.mde, per_variant, day, **found)


def size_of_effect(
    design: Design,
    logs: Any,
    *,
    units: int | None = None,
    days: int | None = None,
    units_per_day: float | None = None,
    covariate: str | None = None,
    timestamp: str | None = None,
) -> Sizing:
    """Return the smallest change of the primary metric that some units, or some days, can find.

    Args:
        design: The plan; its ``mde`` is not used.
        logs: As for :func:`size`.
        units: Units in the experiment, over all variants; or give ``days``.
        days: Days it runs; or give ``units``.
        units_per_day: As for :func:`size`.
        covariate: As for :func:`size`.
        timestamp: As for :func:`size`.

    Returns:
        The size, with the changes as ``mde`` and ``mde_cuped``.

    Raises:
        FrameError: As for :func:`size`.
        SettingError: Both or neither of ``units`` and ``days``; ``days`` when the traffic is unknown; too few units, or
            so few that they find no change, however large.
        MissingExtraError: tea-tasting is not installed.
    """
    if (units is None) == (days is None):
        raise SettingError(
            "units or days", received=f"units={units!r}, days={days!r}", expected="one of the two"
        )
    plan = _Plan(design, logs, units_per_day, covariate, timestamp)
    if days is not None:
        days = checks.whole(days, "days", "whole days from 1", low=1)
        if days > LONGEST:
            raise SettingError(
                "out of its domain", field="days", received="more days", expected=f"at most {LONGEST:,}"
            )
        if plan.traffic is None:
            raise SettingError(
                "how many units a day has is unknown",
                field="units_per_day",
                expected="units_per_day=..., or logs with a column of moments",
            )
        units = math.floor(plan.design.reach * plan.traffic.units(days))
    elif units is not None:
        units = checks.whole(units, "units", "units from 1", low=1)
        if units > MOST:
            raise SettingError(
                "out of its domain", field="units", received="more units", expected=f"at most {MOST:,}"
            )
        days = plan.days_for(units)
    per_variant = plan.per_variant(units or 0, up=False)
    if min(per_variant.values()) < 2:
        raise SettingError(
            "too few units to compare", field="units", received=units, expected="at least 2 in each variant"
        )
    plan.warn_of_few(per_variant)
    spread = plan.spread(days)
    total = sum(per_variant.values())
    found: dict[str, Any] = {}
    if plan.covariate is not None:
        found = {
            "mde_cuped": plan.effect_of(spread, total, covariate=True),
            "units_per_variant_cuped": per_variant,
            "units_cuped": total,
            "days_cuped": days,
        }
    return plan.sizing(spread, plan.effect_of(spread, total, covariate=False), per_variant, days, **found)


class _Plan:
    """A design and past impressions, ready to be asked."""

    def __init__(
        self,
        design: Design,
        logs: Any,
        units_per_day: float | None,
        covariate: str | None,
        timestamp: str | None,
    ) -> None:
        checks.instance(design, "design", Design)
        try:
            import tea_tasting  # noqa: F401 - before the logs are read
        except ImportError as error:
            raise MissingExtraError(
                "tea-tasting is not installed", received=str(error), hint="pip install 'nid-plugins[ab]'"
            ) from error
        if units_per_day is not None:
            units_per_day = checks.number(units_per_day, "units_per_day", "units above 0", low=0.0)
        for name, value in (("covariate", covariate), ("timestamp", timestamp)):
            if value is not None:
                checks.text(value, name, "the name of a column")
        self.design = design
        self.metric = design.primary
        self.covariate = covariate or design.primary.covariate
        self.past = read_past(logs, design.unit, self.metric, self.covariate, timestamp)
        self._check()
        seen = self.past.new_units() if self.past.timed else None
        known = seen is not None or units_per_day is not None
        self.traffic = Traffic(seen, units_per_day) if known else None
        self.per_day = None if self.traffic is None else float(self.traffic.seen[0])
        if self.past.timed and self.past.window == 1:
            warnings.warn(
                NidWarning(
                    "the logs cover one day, which cannot show how many units come back: every day's units are taken as "
                    "new, and the days needed may be too few"
                ),
                stacklevel=4,
            )
        self._spreads: list[Spread] = []
        self._windows = windows(self.past, self.metric, self.covariate)

    def _check(self) -> None:
        past, metric = self.past, self.metric
        if past.units < 2:
            raise FrameError(
                "one unit only",
                field=self.design.unit,
                received="1 unit",
                expected="impressions of many units",
            )
        top = metric.numerator or metric.value or ""
        bottom = metric.denominator
        if bottom is not None and not past.values[bottom].sum() > 0:
            raise FrameError(
                f"there is nothing to divide by in {metric.name!r}", field=bottom, expected="a sum above 0"
            )
        if not past.values[top].sum() > 0:
            raise FrameError(
                f"a relative change of {metric.name!r} has no meaning",
                field=top,
                received=f"a sum of {past.values[top].sum():g} over {len(past.codes):,} impressions",
                expected="a sum above 0",
                hint="Take more impressions, with clicks among them",
            )

    def spread(self, day: int | None) -> Spread:
        """Return the moments after some days, at most those of the logs; None: all of them."""
        window = self.past.window if day is None else min(day, self.past.window)
        while len(self._spreads) < window:
            self._spreads.append(next(self._windows))
        found = self._spreads[window - 1]
        if window == self.past.window:
            self._check_spread(found)
        return found

    def _check_spread(self, spread: Spread) -> None:
        variance, explained, other = spread.variances()
        if not variance > spread.noise(0):
            raise FrameError(
                f"{self.metric.name!r} does not vary between units",
                field=self.metric.numerator or self.metric.value,
                received=f"the same in each of {spread.count:,} units",
                expected="a sample large enough to show how units differ",
            )
        if self.covariate is not None and (not other > spread.noise(2) or not math.isfinite(explained)):
            raise FrameError(
                "the covariate does not vary between units",
                field=self.covariate,
                received="the same in each",
                expected="a column that differs, such as the base model's prediction",
            )

    @property
    def alpha(self) -> float:
        """Error rate of one comparison."""
        several = 1 if self.design.correction == "none" else len(self.design.treatments)
        return self.design.alpha / several

    def _test(self, share: float, spread: Spread, *, covariate: bool, **options: Any) -> Any:
        import tea_tasting as tt

        return tt.RatioOfMeans(
            "numerator",
            spread.denominator,
            "covariate" if covariate else None,
            spread.covariate_denominator if covariate else None,
            alternative="two-sided",
            equal_var=False,
            use_t=False,
            alpha=self.alpha,
            power=self.design.power,
            ratio=share / self.design.shares[0],
            **options,
        )

    def units_for(self, spread: Spread, *, covariate: bool) -> float:
        """Return the units needed over all variants, infinite where the moments are unknown or nothing varies yet."""
        if not np.isfinite(spread.cov).all() or not spread.mean[0] > 0:
            return math.inf
        variance, _, other = spread.variances()
        if not variance > spread.noise(0) or (covariate and not other > spread.noise(2)):
            return math.inf
        needed = 0.0
        for share in sorted(set(self.design.shares[1:])):
            pair = share + self.design.shares[0]
            test = self._test(
                share, spread, covariate=covariate, rel_effect_size=self.design.mde, n_obs=LEAST
            )
            times = spread.of_both(self.design.mde, share / self.design.shares[0], covariate=covariate)
            moments = spread.aggregates(times)
            least = solved(test, moments, "power")
            if least.power >= self.design.power:  # which its search for the number does not foresee
                needed = max(needed, LEAST / pair, 2.0 / min(share, self.design.shares[0]))
                continue
            found = solved(test, moments, "n_obs")
            needed = max(needed, found.n_obs / pair)
        return math.ceil(needed)

    def effect_of(self, spread: Spread, units: int, *, covariate: bool) -> float:
        """Return the smallest relative change so many units find, for every treatment."""
        largest = 0.0
        for share in sorted(set(self.design.shares[1:])):
            pair = math.floor(units * (share + self.design.shares[0]))
            test = self._test(share, spread, covariate=covariate, n_obs=max(pair, LEAST))
            found = solved(test, spread.aggregates(), "rel_effect_size")
            ratio = share / self.design.shares[0]
            largest = max(largest, spread.grown(float(found.rel_effect_size), ratio, covariate=covariate))
        return largest

    def reached(self, needed: Callable[[Spread], float]) -> tuple[int | None, int]:
        """Return the first day on which enough units have been seen, and how many are enough then."""
        whole = needed(self.spread(None))
        if self.traffic is None:
            return None, int(whole)
        for day in range(1, self.past.window if self.past.timed else 1):
            enough = needed(self.spread(day))
            if self.design.reach * self.traffic.units(day) >= enough:
                return day, int(enough)
        return self.days_for(int(whole), first=self.past.window), int(whole)

    def days_for(self, units: int, first: int = 1) -> int | None:
        """Return the days until so many units are in the experiment; None, with a warning, if that is never."""
        if self.traffic is None:
            return None
        days = max(first, self.traffic.days(units / self.design.reach))
        if days <= LONGEST:
            return int(days)
        warnings.warn(
            NidWarning(
                f"{units:,} units are not reached within {LONGEST:,} days at this traffic: raise coverage or mde, or judge by "
                "a covariate"
            ),
            stacklevel=4,
        )
        return None

    def per_variant(self, units: int, *, up: bool = True) -> dict[str, int]:
        """Return the units of each variant."""

        def rounded(x: float) -> int:
            return math.ceil(x - 1e-9) if up else math.floor(x + 1e-9)

        shares = zip(self.design.variants, self.design.shares, strict=True)
        return {variant.name: rounded(units * share) for variant, share in shares}

    def warn_of_few(self, per_variant: dict[str, int]) -> None:
        """Warn where the normal approximation does not hold."""
        name, least = min(per_variant.items(), key=lambda item: item[1])
        if least < FEW:
            warnings.warn(
                NidWarning(
                    f"variant {name!r} has {least} units: too few for the normal approximation this is built on"
                ),
                stacklevel=3,
            )

    def sizing(
        self, spread: Spread, mde: float, per_variant: dict[str, int], days: int | None, **cuped: Any
    ) -> Sizing:
        """Return what was found."""
        variance, covariance, other = spread.variances()
        relative = variance / spread.baseline**2
        if self.covariate is not None:
            correlation = covariance / math.sqrt(variance * other)
            cuped |= {
                "covariate": self.covariate,
                "correlation": correlation,
                "variance_cuped": relative * (1.0 - correlation**2),
            }
        return Sizing(
            metric=self.metric.name,
            baseline=spread.baseline,
            variance=relative,
            mde=mde,
            alpha=self.design.alpha,
            alpha_comparison=self.alpha,
            power=self.design.power,
            units=sum(per_variant.values()),
            units_per_variant=per_variant,
            days=days,
            units_per_day=self.per_day,
            window=None if not self.past.timed else min(days or self.past.window, self.past.window),
            sample_units=self.past.units,
            sample_impressions=len(self.past.codes),
            **cuped,
        )
