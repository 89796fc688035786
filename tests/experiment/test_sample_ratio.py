"""The sample-ratio check against scipy, with unequal shares, several treatments, and over many experiments at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nid_plugins.experiment import Design, Variant, analyze
from nid_plugins.experiment.sample_ratio import ALPHA, check_sample_ratio, pvalue_of


def design(*weights):
    return Design("exp", variants=tuple(Variant(f"v{i}", w) for i, w in enumerate(weights)))


def test_few_units_are_checked_exactly():
    found = check_sample_ratio(design(0.5, 0.5), {"v0": 60, "v1": 40})
    assert found.pvalue == pytest.approx(stats.binomtest(40, 100, 0.5).pvalue)
    assert found.passes
    assert found.expected == {"v0": 50.0, "v1": 50.0}


def test_many_units_are_checked_as_the_chi_square_with_its_correction():
    found = check_sample_ratio(design(0.5, 0.5), {"v0": 51_000, "v1": 49_000})
    z = (1_000 - 0.5) / np.sqrt(100_000 / 4)
    assert found.pvalue == pytest.approx(stats.chi2.sf(z**2, 1), rel=1e-9)
    assert not found.passes


def test_shares_are_those_of_the_buckets():
    third = design(1 / 3, 2 / 3)
    units = {"v0": 3334, "v1": 6666}
    assert third.shares == (0.3334, 0.6666)
    assert check_sample_ratio(third, units).pvalue == pytest.approx(1.0, abs=0.01)


def test_of_several_treatments_the_worst_counts_times_their_number():
    units = {"v0": 50_000, "v1": 25_100, "v2": 24_000}
    z = (74_000 / 3 - 24_000 - 0.5) / np.sqrt(74_000 * 2 / 9)
    assert check_sample_ratio(design(0.5, 0.25, 0.25), units).pvalue == pytest.approx(
        4 * stats.norm.sf(z), rel=1e-9
    )
    assert not check_sample_ratio(design(0.5, 0.25, 0.25), units).passes


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.2, 0.5, 0.3)])
def test_many_experiments_at_once_give_the_same_p_values(weights):
    plan = design(*weights)
    counts = np.random.default_rng(0).multinomial(5_000, weights, 20).T
    counts[1, :5] += 400
    singly = [
        check_sample_ratio(plan, {f"v{i}": int(n) for i, n in enumerate(column)}).pvalue
        for column in counts.T
    ]
    assert pvalue_of(plan, counts.astype(float)) == pytest.approx(singly, rel=1e-9)


def test_false_alarms_are_as_rare_as_said():
    treated = np.random.default_rng(1).binomial(50_000, 0.5, 20_000).astype(float)
    alarms = (pvalue_of(design(0.5, 0.5), np.stack([50_000 - treated, treated])) < ALPHA).sum()
    assert stats.binomtest(int(alarms), 20_000, ALPHA).pvalue > 1e-4


def test_a_failing_check_makes_the_experiment_invalid_whatever_its_effect(trial, plan):
    exposures, clicks = trial(1200, lift=1.0, seed=4)
    control = exposures.unit[exposures.variant == "control"].unique()
    lost = exposures[~exposures.unit.isin(control[:200])]
    found = analyze(plan(), lost, clicks)
    assert found.decision == "invalid"
    assert found.variant is None
    assert "sample ratio" in found.reasons[0]
    assert found.effects
    assert not found.sample_ratio.passes
