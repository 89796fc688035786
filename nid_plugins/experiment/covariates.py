"""Covariates: whether one may be used, and what it saves.

A covariate takes out the part of a metric's variance that was there before the treatment (CUPED; CUPAC where it is a model's
prediction). It must not be changed by the treatment, or the adjustment biases the effect: a part of it goes with
the variance, or is counted twice. A change shows as a difference of the covariate between the variants, so that this is
tested first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.experiment.moments import Arm, compare

if TYPE_CHECKING:
    from nid_plugins.experiment.moments import Comparison

ALPHA = 0.001
"""Level of the test of balance, low so that it hardly ever speaks without cause."""


def imbalance(control: Arm, treatment: Arm) -> float:
    """Return the p-value of no difference in the covariate between two arms.

    Args:
        control: Columns as :func:`nid_plugins.experiment.moments.compare` takes them with a covariate.
        treatment: The same.
    """
    from scipy.special import ndtr

    a, b = (Arm(arm.count, arm.mean[..., 2:], arm.cov[..., 2:, 2:]) for arm in (control, treatment))
    found = compare(a, b)
    variance = float(found.variance)
    return 1.0 if not variance > 0 else float(2 * ndtr(-abs(float(found.effect)) / variance**0.5))


def usable(control: Arm, treatment: Arm) -> bool:
    """Return whether a covariate varies and is balanced between two arms."""
    return bool((control + treatment).cov[..., 2, 2] > 0) and imbalance(control, treatment) >= ALPHA


def saved(found: Comparison) -> float:
    """Return the share of the effect's variance a covariate took out, NaN where it is not known."""
    return float(found.variance_saved)
