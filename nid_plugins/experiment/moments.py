"""Means and covariances of per-unit sums, and the delta method on them: closed forms over arrays of experiments.

An :class:`Arm` holds the moments of one variant in one experiment, or in thousands at once: shapes lead with the
experiments. The same numbers come from tea-tasting for a single experiment, and a test asserts that they agree.

Sources: Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018 (ratios of sums per unit); Deng, Xu,
Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data", WSDM 2013
(CUPED).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """Moments of ``m`` per-unit columns.

    Args:
        count: Units, shape (...).
        mean: Sample means, shape (..., m).
        cov: Sample covariances with the divisor ``count - 1``, shape (..., m, m).
    """

    count: Floats
    mean: Floats
    cov: Floats

    @classmethod
    def of(cls, columns: Floats) -> Arm:
        """Return the moments of units given one by one.

        Args:
            columns: Per-unit sums, shape (n, m).
        """
        cov = np.atleast_2d(np.cov(columns, rowvar=False))
        return cls(np.float64(len(columns)), columns.mean(axis=0), cov)  # type: ignore[arg-type]

    @classmethod
    def from_sums(cls, count: Floats, sums: Floats, products: Floats, shift: Floats) -> Arm:
        """Return moments from sums of columns and of their products.

        Args:
            count: Units, shape (...).
            sums: Sums of the columns less ``shift``, shape (..., m).
            products: Sums of the products of the same, shape (..., m, m).
            shift: What was taken off each column first, shape (m,): its mean over all units, so that no digits are lost.
        """
        count = np.asarray(count, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / count[..., None]
            outer = sums[..., :, None] * mean[..., None, :]
            cov = (products - outer) / (count - 1.0)[..., None, None]
        return cls(count, mean + shift, cov)

    @classmethod
    def from_aggregates(cls, aggregates: Any, columns: Sequence[str | None]) -> Arm:
        """Return the moments tea-tasting read, in the order of ``columns``; None stands for a column of ones."""
        mean = np.array([aggregates.mean(name) for name in columns], dtype=np.float64)
        cov = np.array([[_covariance(aggregates, a, b) for b in columns] for a in columns], dtype=np.float64)
        return cls(np.float64(aggregates.count()), mean, cov)  # type: ignore[arg-type]

    def scaled(self, factor: float) -> Arm:
        """Return the moments with the first column, a metric's numerator, multiplied by a factor."""
        factors = np.ones(self.mean.shape[-1])
        factors[0] = factor
        return Arm(self.count, self.mean * factors, self.cov * factors * factors[:, None])

    def __add__(self, other: Arm) -> Arm:
        """Return the moments of both arms' units together."""
        count = self.count + other.count
        a, b = self.count[..., None], other.count[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = (a * self.mean + b * other.mean) / (a + b)
            apart = self.mean - other.mean
            between = apart[..., :, None] * apart[..., None, :] * (a * b / (a + b))[..., None]
            within = self.cov * (a - 1)[..., None] + other.cov * (b - 1)[..., None]
            cov = (within + between) / (count - 1.0)[..., None, None]
        return Arm(count, mean, cov)


def _covariance(aggregates: Any, a: str | None, b: str | None) -> float:
    if a is None or b is None:
        return 0.0
    return float(aggregates.var(a) if a == b else aggregates.cov(a, b))


@dataclass(frozen=True)
class Comparison:
    """Estimates of two arms and the variances of these estimates, each of shape (...).

    Args:
        control: The metric's value of the control.
        treatment: The same of the treatment.
        control_var: Variance of ``control``, as an estimate.
        treatment_var: Variance of ``treatment``.
        plain_var: Variance of the difference had there been no covariate.
        coefficient: Of the covariate; 0 without one.
        control_count: Units.
        treatment_count: Units.
    """

    control: Floats
    treatment: Floats
    control_var: Floats
    treatment_var: Floats
    plain_var: Floats
    coefficient: Floats
    control_count: Floats
    treatment_count: Floats

    @property
    def effect(self) -> Floats:
        """Treatment minus control."""
        return self.treatment - self.control

    @property
    def variance(self) -> Floats:
        """Variance of the effect."""
        return self.control_var + self.treatment_var

    @property
    def log_ratio(self) -> Floats:
        """Logarithm of treatment over control; NaN unless both are positive."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((self.control > 0) & (self.treatment > 0), self.treatment / self.control, np.nan)
            return np.log(ratio)

    @property
    def log_variance(self) -> Floats:
        """Variance of the log ratio, by the delta method."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.control_var / self.control**2 + self.treatment_var / self.treatment**2

    @property
    def variance_saved(self) -> Floats:
        """Share of the effect's variance the covariate took out."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1.0 - self.variance / self.plain_var


def welch_pvalue(found: Comparison) -> Floats:
    """Return the two-sided p-value of Welch's t-test of no effect, as tea-tasting computes it, of shape (...)."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = found.control_var, found.treatment_var
        freedom = (a + b) ** 2 / (a**2 / (found.control_count - 1) + b**2 / (found.treatment_count - 1))
        p: Floats = 2.0 * stdtr(freedom, -np.abs(found.effect) / np.sqrt(a + b))
    return p


def compare(control: Arm, treatment: Arm, *, covariate: bool = False) -> Comparison:
    """Compare two arms in a ratio of sums.

    Args:
        control: Columns numerator, denominator, and where there is a covariate its numerator and denominator: the metric is
            mean numerator over mean denominator. A column of ones as denominator makes it a mean.
        treatment: The same.
        covariate: Whether to take the covariate into account. Its coefficient is that of both arms together.
    """
    (a_value, a_var), (b_value, b_var) = _ratio(control, 0, 1), _ratio(treatment, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_var, b_var = a_var / control.count, b_var / treatment.count
        plain = a_var + b_var
        coefficient = np.zeros_like(plain)
        if covariate:
            both = control + treatment
            middle, spread = _ratio(both, 2, 3)
            coefficient = np.where(spread > 0, _ratio_cov(both) / np.where(spread > 0, spread, 1.0), 0.0)
            a_value, a_var = _adjusted(control, a_value, a_var, coefficient, middle)
            b_value, b_var = _adjusted(treatment, b_value, b_var, coefficient, middle)
    return Comparison(a_value, b_value, a_var, b_var, plain, coefficient, control.count, treatment.count)


def _adjusted(
    arm: Arm, value: Floats, variance: Floats, coefficient: Floats, middle: Floats
) -> tuple[Floats, Floats]:
    """Return a value and its variance with the covariate's part taken out."""
    covariate, spread = _ratio(arm, 2, 3)
    reduced = variance + (coefficient**2 * spread - 2 * coefficient * _ratio_cov(arm)) / arm.count
    return value - coefficient * (covariate - middle), np.maximum(reduced, 0.0)


def _ratio(arm: Arm, numerator: int, denominator: int) -> tuple[Floats, Floats]:
    """Return a ratio of means and the variance of one unit's part in it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        below = arm.mean[..., denominator]
        value = arm.mean[..., numerator] / below
        variance = (
            arm.cov[..., numerator, numerator]
            - 2 * value * arm.cov[..., numerator, denominator]
            + value**2 * arm.cov[..., denominator, denominator]
        ) / below**2
    return value, variance


def _ratio_cov(arm: Arm) -> Floats:
    """Return the covariance of one unit's parts in the metric and in the covariate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left = arm.mean[..., 0] / arm.mean[..., 1]
        right = arm.mean[..., 2] / arm.mean[..., 3]
        inner = (
            arm.cov[..., 0, 2]
            - right * arm.cov[..., 0, 3]
            - left * arm.cov[..., 1, 2]
            + left * right * arm.cov[..., 1, 3]
        )
        result: Floats = inner / arm.mean[..., 1] / arm.mean[..., 3]
    return result
