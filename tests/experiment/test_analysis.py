"""The whole analysis: a known lift is recovered, decisions follow, results do not depend on the order of rows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

import nid_plugins.experiment.analysis as module
from nid_plugins.errors import MissingExtraError
from nid_plugins.experiment import Analysis, Metric, Sizing, analyze, null_runs


def sized(units):
    return Sizing(
        "ctr", 0.2, 3.0, 0.1, 0.05, 0.05, 0.8, units, {"control": units // 2, "treatment": units // 2}
    )


@pytest.fixture(scope="module")
def logs(trial):
    return trial(3000, lift=0.5, seed=21)


def test_the_true_lift_is_in_the_intervals_and_the_treatment_is_shipped(logs, plan):
    found = analyze(plan(mde=0.1), *logs)
    for effect in (found.effect(), found.effect(sequential=True)):
        assert effect.relative_low < 0.5 < effect.relative_high
        assert effect.effect_low > 0
    assert (found.decision, found.variant) == ("ship", "treatment")
    assert "'ctr' of 'treatment' against 'control'" in found.reasons[0]
    assert found.sample_ratio.passes


def test_the_order_of_rows_does_not_matter(logs, plan):
    exposures, clicks = logs
    design = plan(metrics=(Metric.revenue(),))
    turned = analyze(design, exposures.sample(frac=1, random_state=1), clicks[::-1])
    for a, b in zip(turned.effects, analyze(design, *logs).effects, strict=True):
        assert (a.effect_low, a.pvalue) == pytest.approx((b.effect_low, b.pvalue), rel=1e-9)


def test_a_treatment_that_loses_is_stopped(trial, plan):
    found = analyze(plan(), *trial(3000, lift=-0.5, seed=5))
    assert found.decision == "stop"
    assert "below zero" in found.reasons[-1]


def test_a_change_that_is_ruled_out_stops_and_one_that_is_not_goes_on(trial, plan):
    logs = trial(3000, lift=0.0, seed=6)
    assert analyze(plan(mde=5.0), *logs).decision == "stop"
    going = analyze(plan(mde=0.01), *logs)
    assert going.decision == "continue"
    assert "holds both zero and the change" in going.reasons[-1]


def test_a_fixed_test_is_not_decided_before_its_planned_size_or_end(logs, plan):
    exposures, clicks = logs
    early = analyze(plan(sizing=sized(10_000)), *logs, sequential=False)
    assert early.decision == "continue"
    assert "planned end" in early.reasons[0]
    assert analyze(plan(sizing=sized(2_000)), *logs, sequential=False).decision == "ship"
    assert analyze(plan(), *logs, sequential=False).decision == "ship"
    over = plan(stop=datetime(2030, 1, 9, tzinfo=UTC))
    assert analyze(over, *logs, sequential=False).decision == "continue"
    past = [f.assign(timestamp=f.timestamp - np.timedelta64(7, "D") * 53 * 10) for f in (exposures, clicks)]
    ended = plan(stop=datetime(2020, 1, 9, tzinfo=UTC))
    assert analyze(ended, *past, sequential=False).decision == "ship"


def test_without_an_effect_the_fixed_test_stops_at_its_end(trial, plan):
    found = analyze(plan(), *trial(800, lift=0.0, seed=9), sequential=False)
    assert found.decision == "stop"
    assert "no effect is found" in found.reasons[-1]


def test_of_several_winners_the_best_is_shipped(trial, plan):
    names = ("control", "b", "c")
    exposures, clicks = trial(4500, lift=1.0, seed=3, names=names)
    lost = exposures.impression[exposures.variant == "b"]
    rng = np.random.default_rng(0)
    fewer = clicks[~clicks.impression.isin(lost) | (rng.random(len(clicks)) < 0.9)]
    found = analyze(plan(names, mde=0.5), exposures, fewer)
    assert (found.decision, found.variant) == ("ship", "c")
    assert "largest effect" in found.reasons[-1]


def test_results_come_back_from_a_file(logs, plan, tmp_path):
    found = analyze(plan(metrics=(Metric.latency(0.5),)), *logs)
    found.save(tmp_path / "a.json")
    again = Analysis.load(tmp_path / "a.json")
    assert again == found
    assert again.to_frame().equals(found.to_frame())


def test_nothing_given_is_changed(logs, plan):
    exposures, clicks = (frame.copy() for frame in logs)
    analyze(plan(), *logs)
    assert exposures.equals(logs[0])
    assert clicks.equals(logs[1])


def test_the_timeline_ends_where_the_analysis_does(logs, plan):
    design = plan(primary=Metric.ctr(covariate="covariate"))
    found = analyze(design, *logs)
    assert 10 < len(found.timeline) <= 50
    assert all(
        a.time < b.time and a.units <= b.units
        for a, b in zip(found.timeline, found.timeline[1:], strict=False)
    )
    last, fixed, always = found.timeline[-1], found.effect(), found.effect(sequential=True)
    assert last.units == fixed.units
    assert last.relative == pytest.approx(fixed.relative, rel=1e-9)
    assert last.low == pytest.approx(fixed.relative_low, rel=0.01)
    assert last.sequential_low == pytest.approx(always.relative_low, rel=1e-9)
    half = next(look for look in found.timeline if look.time >= datetime(2030, 1, 4, tzinfo=UTC))
    exposures, clicks = logs
    then = analyze(
        replace(design, stop=half.time), exposures, clicks[clicks.impression.isin(exposures.impression)]
    )
    # A click counts with its impression; the window of the comparison cuts it off a second later.
    assert half.units == then.effect().units
    assert half.relative == pytest.approx(then.effect().relative, abs=0.01)


def test_no_times_no_timeline(logs, plan):
    exposures, clicks = logs
    assert analyze(plan(), exposures.drop(columns="timestamp"), clicks).timeline == ()


def test_the_extra_is_named_where_it_is_missing(monkeypatch, logs, plan):
    monkeypatch.setitem(sys.modules, "tea_tasting", None)
    with pytest.raises(MissingExtraError, match=r"nid-plugins\[ab\]"):
        analyze(plan(), *logs)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ibis", None)
    with pytest.raises(MissingExtraError, match=r"nid-plugins\[ab\]"):
        analyze(plan(), *logs)


def test_importing_the_analysis_loads_no_statistics_and_no_warehouse():
    heavy = ("tea_tasting", "ibis", "duckdb", "scipy.stats", "pyarrow")
    code = f"import sys, {module.__name__}, {null_runs.__name__}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
