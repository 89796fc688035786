"""Guardrails: verdicts at the margin, latency with units as clusters, and what they do to the decision."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ab_quantiles import draw, quantile_of
from nid_plugins.experiment import Effect, Guardrail, Metric, analyze
from nid_plugins.experiment.guardrails import judge
from nid_plugins.experiment.quantiles import quantiles
from nid_plugins.experiment.sources import Warehouse


def effect(low, high):
    numbers = (1.0, 1.0, 0.0, low, high, (low + high) / 2, low, high, 0.5)
    return Effect(
        "latency", "quantile", "control", "treatment", *numbers, None, "m", None, None, 10, role="guardrail"
    )


@pytest.mark.parametrize(
    ("worse", "low", "high", "status"),
    [
        ("up", -0.5, 0.04, "safe"),
        ("up", 0.0, 0.06, "open"),
        ("up", 0.051, 0.2, "harmed"),
        ("up", -0.9, -0.5, "safe"),
        ("down", -0.04, 9.0, "safe"),
        ("down", -0.06, 0.0, "open"),
        ("down", -0.9, -0.06, "harmed"),
        ("either", -0.04, 0.04, "safe"),
        ("either", -0.04, 0.06, "open"),
        ("either", 0.06, 0.07, "harmed"),
        ("either", -0.07, -0.06, "harmed"),
        ("up", -math.inf, math.inf, "open"),
        ("up", math.nan, math.nan, "open"),
    ],
)
def test_verdicts(worse, low, high, status):
    verdict = judge(Guardrail(Metric.latency(), worse, 0.05), effect(low, high))
    assert verdict.status == status
    assert verdict.reason.startswith("Guardrail 'latency' of 'treatment'")


def test_a_quantile_in_the_warehouse_is_the_one_of_numpy_with_units_as_clusters():
    import pandas as pd

    rng = np.random.default_rng(0)
    parts = {name: draw(rng, 300, lift) for name, lift in (("control", 0.0), ("treatment", 0.3))}
    rows = pd.concat(
        pd.DataFrame({"variant": name, "unit": owners, "value_ms": values})
        for name, (values, owners) in parts.items()
    )
    rows = pd.concat([rows, pd.DataFrame({"variant": ["control"], "unit": [0], "value_ms": [np.nan]})])
    with Warehouse() as house:
        found = quantiles(
            house, house.table(rows, "rows"), Metric("p", "quantile", value="ms", q=0.95), list(parts)
        )
    for name, (values, owners) in parts.items():
        value, error = quantile_of(values, owners, 0.95)
        assert found[name].value == pytest.approx(value, rel=1e-9)
        assert math.sqrt(found[name].variance) == pytest.approx(error, rel=1e-9)
        assert found[name].units == 300


def test_the_error_of_a_clustered_quantile_is_that_of_resampled_units_not_rows():
    values, owners = draw(np.random.default_rng(3), 1500, 0.0)
    clustered, rows = (quantile_of(values, owners, 0.9, clustered=c)[1] for c in (True, False))
    rng = np.random.default_rng(4)
    starts = np.searchsorted(owners, np.arange(1501))
    again = []
    for _ in range(300):
        picked = rng.integers(0, 1500, 1500)
        again.append(np.quantile(np.concatenate([values[starts[i] : starts[i + 1]] for i in picked]), 0.9))
    assert clustered == pytest.approx(np.std(again), rel=0.15)
    assert rows < 0.8 * clustered


@pytest.fixture(scope="module")
def logs(trial):
    return trial(3000, lift=1.0, seed=8)


def test_a_winner_with_safe_guardrails_is_shipped(logs, plan):
    rails = (Guardrail(Metric.latency(), margin=0.5), Guardrail(Metric.revenue(), "down", 0.1))
    found = analyze(plan(mde=0.2, guardrails=rails), *logs)
    assert (found.decision, found.variant) == ("ship", "treatment")
    assert [v.status for v in found.guardrails] == ["safe", "safe"]
    assert "every guardrail is safe" in found.reasons[-1]
    assert all("always valid" in v.effect.method for v in found.guardrails)
    fixed = analyze(plan(mde=0.2, guardrails=rails), *logs, sequential=False)
    assert (fixed.decision, fixed.sequential) == ("ship", ())
    assert "Woodruff" in fixed.guardrails[0].effect.method


def test_a_winner_that_is_slower_is_stopped(logs, plan):
    exposures, clicks = logs
    slow = exposures.assign(
        latency_ms=exposures.latency_ms * np.where(exposures.variant == "treatment", 2.0, 1.0)
    )
    found = analyze(plan(guardrails=(Guardrail(Metric.latency()),)), slow, clicks)
    assert found.decision == "stop"
    assert found.guardrails[0].status == "harmed"
    assert any("harm" in reason for reason in found.reasons)
    assert found.guardrails[0].effect.relative == pytest.approx(1.0, abs=0.2)


def test_a_winner_with_an_open_guardrail_goes_on(logs, plan):
    found = analyze(plan(guardrails=(Guardrail(Metric.latency(), margin=0.001),)), *logs)
    assert found.decision == "continue"
    assert any("still open" in reason for reason in found.reasons)


def test_latencies_that_do_not_vary_decide_nothing(logs, plan):
    exposures, clicks = logs
    found = analyze(plan(guardrails=(Guardrail(Metric.latency()),)), exposures.assign(latency_ms=1.0), clicks)
    assert found.guardrails[0].status == "open"


def test_verdicts_are_kept_for_every_treatment(trial, plan):
    names = ("control", "b", "c")
    found = analyze(plan(names, guardrails=(Guardrail(Metric.latency()),)), *trial(400, seed=1, names=names))
    assert [v.effect.variant for v in found.guardrails] == ["b", "c"]
    assert replace(found.guardrails[0].effect).role == "guardrail"
