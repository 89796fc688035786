"""The mixture SPRT against its definition, its sources, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.stats import norm

from nid_plugins.experiment import sequential


@pytest.mark.parametrize(
    ("d", "v", "tau2"), [(0.3, 0.02, 0.01), (-0.1, 0.004, 0.5), (0.0, 1.0, 1.0), (2.0, 0.5, 0.1)]
)
def test_the_p_value_is_one_over_the_integral_of_the_likelihood_ratio(d, v, tau2):
    def weighed(effect):
        ratio = norm.pdf(d, effect, math.sqrt(v)) / norm.pdf(d, 0.0, math.sqrt(v))
        return ratio * norm.pdf(effect, 0.0, math.sqrt(tau2))

    middle, spread = d * tau2 / (v + tau2), math.sqrt(v * tau2 / (v + tau2))
    mixed = integrate.quad(weighed, middle - 12 * spread, middle + 12 * spread, epsabs=0, epsrel=1e-11)[0]
    assert sequential.pvalue(d, v, tau2) == pytest.approx(min(1.0, 1.0 / mixed), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_the_interval_ends_where_the_p_value_is_alpha(alpha):
    v, tau2 = np.array([1e-6, 0.01, 3.0]), np.array([1e-3, 0.02, 0.5])
    half = sequential.half_width(v, tau2, alpha)
    assert sequential.pvalue(half, v, tau2) == pytest.approx(alpha, rel=1e-10)


def test_the_interval_is_the_asymptotic_confidence_sequence_of_its_source():
    # Waudby-Smith et al. give it for a mean of n values with standard deviation s, in terms of rho.
    n, s, rho, alpha = 500.0, 1.7, 0.08, 0.05
    theirs = s * math.sqrt((n * rho**2 + 1) / (n**2 * rho**2) * math.log((n * rho**2 + 1) / alpha**2))
    assert sequential.half_width(s**2 / n, (rho * s) ** 2, alpha) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
def test_the_best_mixture_is_nearly_the_best_there_is(alpha):
    best = float(sequential.best_mixture(1.0, alpha))
    found = optimize.minimize_scalar(
        lambda log: float(sequential.half_width(1.0, math.exp(log), alpha)), bounds=(-5, 8), method="bounded"
    )
    assert sequential.half_width(1.0, best, alpha) == pytest.approx(found.fun, rel=1e-3)


def test_without_a_planned_size_the_mixture_is_about_as_wide_as_the_change_looked_for():
    _, log = sequential.mixture(0.1, 100, 0.05, change=0.02, planned=None, alpha=0.05, power=0.8)
    assert math.sqrt(log) == pytest.approx(0.02, rel=0.02)


def test_with_a_planned_size_the_mixture_stays_as_units_come():
    def options(v, n):
        return sequential.mixture(v, n, 2.0, change=0.02, planned=5_000, alpha=0.05, power=0.8)

    early, late = options(0.5, 100), options(0.01, 5_000)  # the variance is that of 50 a unit at both times
    assert early == pytest.approx(late)
    assert late[1] == pytest.approx(sequential.best_mixture(0.01, 0.05))
    assert late[0] == pytest.approx(4.0 * late[1])


def test_what_is_not_known_is_infinite_and_finds_nothing():
    v = np.array([0.0, np.nan, 1.0, np.inf])
    tau = np.array([1.0, 1.0, 0.0, 1.0])
    assert np.isinf(sequential.half_width(v, tau, 0.05)).all()
    assert (sequential.pvalue(np.full(4, 3.0), v, tau)[:3] == 1.0).all()
    assert sequential.pvalue(1e6, 1e-6, 1.0) == 0.0


def test_looking_at_every_step_errs_at_most_alpha_where_the_fixed_interval_errs_often():
    rng = np.random.default_rng(7)
    n = np.arange(1, 2001)
    walks = np.cumsum(rng.standard_normal((1000, len(n))), axis=1) / n
    v = 1.0 / n
    tau2 = float(sequential.best_mixture(1.0 / 1000, 0.1))
    misses = (np.abs(walks) > sequential.half_width(v, tau2, 0.1)).any(axis=1).mean()
    naive = (np.abs(walks) > norm.ppf(0.95) * np.sqrt(v)).any(axis=1).mean()
    assert 0.02 < misses < 0.1 + 3 * math.sqrt(0.09 / 1000)
    assert naive > 0.5
