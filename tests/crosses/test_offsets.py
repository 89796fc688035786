"""Offsets: the penalised optimum, and a penalty that is the data's likeliest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins.crosses.offsets import PENALTIES, calibrate, choose_penalty, fit_offsets, sigmoid, softplus


def clicks(logits, seed):
    return (np.random.default_rng(seed).random(len(logits)) < sigmoid(logits)).astype(np.float64)


def slow_offset(logits, label, l2):
    """Return the root of the penalised score of one id, by bisection."""
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        score = (label - 1 / (1 + np.exp(-logits - middle))).sum() - l2 * middle
        low, high = (middle, high) if score > 0 else (low, middle)
    return low


@pytest.mark.parametrize("l2", [0.3, 5.0, 100.0])
@pytest.mark.parametrize("centre", [0.0, -4.0])
def test_offsets_are_the_penalised_optimum_of_each_id(l2, centre):
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 6, 400)
    logits = rng.normal(centre, 1.0, 400)
    label = clicks(logits + np.array([2.0, -1.0, 0.5, 3.0, 0.0, -2.0])[ids], 4)
    offsets = fit_offsets(ids, 7, logits, label, l2=l2)
    expected = [slow_offset(logits[ids == i], label[ids == i], l2) for i in range(1, 6)]
    assert offsets[0] == 0
    assert offsets[6] == 0, "an id without rows"
    assert offsets[1:6] == pytest.approx(expected, abs=0.02)


def test_a_saturated_base_does_not_send_offsets_off():
    label = np.array([1.0] * 50 + [0.0] * 50)
    logits = np.array([-40.0] * 50 + [900.0] * 50)
    offsets = fit_offsets(np.repeat([1, 2], 50), 3, logits, label, l2=1.0)
    assert np.isfinite(offsets).all()
    assert offsets[1] > 3
    assert offsets[2] < -3


def test_the_penalty_is_the_likeliest_by_numerical_integration():
    rng = np.random.default_rng(0)
    gradient, curvature = rng.normal(0, 6, 40), rng.uniform(0.5, 20, 40)
    grid = np.linspace(-12, 12, 20001)
    evidence = []
    for penalty in PENALTIES:
        prior = np.sqrt(penalty / (2 * np.pi)) * np.exp(-penalty * grid**2 / 2)
        terms = np.exp(gradient[:, None] * grid - curvature[:, None] * grid**2 / 2) * prior
        evidence.append(np.log(terms.sum(axis=1) * (grid[1] - grid[0])).sum())
    assert max(evidence) > 0
    assert choose_penalty(gradient, curvature) == PENALTIES[int(np.argmax(evidence))]


@pytest.mark.parametrize(("spread", "low", "high"), [(1.0, 0.3, 3), (0.3, 3, 30), (0.1, 30, 300)])
def test_the_penalty_finds_the_spread_of_the_offsets(spread, low, high):
    rng = np.random.default_rng(1)
    curvature = rng.uniform(20, 200, 500)
    offsets = rng.normal(0, spread, 500)
    gradient = rng.normal(curvature * offsets, np.sqrt(curvature))
    assert low <= choose_penalty(gradient, curvature) <= high


def test_noise_gets_no_offsets():
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = rng.normal(-2, 1, 2000)
        found.append(np.abs(fit_offsets(rng.integers(0, 50, 2000), 50, logits, clicks(logits, seed))).max())
    assert np.mean(np.array(found) == 0) > 0.4, "in about half of the cases no offset is likeliest"
    assert np.median(found) < 0.05


@given(st.floats(-1e4, 1e4))
def test_no_logit_overflows(x):
    logits = np.array([x])
    with np.errstate(all="raise", under="ignore"):
        assert softplus(logits)[0] == pytest.approx(np.logaddexp(0.0, x), rel=1e-12)
        assert sigmoid(logits)[0] == pytest.approx(1 / (1 + np.exp(-np.clip(x, -700, 700))), abs=1e-15)


def test_calibration_undoes_a_distortion():
    rng = np.random.default_rng(5)
    true = rng.normal(-1, 1.5, 40_000)
    intercept, slope = calibrate(2.0 * true + 3.0, clicks(true, 6))
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-1.5, abs=0.05)


@pytest.mark.parametrize("constant", [0.0, -20.0])
def test_calibration_of_a_constant_base(constant):
    label = (np.arange(1000) % 4 == 0).astype(np.float64)
    intercept, slope = calibrate(np.full(1000, constant), label)
    assert sigmoid(np.array([intercept + slope * constant]))[0] == pytest.approx(0.25, abs=0.01)
