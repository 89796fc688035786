"""Which variant a unit gets: boundaries, shares, and independence of seeds and namespaces."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nid_plugins import FrameError, SettingError
from nid_plugins.experiment import Design, Namespace, Variant, assign, bucket
from nid_plugins.experiment.hashing import in_namespace
from nid_plugins.experiment.variants import ranges_of, steps_of

IDS = np.arange(60_000)
THREE = (Variant("a", 0.5), Variant("b", 0.3), Variant("c", 0.2))


def test_each_unit_is_where_its_bucket_is():
    design = Design("x", variants=THREE, coverage=0.5)
    found, buckets = assign(design, IDS), bucket(IDS, "x")
    assert found.dtype == np.int32
    for index, (start, stop) in enumerate([(0.0, 0.25), (0.5, 0.65), (0.8, 0.9)]):
        assert np.array_equal(found == index, (buckets >= start) & (buckets < stop))


def test_ranges_contain_their_start_and_not_their_end():
    buckets = bucket(IDS, "x")
    found = assign(Design("x"), IDS)
    assert (buckets == 0.5).any()
    assert set(found[buckets == 0.5]) == {1}
    assert set(found[buckets == 0.4999]) == {0}


@given(
    parts=st.lists(st.integers(1, 1000), min_size=2, max_size=8),
    coverage=st.floats(0.2, 1.0),
)
@settings(max_examples=100, deadline=None)
def test_shares_are_those_of_all_ten_thousand_buckets(parts, coverage):
    weights = [part / sum(parts) for part in parts]
    ranges = ranges_of(weights, coverage)
    steps = np.arange(10_000) / 10_000
    counted = [int(((steps >= start) & (steps < stop)).sum()) for start, stop in ranges]
    assert list(steps_of(weights, coverage)) == counted
    assert all(a[1] <= b[0] + 1e-12 for a, b in itertools.pairwise(ranges))
    for weight, n in zip(weights, counted, strict=True):
        assert abs(n / 10_000 - weight * coverage) <= 1.01e-4


def test_exact_shares():
    design = Design("x", variants=(Variant("a", 0.1), Variant("b", 0.2), Variant("c", 0.7)))
    # 0.1 + 0.2 is a little more than 0.3 in binary, so that bucket 0.3 belongs to the second variant, as in the kit.
    assert design.shares == (0.1, 0.2001, 0.6999)
    assert sum(design.shares) == pytest.approx(1.0)


def test_more_coverage_moves_nobody():
    before = assign(Design("x", variants=THREE, coverage=0.2), IDS)
    after = assign(Design("x", variants=THREE, coverage=0.9), IDS)
    assert (before >= 0).any()
    assert np.array_equal(before[before >= 0], after[before >= 0])


def test_namespace_keeps_experiments_apart():
    first = assign(Design("x", namespace=Namespace("feed", 0.0, 0.5)), IDS)
    second = assign(Design("y", namespace=Namespace("feed", 0.5, 1.0)), IDS)
    assert not ((first >= 0) & (second >= 0)).any()
    assert ((first >= 0) | (second >= 0)).all()


def test_reach():
    design = Design("x", coverage=0.4, namespace=Namespace("feed", 0.25, 0.75))
    assert design.reach == pytest.approx(0.2)
    assert (assign(design, IDS) >= 0).mean() == pytest.approx(0.2, abs=0.01)


def test_same_every_time_and_in_any_order():
    design = Design("x", variants=THREE)
    order = np.random.default_rng(0).permutation(len(IDS))
    found = assign(design, IDS)
    assert np.array_equal(assign(design, IDS[order]), found[order])
    assert np.array_equal(assign(design, pd.Series(IDS).astype(str)), found)
    assert np.array_equal(assign(design, np.repeat(IDS[:100], 3)), np.repeat(found[:100], 3))


def test_seed_is_the_name_unless_given():
    assert np.array_equal(assign(Design("x"), IDS), assign(Design("y", seed="x"), IDS))
    assert not np.array_equal(assign(Design("x"), IDS), assign(Design("y"), IDS))


def test_balance_over_seeds():
    """P-values of a chi-square test of the weights are uniform over seeds, as of honest dice."""
    weights = np.array([0.5, 0.3, 0.2])
    pvalues = []
    for seed in range(200):
        found = assign(Design(f"seed-{seed}", variants=THREE), IDS[:20_000])
        pvalues.append(stats.chisquare(np.bincount(found, minlength=3), weights * 20_000).pvalue)
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    # Four standard errors about what honest dice have.
    assert abs(np.mean(np.array(pvalues) < 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 200)


def test_two_seeds_know_nothing_of_each_other():
    found = [assign(Design(f"seed-{seed}", variants=THREE), IDS[:20_000]) for seed in range(15)]
    pvalues = [
        stats.chi2_contingency(np.histogram2d(a, b, bins=3)[0], correction=False).pvalue
        for i, a in enumerate(found)
        for b in found[:i]
    ]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_namespace_knows_nothing_of_variants():
    pvalues = []
    for seed in range(100):
        inside = in_namespace(IDS[:20_000], Namespace(f"space-{seed}", 0.0, 0.4))
        found = assign(Design(f"seed-{seed}", variants=THREE), IDS[:20_000])
        table = np.histogram2d(inside, found, bins=(2, 3))[0]
        pvalues.append(stats.chi2_contingency(table, correction=False).pvalue)
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_namespaces_of_version_2_know_nothing_of_each_other():
    ids = IDS[:20_000]
    inside = [in_namespace(ids, Namespace(f"space-{i}", 0.2, 0.7, hash_version=2)) for i in range(100)]
    pvalues = [
        stats.chi2_contingency(np.histogram2d(a, b, bins=2)[0], correction=False).pvalue
        for a, b in itertools.pairwise(inside)
    ]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_a_bad_id_is_named_with_the_design_s_unit():
    with pytest.raises(FrameError, match="field 'member'.*row 1") as caught:
        assign(Design("x", unit="member"), ["a", None])
    assert caught.value.field == "member"


@pytest.mark.parametrize("design", [None, "x", Design])
def test_not_a_design(design):
    with pytest.raises(SettingError, match="design"):
        assign(design, ["a"])


def test_a_frozen_design_cannot_drift():
    design = Design("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        design.seed = "y"
