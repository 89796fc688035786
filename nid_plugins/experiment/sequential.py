"""Always-valid intervals: the mixture sequential probability ratio test with a normal mixture, in closed form.

An interval of a fixed test holds when it is looked at once, at the planned end; who looks every day and stops at the first
interval without zero finds effects where there are none. The intervals here hold at all looks at once: the chance that any
of them ever misses the true effect is at most ``alpha``.

With an estimate ``d`` of the effect, normal around the truth ``t`` with variance ``V``, the likelihood ratio of ``t + e``
against ``t``, averaged over ``e ~ N(0, tau^2)``, is

    L = sqrt(V / (V + tau^2)) * exp(tau^2 (d - t)^2 / (2 V (V + tau^2)))

and Ville's inequality bounds the chance that it ever exceeds ``1 / alpha``. Solved for ``t``, the interval is

    d +- sqrt(V (V + tau^2) / tau^2 * (log((V + tau^2) / V) - 2 log(alpha)))

Sources: Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics
41(5), 1970 (the mixture); Johari, Koomen, Pekelis and Walsh, "Always Valid Inference: Continuous Monitoring of A/B Tests",
Operations Research 70(3), 2022 (A/B tests, and the p-value ``1 / L``); Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024 (why an estimated
``V`` may stand for the known one once there are units enough, and the best ``tau`` for a given size: their equation for
``rho``).

The effect goes in as the difference of two linearised metrics, and covariates as adjusted estimates: the delta method makes
either a mean over units. Units that come back add to their own sums, so that looks are more alike than those at independent
units; by Slepian's inequality this makes the error rate smaller, not larger, and the benchmark shows it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nid_plugins.experiment.moments import Floats

MIN_UNITS = 100
"""Units each variant must have before an interval is given: below, the estimated variance may not stand for the true one."""


def best_mixture(variance: Floats | float, alpha: float) -> Floats:
    """Return the mixture variance ``tau^2`` whose interval is the narrowest where the estimate has a given variance.

    Args:
        variance: Variance of the estimate at the size the experiment is planned for.
        alpha: Error rate.
    """
    log = -2.0 * math.log(alpha)
    factor = log + math.log(log + 1.0)  # close to the root of x - log(1 + x) = -2 log(alpha)
    return np.asarray(variance, dtype=np.float64) * factor


def planned_variance(mde: Floats | float, alpha: float, power: float) -> Floats:
    """Return the variance at which a fixed test finds an effect of ``mde`` with the given power.

    What :func:`best_mixture` is given where no size is planned: with the usual 5 % and 80 % the mixture's standard deviation
    is then about ``mde`` itself.
    """
    from scipy.special import ndtri

    return np.square(np.asarray(mde, dtype=np.float64) / float(ndtri(1.0 - alpha / 2.0) + ndtri(power)))


def mixture(
    variance: Floats | float,
    units: Floats | float,
    scale: Floats | float,
    *,
    change: float,
    planned: float | None,
    alpha: float,
    power: float,
) -> tuple[Floats, Floats]:
    """Return the mixture variances of a difference and of a log ratio.

    With a planned size they are the best ones for the variance the estimate will have there: what it is now, times the share
    of the planned units there are. Without, they are the best ones for the variance a fixed test needs to find ``change``.

    Args:
        variance: Variance of the log ratio now.
        units: Units of both arms now.
        scale: The control's value: a difference is the log ratio times this.
        change: Relative change to be found.
        planned: Units of both arms the design plans for, None where it plans none.
        alpha: Error rate.
        power: Chance to find ``change`` with a fixed test.
    """
    now = np.asarray(variance, dtype=np.float64)
    if planned is None:
        then = np.broadcast_to(planned_variance(math.log1p(change), alpha, power), now.shape)
    else:
        then = now * np.asarray(units, dtype=np.float64) / planned
    log = best_mixture(then, alpha)
    return log * np.square(np.asarray(scale, dtype=np.float64)), log


def half_width(variance: Floats | float, tau_squared: Floats | float, alpha: float) -> Floats:
    """Return half the width of the always-valid interval of level ``1 - alpha``.

    Args:
        variance: Variance ``V`` of the estimate now.
        tau_squared: Mixture variance, the same at every look.
        alpha: Chance that any of the intervals ever misses.

    Returns:
        Infinity where the variance is not known.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        v = np.asarray(variance, dtype=np.float64)
        tau = np.asarray(tau_squared, dtype=np.float64)
        width = np.sqrt(v * (v + tau) / tau * (np.log1p(tau / v) - 2.0 * math.log(alpha)))
    return np.where((v > 0) & (tau > 0), width, np.inf)


def pvalue(effect: Floats | float, variance: Floats | float, tau_squared: Floats | float) -> Floats:
    """Return the always-valid p-value of no effect, ``min(1, 1 / L)``; the interval of level ``1 - p`` ends at 0.

    The smallest over all looks is always valid as well (Johari et al., section 3).
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        v = np.asarray(variance, dtype=np.float64)
        tau = np.asarray(tau_squared, dtype=np.float64)
        d = np.asarray(effect, dtype=np.float64)
        log = 0.5 * np.log1p(tau / v) - tau * d**2 / (2.0 * v * (v + tau))
        p = np.exp(np.minimum(log, 0.0))
    return np.where((v > 0) & (tau > 0), p, 1.0)
