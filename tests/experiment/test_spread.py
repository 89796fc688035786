"""How units differ: with the change a treatment makes, and in the first days of a log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nid_plugins import SettingError
from nid_plugins.experiment import Design, Metric, Variant, size, size_of_effect
from nid_plugins.experiment.spread import Spread

pytest.importorskip("tea_tasting", reason="sizes need the extra ab")


@pytest.mark.parametrize("change", [0.02, 0.1, 0.5])
def test_of_one_impression_a_unit_it_is_the_formula_of_two_proportions(change):
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": np.arange(20_000), "click": (rng.random(20_000) < 0.3).astype(int)})
    p = log["click"].mean()
    q = p * (1 + change)
    design = Design("x", variants=(Variant("base", 0.6), Variant("crosses", 0.4)), mde=change)
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    expected = z**2 / (q - p) ** 2 * (p * (1 - p) / 0.6 + q * (1 - q) / 0.4)
    for metric in (Metric.ctr(), Metric("clickers", "mean", value="click")):
        found = size(dataclasses.replace(design, primary=metric), log)
        assert found.units == pytest.approx(expected, rel=1e-3, abs=2)
        back = size_of_effect(dataclasses.replace(design, primary=metric), log, units=found.units)
        assert back.mde == pytest.approx(change, rel=5e-3)


def drawn(values, counts=None):
    """Return the moments of values of units, of impressions of units as the denominator where they are given."""
    columns = np.column_stack([values, np.ones(len(values)) if counts is None else counts])
    whole = bool((values == np.floor(values)).all())
    return Spread(len(values), columns.mean(axis=0), np.cov(columns, rowvar=False), counts is not None, whole)


@pytest.mark.parametrize("kind", ["clicks", "revenue"])
def test_the_variance_of_both_is_that_of_simulated_treatments(kind):
    rng = np.random.default_rng(1)
    n, change, ratio = 400_000, 0.6, 0.5
    counts, rate = rng.geometric(0.2, n), rng.beta(2.0, 18.0, n)
    if kind == "clicks":
        arms = [(rng.binomial(counts, rate * grown).astype(float), counts) for grown in (1.0, 1 + change)]
    else:
        worth = rng.lognormal(0.0, 0.5, n) * rng.binomial(counts, rate)
        arms = [(worth, None), ((1 + change) * worth, None)]
    control, treatment = (drawn(*arm) for arm in arms)
    own, treated = (arm.variances()[0] for arm in (control, treatment))
    expected = (ratio * own + treated) / (1 + ratio) / own
    assert control.of_both(change, ratio, covariate=False) == pytest.approx(expected, rel=0.01)
    assert control.of_both(0.0, ratio, covariate=False) == pytest.approx(1.0)


def test_the_change_that_is_found_is_larger_where_the_treatment_varies_more():
    spread = drawn(np.random.default_rng(2).lognormal(0.0, 1.0, 1000))
    for change in (0.01, 0.1, 1.0):
        grown = spread.grown(change, 1.0, covariate=False)
        assert grown == pytest.approx(change * np.sqrt((1 + (1 + grown) ** 2) / 2))
    with pytest.raises(SettingError, match="find no change, however large"):
        spread.grown(1.5, 1.0, covariate=False)


def test_a_rate_that_cannot_rise_so_far_stops_to_vary():
    spread = drawn((np.arange(1000) % 10 > 0).astype(float))  # nine of ten
    assert spread.of_both(0.5, 1.0, covariate=False) == 0.5
    assert spread.grown(0.5, 1.0, covariate=False) == pytest.approx(0.5 * np.sqrt(0.5))


@pytest.mark.parametrize("covariate", [None, "base"])
def test_days_on_which_nothing_varies_yet_are_not_enough(covariate):
    rng = np.random.default_rng(3)
    hours = np.linspace(0, 71.9, 3000)
    later = hours >= 24
    log = pd.DataFrame(
        {
            "user_id": np.arange(3000),
            "click": np.where(later, rng.random(3000) < 0.5, True).astype(int),
            "base": np.where(later, rng.random(3000), 0.5),
            "timestamp": pd.Timestamp("2030-01-01") + pd.to_timedelta(hours, "h"),
        }
    )
    assert size(Design("x", mde=0.5), log, covariate=covariate).days == 2
