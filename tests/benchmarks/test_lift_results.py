"""What the lift benchmark makes of finished runs, and its document in step with its results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.lift import collect, report, tune
from nid_plugins.metrics import auc


def run(target: str, arm: str, seed: int, value: float) -> dict[str, Any]:
    """Return a finished run."""
    measured = {"auc": value, "log_loss": -value, "calibration": 1.0}
    return {"target": target, "arm": arm, "seed": seed, "parameters": 10, "test": measured}


RUNS = [
    run(target, arm, seed, 0.7 + 0.01 * seed + (0.02 + 0.01 * seed if arm == "glider" else 0.0))
    for target in ("WDL", "DCN")
    for arm in ("base", "glider")
    for seed in (0, 1, 2)
]


def test_differences_are_paired_by_seed_and_average_the_targets() -> None:
    np.testing.assert_allclose(collect.differences(RUNS, "auc", "base", None), [0.02, 0.03, 0.04])
    np.testing.assert_allclose(collect.differences(RUNS, "log_loss", "base", "DCN"), [-0.02, -0.03, -0.04])
    assert len(collect.differences(RUNS, "auc", "wide", None)) == 0


def test_t_interval_by_hand() -> None:
    mean, low, high = collect.t_interval(np.array([0.02, 0.03, 0.04]))
    assert mean == pytest.approx(0.03)
    assert high - mean == pytest.approx(mean - low) == pytest.approx(4.30265 * 0.01 / np.sqrt(3), rel=1e-4)


def test_weighted_auc_is_the_auc_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.4).astype(np.float64)
    scores = rng.integers(8, size=60).astype(np.float64)
    counts = rng.integers(3, size=60)
    expected = auc(np.repeat(labels, counts), np.repeat(scores, counts))
    assert collect.WeightedAuc(labels, scores)(counts.astype(np.float64)) == pytest.approx(expected)


def test_summary_holds_an_interval_over_rows_around_the_mean() -> None:
    rng = np.random.default_rng(0)
    labels = {seed: (rng.random(300) < 0.5).astype(np.float64) for seed in (0, 1, 2)}
    good = {seed: labels[seed] + rng.normal(size=300) for seed in labels}
    logits = {
        (r["target"], r["arm"], r["seed"]): good[r["seed"]] if r["arm"] == "glider" else rng.normal(size=300)
        for r in RUNS
    }
    runs = [
        {**r, "test": {**r["test"], "auc": auc(labels[r["seed"]], logits[r["target"], r["arm"], r["seed"]])}}
        for r in RUNS
    ]
    pooled = [
        e
        for e in collect.summarise(runs, labels, logits, shared=False)["differences"]
        if e["target"] == "pooled" and e["metric"] == "auc"
    ]
    assert len(pooled) == 1
    low, high = pooled[0]["rows"]
    assert 0 < low < pooled[0]["mean"] < high


def test_autoints_crosses_are_set_against_the_base_and_the_glider_arm() -> None:
    rng = np.random.default_rng(0)
    labels = {seed: (rng.random(200) < 0.5).astype(np.float64) for seed in (0, 1, 2)}
    extra = [run("WDL", "autoint", seed, 0.75 + 0.01 * seed) for seed in labels]
    logits = {(r["target"], r["arm"], r["seed"]): rng.normal(size=200) for r in RUNS + extra}
    found = collect.summarise(RUNS + extra, labels, logits, shared=False)["differences"]
    pooled = {report.arms_of(e): e["mean"] for e in found if e["target"] == "pooled" and e["metric"] == "auc"}
    assert pooled["autoint", "base"] == pytest.approx(0.05)
    assert pooled["glider", "autoint"] == pytest.approx(-0.02)  # of WDL alone, which has both
    header, _, *lines = report.differences({"summary": {"differences": found}}, "auc")
    assert header == "| target | glider - base | glider - autoint | autoint - base |"
    assert [line.split(" | ")[0] for line in lines] == [
        "| DCN",
        "| WDL",
        "| pooled",
        "| pooled, over rows too",
    ]
    assert lines[0].endswith(" |  |  |")  # no such runs


def test_a_recipe_is_chosen_on_the_splits_all_recipes_ran_on() -> None:
    def tried(seed: int, recipe: int, loss: float) -> dict[str, Any]:
        return {
            "data": "amazon",
            "seed": seed,
            "target": "WDL",
            "recipe": recipe,
            "valid": {"log_loss": loss},
        }

    records = [tried(0, 0, 0.2), tried(0, 1, 0.3), tried(1, 0, 0.4), tried(1, 1, 0.1), tried(2, 0, 0.0)]
    assert tune.choose(records) == {"amazon/WDL": 1}


def test_document_is_in_step_with_the_results() -> None:
    text = report.DOCUMENT.read_text("utf-8")
    assert all(
        f"<!-- table {name} auc -->" in text
        for name in ("amazon", "criteo", "deepctr_amazon", "deepctr_criteo")
    )
    assert report.refreshed(text) == text
