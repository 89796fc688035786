"""Effects against loops written by hand, scipy and tea-tasting; correction; several treatments; degenerate data."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nid_plugins.experiment import Guardrail, Metric, analyze, correction, sequential, size
from nid_plugins.experiment.moments import Arm, compare, welch_pvalue


def per_unit(exposures, clicks):
    """Return impressions, clicks and revenue of each unit by variant, by loops over rows."""
    revenue = dict(zip(clicks.impression, clicks.revenue, strict=True))
    sums = {}
    for row in exposures.itertuples():
        unit = sums.setdefault(row.variant, {}).setdefault(row.unit, [0, 0, 0.0])
        unit[0] += 1
        unit[1] += row.impression in revenue
        unit[2] += revenue.get(row.impression, 0.0)
    return {name: np.array(list(units.values())) for name, units in sums.items()}


@pytest.fixture(scope="module")
def logs(trial):
    return trial(800, lift=0.3, seed=3)


@pytest.fixture(scope="module")
def found(logs, plan):
    design = plan(
        mde=0.1, metrics=(Metric.revenue(),), guardrails=(Guardrail(Metric.calibration(), "either"),)
    )
    return analyze(design, *logs)


def test_the_ratio_is_that_of_a_loop_over_the_rows_and_its_interval_the_delta_method_s(logs, found):
    sums = per_unit(*logs)
    rate, variance = {}, {}
    for name, units in sums.items():
        n, k = units[:, 0], units[:, 1]
        rate[name] = k.sum() / n.sum()
        # Linearised: what is left of a unit's clicks when its share of the impressions is taken off.
        parts = (k - rate[name] * n) / n.mean()
        variance[name] = parts.var(ddof=1) / len(n)
    effect = found.effect("ctr")
    assert effect.control_value == pytest.approx(rate["control"], rel=1e-12)
    assert effect.variant_value == pytest.approx(rate["treatment"], rel=1e-12)
    a, b = variance["control"], variance["treatment"]
    freedom = (a + b) ** 2 / (a**2 / (len(sums["control"]) - 1) + b**2 / (len(sums["treatment"]) - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
    d = rate["treatment"] - rate["control"]
    assert (effect.effect_low, effect.effect_high) == pytest.approx((d - half, d + half), rel=1e-9)
    assert effect.pvalue == pytest.approx(2 * stats.t.sf(abs(d) / math.sqrt(a + b), freedom), rel=1e-9)
    assert effect.relative == pytest.approx(rate["treatment"] / rate["control"] - 1)
    log_half = math.sqrt(a / rate["control"] ** 2 + b / rate["treatment"] ** 2)
    assert math.log1p(effect.relative_high) - math.log1p(effect.relative) == pytest.approx(
        log_half * stats.t.ppf(0.975, freedom), rel=1e-2
    )
    assert effect.units == 800
    assert found.impressions == logs[0].groupby("variant").size().to_dict()


def test_the_mean_is_welch_s_test_of_scipy(logs, found):
    sums = per_unit(*logs)
    theirs = stats.ttest_ind(sums["treatment"][:, 2], sums["control"][:, 2], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    effect = found.effect("revenue")
    assert effect.pvalue == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (effect.effect_low, effect.effect_high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_calibration_is_predicted_clicks_over_clicks(logs, found):
    exposures, clicks = logs
    mine = exposures[exposures.variant == "treatment"]
    clicked = mine.impression.isin(clicks.impression).sum()
    assert found.effect("calibration").variant_value == pytest.approx(mine.prediction.sum() / clicked)


def test_the_always_valid_interval_is_the_mixture_s_around_the_same_estimate(logs, found):
    fixed, always = found.effect("ctr"), found.effect("ctr", sequential=True)
    assert always.effect == fixed.effect
    sums = per_unit(*logs)
    arms = [Arm.of(sums[name][:, [1, 0]].astype(float)) for name in ("control", "treatment")]
    estimate = compare(*arms)
    tau, log_tau = sequential.mixture(
        estimate.log_variance, 800, estimate.control, change=0.1, planned=None, alpha=0.05, power=0.8
    )
    half = sequential.half_width(estimate.variance, tau, 0.05)
    assert always.effect_high - always.effect == pytest.approx(float(half), rel=1e-9)
    log_half = sequential.half_width(estimate.log_variance, log_tau, 0.05)
    assert math.log1p(always.relative_high) - math.log1p(always.relative) == pytest.approx(
        float(log_half), rel=1e-9
    )
    assert always.effect_low < fixed.effect_low < fixed.effect_high < always.effect_high


def test_a_planned_size_tunes_the_always_valid_interval(logs, plan):
    exposures, clicks = logs
    past = exposures.assign(click=exposures.impression.isin(clicks.impression), user_id=exposures.unit)
    sized = size(plan(mde=0.1), past)
    always = analyze(plan(mde=0.1, sizing=sized), *logs).effect("ctr", sequential=True)
    sums = per_unit(*logs)
    found = compare(*(Arm.of(sums[name][:, [1, 0]].astype(float)) for name in ("control", "treatment")))
    best = sequential.best_mixture(found.log_variance * 800 / sized.units, 0.05)
    log_half = sequential.half_width(found.log_variance, best, 0.05)
    assert math.log1p(always.relative_high) - math.log1p(always.relative) == pytest.approx(
        float(log_half), rel=1e-9
    )


def test_vectorised_moments_are_those_of_numpy_and_their_sum_that_of_all_units():
    rng = np.random.default_rng(0)
    x, y = rng.gamma(2.0, 1.0, (50, 4)) + 100.0, rng.gamma(3.0, 1.0, (80, 4)) + 100.0
    shift = np.vstack([x, y]).mean(axis=0)
    for data in (x, y):
        z = data - shift
        arm = Arm.from_sums(np.array(len(data)), z.sum(axis=0), z.T @ z, shift)
        assert arm.mean == pytest.approx(data.mean(axis=0), rel=1e-12)
        assert arm.cov == pytest.approx(np.cov(data, rowvar=False), rel=1e-10, abs=1e-12)
    both, whole = Arm.of(x) + Arm.of(y), Arm.of(np.vstack([x, y]))
    assert both.mean == pytest.approx(whole.mean, rel=1e-12)
    assert both.cov == pytest.approx(whole.cov, rel=1e-10)


@pytest.mark.parametrize("covariate", [False, True])
def test_vectorised_comparisons_are_tea_tasting_s(covariate):
    import tea_tasting as tt

    rng = np.random.default_rng(1)
    n = 400
    frame = pd.DataFrame(rng.gamma(2.0, 1.0, (n, 4)) + 0.1, columns=list("ndck"))
    frame["n"] += frame.c
    frame["variant"] = rng.integers(0, 2, n)
    metric = tt.RatioOfMeans("n", "d", *(("c", "k") if covariate else ()), use_t=True, equal_var=False)
    theirs = tt.Experiment(m=metric).analyze(frame)["m"]
    columns = list("ndck" if covariate else "nd")
    arms = [Arm.of(frame.loc[frame.variant == i, columns].to_numpy()) for i in (0, 1)]
    ours = compare(*arms, covariate=covariate)
    assert ours.control == pytest.approx(theirs.control, rel=1e-12)
    assert ours.treatment == pytest.approx(theirs.treatment, rel=1e-12)
    assert ours.effect / np.sqrt(ours.variance) == pytest.approx(theirs.statistic, rel=1e-9)
    assert welch_pvalue(ours) == pytest.approx(theirs.pvalue, rel=1e-9)


def test_several_treatments_are_corrected_over_treatments_and_secondary_metrics_over_both(trial, plan):
    names = ("control", "b", "c")
    logs = trial(900, lift=0.2, seed=5, names=names)
    found = analyze(plan(names, metrics=(Metric.revenue(),)), *logs)
    primary = [e for e in found.effects if e.role == "primary"]
    secondary = [e for e in found.effects if e.role == "secondary"]
    assert [e.variant for e in primary] == ["b", "c"]
    p = sorted(e.pvalue for e in primary)
    assert sorted(e.adjusted for e in primary) == pytest.approx(
        [min(1, 2 * p[0]), min(1, max(2 * p[0], p[1]))]
    )
    assert {e.level for e in (*primary, *secondary)} == {0.975}
    assert {e.level for e in found.sequential} == {0.975}
    pairwise = analyze(plan(names, correction="none", metrics=(Metric.revenue(),)), *logs)
    assert {e.level for e in pairwise.effects} == {0.95}
    assert all(e.adjusted is None for e in pairwise.effects)
    assert sum(pairwise.units.values()) == 900


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("holm", [0.04, 0.06, 0.06, 0.8]),
        ("bonferroni", [0.04, 0.08, 0.12, 1.0]),
        ("benjamini-hochberg", [0.04, 0.04, 0.04, 0.8]),
        ("none", [None] * 4),
    ],
)
def test_adjusted_p_values(how, expected):
    assert correction.adjusted([0.01, 0.02, 0.03, 0.8], how) == pytest.approx(expected)
    assert correction.adjusted([0.01], how) == [None]


def test_unknown_p_values_count_as_one_in_their_family():
    assert correction.adjusted([0.01, math.nan], "holm") == pytest.approx([0.02, 1.0])


def test_interval_levels():
    p = [0.001, 0.002, 0.9, 0.9]
    assert correction.interval_alpha(p, "holm", 0.05) == pytest.approx(0.0125)
    assert correction.interval_alpha(p, "benjamini-hochberg", 0.05) == pytest.approx(0.025)
    assert correction.interval_alpha(p, "none", 0.05) == 0.05
    assert correction.interval_alpha(p[:1], "benjamini-hochberg", 0.05) == 0.05
    assert correction.sequential_alpha(4, "benjamini-hochberg", 0.05) == pytest.approx(0.0125)


def test_no_click_at_all_gives_no_effect_rather_than_an_error(trial, plan):
    exposures, clicks = trial(400, seed=1)
    found = analyze(plan(), exposures, clicks.head(0))
    effect = found.effect("ctr")
    assert effect.control_value == effect.variant_value == 0.0
    assert math.isnan(effect.relative)
    assert math.isnan(effect.relative_low)
    assert found.decision == "continue"
    assert found.to_dict()["effects"][0]["relative"] is None


def test_clicks_in_one_variant_only(trial, plan):
    exposures, clicks = trial(400, seed=1)
    treated = exposures.impression[exposures.variant == "treatment"]
    found = analyze(plan(), exposures, clicks[clicks.impression.isin(treated)])
    assert found.effect("ctr").effect > 0
    assert found.effect("ctr").pvalue < 1e-6
    assert math.isnan(found.effect("ctr").relative)


def test_too_few_units_for_an_always_valid_interval(trial, plan):
    found = analyze(plan(), *trial(60, seed=2))
    assert math.isinf(found.effect("ctr", sequential=True).effect_high)
    assert found.effect("ctr", sequential=True).pvalue == 1.0
    assert found.decision == "continue"
