"""The benchmark of the buckets: its tests find what is not balanced, and its tables say what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("growthbook")

from benchmarks import ab_buckets
from benchmarks.common import RESULTS


def test_honest_dice_pass_and_loaded_ones_do_not():
    rng = np.random.default_rng(0)
    honest = ab_buckets.judged(rng.random(1_000))
    assert honest["ks_pvalue"] > 0.01
    assert honest["pvalue_of_share_0.05"] > 0.01
    loaded = ab_buckets.judged(rng.random(1_000) ** 2)
    assert loaded["ks_pvalue"] < 1e-6
    assert loaded["share_below_0.05"] > 0.15


def test_dependence_is_found():
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=5_000)
    assert ab_buckets.independence(a, rng.integers(3, size=5_000), (3, 3)) > 0.001
    assert ab_buckets.independence(a, np.where(rng.random(5_000) < 0.1, 0, a), (3, 3)) < 1e-12


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(ab_buckets, "SEEDS", 20)
    monkeypatch.setattr(ab_buckets, "UNITS", 500)


def test_tables_of_a_small_run(small):
    result = {"balance": ab_buckets.measure_balance(), "speed": ab_buckets.measure_speed(n=500, repeats=1)}
    rows = ab_buckets.table(result).splitlines()
    assert len(rows) == 2 + 4 * 8
    assert all(row.count("|") == rows[0].count("|") for row in rows)
    assert len(ab_buckets.speed(result).splitlines()) == 2 + 4


def test_what_is_shown_of_variants_stands():
    result = json.loads((RESULTS / "ab_buckets.json").read_text("utf-8"))
    for tests in result["balance"].values():
        for what, one in tests.items():
            if "hash version 1" not in what:
                assert one["ks_pvalue"] > 1e-3, what
                assert one["pvalue_of_share_0.05"] > 1e-3, what
                assert one["pvalue_of_share_0.001"] > 1e-3, what
