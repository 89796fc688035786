"""A/A runs: sums against loops, assignment as it is, rates where they should be, effects found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ab_statistics import arms_of
from benchmarks.ab_worlds import WORLDS
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.experiment import AAResult, Design, Metric, Variant, aa, analyze, assign, sequential
from nid_plugins.experiment.hashing import buckets_of
from nid_plugins.experiment.moments import Arm, compare, welch_pvalue
from nid_plugins.experiment.null_runs import Blocks, Rebucketed
from nid_plugins.experiment.rehashing import Repeated
from nid_plugins.experiment.units import read_units


@pytest.fixture(scope="module")
def log(trial):
    exposures, clicks = trial(600, seed=31)
    return exposures.assign(click=exposures.impression.isin(clicks.impression))


@pytest.mark.parametrize("looks", [1, 3, 7, 100])
def test_sums_by_variant_and_look_are_those_of_a_loop(looks):
    rng = np.random.default_rng(0)
    columns = rng.gamma(2.0, 1.0, (101, 3)) * 100
    variants = rng.integers(0, 3, (4, 101)).astype(np.int32)
    arms = Blocks.of(columns, looks).arms(variants, 3)
    for index, arm in enumerate(arms):
        for run in range(4):
            for look in range(looks):
                seen = slice(0, (look + 1) * 101 // looks)
                mine = columns[seen][variants[run, seen] == index]
                assert arm.count[look, run] == len(mine)
                if len(mine) > 2:
                    direct = Arm.of(mine)
                    assert arm.mean[look, run] == pytest.approx(direct.mean, rel=1e-10)
                    assert arm.cov[look, run] == pytest.approx(direct.cov, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.1)])
def test_units_get_the_variants_the_assignment_gives_them(weights):
    design = Design("exp", variants=tuple(Variant(f"v{i}", w) for i, w in enumerate(weights)))
    ids = [f"unit-{i}" for i in range(20_000)]
    units = Rebucketed(design, read_units(ids))
    for seed in ("another", "a third"):
        assert (units.variants(seed) == assign(replace(design, seed=seed), ids)).all()


def test_the_runs_are_what_the_analysis_finds_in_the_same_assignments(log):
    design = Design("exp", unit="unit", primary=Metric.ctr(covariate="covariate"), mde=0.3)
    runs = 8
    result = aa(design, log, runs=runs, looks=1, seed=4)
    fixed = always = 0
    for run in range(runs):
        labels = np.array(["control", "treatment"])[assign(replace(design, seed=f"exp/aa/4/{run}"), log.unit)]
        found = analyze(design, log.assign(variant=labels))
        fixed += found.effect().pvalue <= 0.05
        always += found.effect(sequential=True).pvalue <= 0.05
    assert (result.rate("fixed").found, result.rate("sequential").found) == (fixed, always)


def test_rates_are_as_promised_and_peeking_is_not(log):
    result = aa(Design("exp", unit="unit"), log, runs=600, looks=50)
    assert result.passes
    assert result.rate("fixed").low <= 0.05 <= result.rate("fixed").high
    assert result.rate("sequential").low <= 0.05
    assert result.rate("fixed with peeking").low > 0.1
    assert result.sample_ratio_alarms < 0.02
    assert (result.units, result.impressions) == (600, len(log))
    assert len(result.reasons) == 3
    assert AAResult.from_dict(result.to_dict()) == result


def test_runs_can_be_repeated_and_other_seeds_differ(log):
    design = Design("exp", unit="unit")
    first, again, other = (aa(design, log, runs=100, looks=10, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [r.found for r in first.rates] != [r.found for r in other.rates]


def test_an_effect_is_found_as_often_as_the_power_says(log):
    design = Design("exp", unit="unit", primary=Metric.ctr(covariate="covariate"))
    small, large = (aa(design, log, runs=100, looks=5, effect=e) for e in (0.1, 1.0))
    assert small.rate("fixed").rate < large.rate("fixed").rate == 1.0
    assert large.effect == 1.0
    assert large.passes
    assert 0 < large.variance_saved < 1


def test_means_covariates_of_units_clicks_and_several_treatments(trial):
    exposures, clicks = trial(300, seed=2)
    units = exposures.groupby("unit", as_index=False).agg(past=("covariate", "mean"))
    variants = (Variant("a", 0.4), Variant("b", 0.3), Variant("c", 0.3))
    design = Design("exp", unit="unit", variants=variants, primary=Metric.revenue(covariate="past"))
    result = aa(design, exposures, clicks, units=units, runs=150, looks=10)
    assert result.rate("fixed").rate < 0.15
    assert result.variance_saved is not None
    alone = aa(replace(design, correction="none"), exposures, clicks, units=units, runs=150, looks=10)
    assert alone.rate("fixed").found >= result.rate("fixed").found


def test_a_broken_hash_or_metric_is_said(monkeypatch, log):
    from nid_plugins.experiment import null_runs

    lopsided = np.random.default_rng(0)
    monkeypatch.setattr(
        null_runs.Rebucketed, "variants", lambda self, seed: (lopsided.random(600) < 0.6).astype(np.int32)
    )
    result = aa(Design("exp", unit="unit"), log, runs=100, looks=5)
    assert not result.passes
    assert "does not split" in result.reasons[-1]


@pytest.mark.parametrize("option", [{"runs": 0}, {"looks": 0}, {"runs": 1.5}, {"seed": -1}, {"effect": -1.0}])
def test_options_out_of_their_domain(log, option):
    with pytest.raises(SettingError):
        aa(Design("exp", unit="unit"), log, **option)


def test_logs_that_do_not_do(log):
    with pytest.raises(FrameError, match="too few units"):
        aa(Design("exp", unit="unit"), log[log.unit.isin(log.unit.unique()[:30])])
    with pytest.raises(FrameError, match="nowhere"):
        aa(Design("exp", unit="unit"), log.drop(columns="click"))
    with pytest.raises(FrameError, match="lack a column"):
        aa(Design("exp"), log.drop(columns="unit"))


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_benchmark_s_formulas_are_the_analysis(name):
    import pandas as pd

    world = WORLDS[name]
    columns, treated = world.draw(np.random.default_rng(1), 500, 0.1)
    control, treatment = arms_of(columns, treated, 10)
    found = compare(control, treatment, covariate=True)
    rows = pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(500)],
            "variant": np.where(treated, "treatment", "control"),
            "top": columns[:, 0],
            "below": columns[:, 1],
        }
    )
    units = pd.DataFrame({"unit": rows.unit, "past": columns[:, 2]})
    metric = Metric("m", "mean", value="top", covariate="past")
    if world.ratio:
        # One row an impression, so that the covariate's rate is over the same impressions.
        rows = rows.loc[rows.index.repeat(columns[:, 1].astype(int))]
        first = ~rows.index.duplicated()
        rows = rows.assign(
            top=np.where(first, rows.top, 0.0), past=np.where(first, columns[rows.index, 2], 0.0)
        )
        metric = Metric("m", "ratio", numerator="top", denominator="impressions", covariate="past")
        units = None
    effect = analyze(Design("exp", primary=metric, mde=0.1), rows, units=units).effect()
    assert effect.control_value == pytest.approx(float(found.control[-1]), rel=1e-9)
    assert effect.effect == pytest.approx(float(found.effect[-1]), rel=1e-9)
    assert effect.pvalue == pytest.approx(float(welch_pvalue(found)[-1]), rel=1e-9)
    assert effect.variance_saved == pytest.approx(float(found.variance_saved[-1]), rel=1e-9)
    assert min(found.control_count[-1], found.treatment_count[-1]) >= sequential.MIN_UNITS


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "", "abcdefgh" * 40, "b" * 7, "0"],
        ["naïve", "b"],
        [f"user-{i}" for i in range(70_000)],
        np.arange(-5, 100),
        ["x" * 10_000] * 3,
        [],
    ],
    ids=["lengths", "beyond ascii", "several chunks", "integers", "long", "none"],
)
def test_hashing_again_is_hashing(ids, monkeypatch):
    if len(ids) == 3:
        monkeypatch.setattr("nid_plugins.experiment.rehashing._LARGEST", 100)
    repeated = Repeated(ids)
    for seed in ("one", "two"):
        assert (repeated.buckets(seed) == buckets_of(ids, seed)).all()
