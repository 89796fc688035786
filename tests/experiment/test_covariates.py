"""Covariates: CUPED against a regression, where they come from, when they are given up."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from nid_plugins.errors import FrameError
from nid_plugins.experiment import Metric, analyze


@pytest.fixture(scope="module")
def logs(trial):
    return trial(900, lift=0.2, seed=11, rate=0.3)


@pytest.fixture(scope="module")
def units(logs):
    exposures, _ = logs
    rng = np.random.default_rng(0)
    known = exposures.groupby("unit").agg(past=("covariate", "first"), rows=("unit", "size"))
    return pd.DataFrame(
        {"unit": known.index.to_numpy(), "past": known.past * known.rows + rng.normal(0, 0.01, len(known))}
    ).reset_index(drop=True)


def revenue(exposures, clicks):
    money = exposures.merge(clicks[["impression", "revenue"]], "left", "impression").fillna({"revenue": 0.0})
    return money.groupby("unit").agg(variant=("variant", "first"), y=("revenue", "sum")).reset_index()


def test_a_mean_is_adjusted_by_the_slope_of_both_arms_together(logs, units, plan):
    found = analyze(plan(primary=Metric.revenue(covariate="past")), *logs, units=units).effect()
    table = revenue(*logs).merge(units, "left", "unit")
    slope = np.cov(table.y, table.past)[0, 1] / table.past.var()
    adjusted = table.y - slope * (table.past - table.past.mean())
    arms = [adjusted[table.variant == name] for name in ("control", "treatment")]
    assert found.control_value == pytest.approx(arms[0].mean(), rel=1e-9)
    assert found.effect == pytest.approx(arms[1].mean() - arms[0].mean(), rel=1e-9)
    variance = sum(arm.var() / len(arm) for arm in arms)
    plain = sum(
        table.y[table.variant == n].var() / (table.variant == n).sum() for n in ("control", "treatment")
    )
    assert found.variance_saved == pytest.approx(1 - variance / plain, rel=1e-6)
    assert found.covariate == "past"


def test_the_base_model_s_prediction_narrows_both_intervals_and_moves_the_estimate_little(logs, plan):
    plain = analyze(plan(), *logs)
    with_covariate = analyze(plan(primary=Metric.ctr(covariate="covariate")), *logs)
    for sequential in (False, True):
        a, b = plain.effect(sequential=sequential), with_covariate.effect(sequential=sequential)
        assert b.effect_high - b.effect_low < a.effect_high - a.effect_low
        assert a.effect_low < b.effect < a.effect_high
    narrower = with_covariate.effect()
    width = (narrower.effect_high - narrower.effect_low) / (
        plain.effect().effect_high - plain.effect().effect_low
    )
    assert narrower.variance_saved == pytest.approx(1 - width**2, abs=0.01)
    assert narrower.variance_saved > 0.05
    assert "covariate" in narrower.method


def test_missing_covariates_are_filled_with_the_mean_and_counted(logs, plan):
    exposures, clicks = logs
    holes = exposures.assign(covariate=exposures.covariate.where(np.arange(len(exposures)) % 10 != 0))
    design = plan(primary=Metric.ctr(covariate="covariate"))
    found = analyze(design, holes, clicks)
    (missing,) = (e for e in found.exclusions if e.reason == "missing covariates")
    assert missing.rows == holes.covariate.isna().sum()
    filled = analyze(design, holes.fillna({"covariate": holes.covariate.mean()}), clicks)
    assert found.effect().effect == pytest.approx(filled.effect().effect, rel=1e-9)


def test_units_without_a_covariate_are_kept_and_counted(logs, units, plan):
    design = plan(primary=Metric.revenue(covariate="past"))
    found = analyze(design, *logs, units=units.iloc[::2])
    (missing,) = (e for e in found.exclusions if e.reason == "missing covariates")
    assert missing.units == len(units) - len(units.iloc[::2])
    assert found.effect().units == 900
    assert 0 < found.effect().variance_saved < analyze(design, *logs, units=units).effect().variance_saved


def test_a_covariate_the_treatment_changes_is_given_up_and_said(logs, plan):
    exposures, clicks = logs
    moved = exposures.assign(covariate=exposures.covariate + 0.2 * (exposures.variant == "treatment"))
    found = analyze(plan(primary=Metric.ctr(covariate="covariate")), moved, clicks)
    assert found.effect().covariate is None
    assert found.effect().effect == pytest.approx(analyze(plan(), *logs).effect().effect)
    assert any("differs between" in note for note in found.notes)


def test_a_covariate_that_does_not_vary_is_given_up_and_said(logs, plan, units):
    found = analyze(plan(primary=Metric.revenue(covariate="past")), *logs, units=units.assign(past=1.0))
    assert found.effect().variance_saved is None
    assert any("does not vary" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda u: pd.concat([u, u.head(1)]), "twice"),
        (lambda u: u.drop(columns="unit"), "lack a column"),
        (lambda u: u.assign(unit="x" + u.unit), "no unit of the experiment"),
        (lambda u: u.assign(past="much"), "wrong type"),
        (lambda u: u.assign(past=np.where(np.arange(len(u)) == 3, np.inf, u.past)), "infinite"),
        (
            lambda u: u.assign(past=np.where(np.arange(len(u)) == 3, -1e200, u.past)),
            "infinite or huge in some units",
        ),
        (lambda u: u.rename(columns={"past": "other"}), "nowhere"),
    ],
)
def test_units_that_cannot_be_used(logs, plan, units, change, match):
    with pytest.raises(FrameError, match=match):
        analyze(plan(primary=Metric.revenue(covariate="past")), *logs, units=change(units))


@pytest.mark.parametrize("size", [1e51, 1e160, 1e300])
def test_a_huge_covariate_or_value_is_refused_before_its_square_overflows(logs, plan, units, size):
    exposures, clicks = logs
    with pytest.raises(FrameError, match=r"field 'covariate': infinite or huge values.*below 1e\+50"):
        analyze(
            plan(primary=Metric.ctr(covariate="covariate")),
            exposures.assign(covariate=exposures.covariate * size),
            clicks,
        )
    with pytest.raises(FrameError, match="field 'revenue': infinite or huge values"):
        analyze(plan(primary=Metric.revenue()), exposures, clicks.assign(revenue=-size))


def test_a_large_covariate_warns_of_nothing(logs, plan, units):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        design = plan(primary=Metric.revenue(covariate="past"))
        large = analyze(design, *logs, units=units.assign(past=units.past * 1e48)).effect()
    assert large.effect == pytest.approx(analyze(design, *logs, units=units).effect().effect, rel=1e-9)


def test_a_covariate_in_both_tables_or_in_none(logs, plan, units):
    design = plan(primary=Metric.ctr(covariate="covariate"))
    with pytest.raises(FrameError, match="in the exposures and in the units"):
        analyze(design, *logs, units=units.rename(columns={"past": "covariate"}))
    exposures, clicks = logs
    with pytest.raises(FrameError, match="nowhere"):
        analyze(design, exposures.drop(columns="covariate"), clicks)
    with pytest.raises(FrameError, match="no value at all"):
        analyze(design, exposures.assign(covariate=np.nan), clicks)


def test_unit_ids_may_be_called_as_the_design_calls_them_and_be_numbers(trial, plan, units, logs):
    exposures, clicks = logs
    numbered = exposures.assign(unit=exposures.unit.str[1:].astype(int)).rename(columns={"unit": "user_id"})
    theirs = units.assign(unit=units.unit.str[1:].astype(int)).rename(columns={"unit": "user_id"})
    design = plan(primary=Metric.revenue(covariate="past"))
    a = analyze(design, numbered, clicks, units=theirs)
    b = analyze(design, *logs, units=units)
    assert a.effect().effect_low == pytest.approx(b.effect().effect_low, rel=1e-9)
    assert a.units == b.units


def test_units_nobody_asked_for_are_said(logs, plan, units):
    assert any("was not used" in note for note in analyze(plan(), *logs, units=units).notes)
