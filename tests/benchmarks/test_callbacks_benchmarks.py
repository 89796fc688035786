"""The callbacks' benchmarks: what they count, their tables and their figure, and the four arms on a small log."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="these benchmarks train in PyTorch")
pytest.importorskip("deepctr_torch", reason="these benchmarks train models of DeepCTR-Torch")

from benchmarks import callbacks_arms, callbacks_figure, callbacks_injector, callbacks_monitor
from benchmarks.common import RESULTS
from benchmarks.lift.data import Part
from benchmarks.lift.models import Shape
from benchmarks.lift.training import Fit
from nid_plugins.simulate import World


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def test_recall_counts_planted_pairs_and_not_triples():
    log = World(seed=0).draw(100)
    pairs = [tuple(sorted(s)) for s in log.planted_sets if len(s) == 2]
    triples = [tuple(sorted(s)) for s in log.planted_sets if len(s) == 3]
    ranking = [*triples, pairs[0], *[("x", str(i)) for i in range(5)], pairs[1], *pairs[2:4]]
    assert callbacks_monitor.recalls(ranking, log) == pytest.approx([0.2, 0.6, 0.8])


def test_costs_are_medians_and_extremes_over_rounds():
    runs = [
        {
            "budget": 0.05,
            "ratio": ratio,
            "rest": [ratio - 0.04, ratio - 0.02],
            "share": share,
            "checks": checks,
            "put_off": 1,
            "instances": [8] * checks,
            "recall": [0.2, 0.4, 0.6],
        }
        for ratio, share, checks in ((1.02, 0.04, 3), (1.04, 0.05, 4), (1.10, 0.03, 5))
    ]
    runs += [{**run, "budget": budget} for run in runs for budget in (0.10, 0.20)]
    line = callbacks_monitor.costs({"overhead": runs, "epochs_timed": 20}).splitlines()[2]
    assert (
        line
        == "| 5% | 1.040 | 1.020 to 1.100 | 4.0% | 5.0% | 1.010 (0.980 to 1.080) | 1.050 | 4 of 20 | 1 | 8 | 0.40 |"
    )


def test_a_median_and_its_interval_are_not_moved_by_a_few():
    values = [1.0] * 98 + [50.0, -50.0]
    assert callbacks_monitor.median(values) == (1.0, 1.0, 1.0)
    middle, low, high = callbacks_monitor.median(list(range(100)))
    assert (middle, low, high) == (49.5, 39.0, 60.0)


def test_the_figure_is_what_the_results_give():
    drawn = callbacks_figure.draw(result("callbacks_monitor"))
    assert callbacks_figure.FIGURE.read_text("utf-8") == drawn, (
        "run: python -m benchmarks.callbacks_monitor --show"
    )
    assert "prefers-color-scheme: dark" in drawn
    seeds = {r["seed"] for r in result("callbacks_monitor")["rise"]}
    assert drawn.count("<polyline") == 2 * 2 * (len(seeds) + 1)
    assert all(0 <= float(y) <= 420 for y in re.findall(r",(-?[\d.]+)[ \"]", drawn))


def test_the_planted_pairs_rise_in_the_results():
    runs = result("callbacks_monitor")["rise"]
    for name in callbacks_monitor.MODELS:
        first, last = (
            np.mean([r["recall"][1] for r in runs if (r["model"], r["epoch"]) == (name, epoch)])
            for epoch in (1, max(r["epoch"] for r in runs))
        )
        assert last > first + 0.3


def test_the_interval_by_hand():
    mean, low, high = callbacks_injector.interval(np.array([0.02, 0.03, 0.04]))
    assert mean == pytest.approx(0.03)
    assert high - mean == pytest.approx(mean - low) == pytest.approx(4.303 * 0.01 / np.sqrt(3))


def test_differences_are_taken_seed_by_seed():
    runs = [
        {"arm": arm, "seed": seed, "valid": {"auc": value}}
        for arm, values in (("base", (0.7, 0.8)), ("CrossInjector", (0.75, 0.9)))
        for seed, value in enumerate(values)
    ]
    found = callbacks_injector.differences(runs[::-1], "valid", "auc", "base")
    np.testing.assert_allclose(found, [0.05, 0.1])


def test_four_arms_on_a_small_log():
    log = World(seed=7).draw(6000)
    matrix = np.stack([np.asarray(log.frame[n], dtype=np.float64) for n in log.schema.names], axis=1)
    parts = [Part(matrix[at], log.label[at].astype(float)) for at in (slice(0, 4000), slice(4000, None))]
    fit = Fit("adam", rate=1e-2, decay=1e-3, decay_linear=0.0, batch=256, epochs=3, patience=2)
    options = {"bins": 5, "detect": {"instances": 20, "perturbations": 300}}
    recipe = callbacks_arms.Recipe(Shape(4, (8,), 0.0, 0.05), fit, after=1, options=options)
    runs = callbacks_arms.run(callbacks_arms.Rows(log.schema, *parts, None), recipe, seed=0)
    found = {r["arm"]: r for r in runs}
    assert tuple(found) == callbacks_arms.ARMS
    assert not found["base"]["crosses"]
    assert found["CrossInjector"]["crosses"]
    assert found["CrossInjector"]["epochs"] <= 3
    assert found["injected by hand"]["valid"]["log_loss"] <= found["base"]["valid"]["log_loss"], (
        "it starts there"
    )
    assert all("test" not in r for r in runs)
