"""Drift of a ranking: correlation of ranks, entries and exits, over the instances two checks share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from nid_plugins.callbacks.drift import Drift, drift_between, spearman
from nid_plugins.detection.journal import InstanceResult

NAMES = ("a", "b", "c", "d", "e")


def found(index, *sets, gains=None):
    """Return an instance's result; its sets are strong in the order given."""
    strengths = [float(len(sets) - i) for i in range(len(sets))]
    gains = gains or [0.1] * len(sets)
    return InstanceResult(index, [tuple(s) for s in sets], strengths, gains, 1.0, 0.5, None, 0)


def test_no_change():
    results = [found(0, (0, 1), (2, 3)), found(1, (0, 1))]
    drift = drift_between(results, results, NAMES, 2)
    assert drift == Drift(pytest.approx(1.0), [], [])
    assert not drift.changed


def test_entries_and_exits_are_named_best_first():
    before = [found(0, (0, 1), (2, 3)), found(1, (0, 1), (0, 2))]
    after = [found(0, (1, 2), (3, 4), (0, 1)), found(1, (1, 2))]
    drift = drift_between(before, after, NAMES, 2)
    assert drift.entered == [("b", "c"), ("d", "e")]
    assert drift.left == [("a", "b"), ("a", "c")]  # (a, c) and (c, d) are level: smaller positions first
    assert drift.changed


def test_only_instances_of_both_checks_count():
    before = [found(0, (0, 1))]
    after = [found(0, (0, 1)), found(1, (2, 3)), found(2, (2, 3))]
    assert not drift_between(before, after, NAMES, 1).changed


def test_a_set_outside_the_top_has_its_own_rank_not_the_last():
    before = [found(0, (0, 1), (2, 3), (0, 4)), found(1, (0, 1), (2, 3)), found(2, (0, 1))]
    after = [found(0, (2, 3), (0, 1)), found(1, (2, 3), (0, 1)), found(2, (2, 3))]
    drift = drift_between(before, after, NAMES, 1)
    assert drift.entered == [("c", "d")]
    assert drift.rank_correlation == pytest.approx(-1.0)


def test_by_gain():
    before = [found(0, (0, 1), (2, 3), gains=[0.1, 0.4])]
    after = [found(0, (0, 1), (2, 3), gains=[0.4, 0.1])]
    assert not drift_between(before, after, NAMES, 1).changed  # by count and strength nothing has moved
    assert drift_between(before, after, NAMES, 1, rank="gain").entered == [("a", "b")]


def test_by_strength_over_all_instances():
    """Every pair's strength is known in every instance, and so what was found nowhere else counts too."""
    before, after = [found(0, (0, 1), (0, 2)), found(1, (0, 1))], [found(0, (0, 1), (0, 2)), found(1, (0, 1))]
    for result in (*before, *after):
        result.pairs = np.ones(10, np.float32)
    after[1].pairs = np.array([1, 9, *[1] * 8], np.float32)  # of (0, 2), which was not found in this instance
    assert not drift_between(before, after, NAMES, 1).changed
    assert drift_between(before, after, NAMES, 1, rank="strength").entered == [("a", "c")]


def test_supersets_erase_subsets_where_the_ranking_does_so():
    before = [found(0, (0, 1), (0, 1, 2))]
    after = [found(0, (0, 1, 2))]
    assert drift_between(before, after, NAMES, 3).left == [("a", "b")]
    assert not drift_between(before, after, NAMES, 3, antichain=True).changed


@pytest.mark.parametrize("seed", range(5))
def test_spearman_is_scipy_s(seed):
    rng = np.random.default_rng(seed)
    sets = [(i, i + 1) for i in range(12)]
    old, new = ({s: (float(rng.integers(1, 5)), 1.0) for s in sets[k : 9 + k]} for k in (0, 3))
    ours = spearman(sets, old, new)
    theirs = spearmanr([old.get(s, (0,))[0] for s in sets], [new.get(s, (0,))[0] for s in sets]).statistic
    assert ours == pytest.approx(theirs)


def test_strength_decides_between_equal_counts():
    old, new = {(0, 1): (3.0, 0.5), (1, 2): (3.0, 0.1)}, {(0, 1): (2.0, 0.1), (1, 2): (2.0, 0.5)}
    assert spearman(list(old), old, new) == pytest.approx(-1.0)


def test_nothing_to_correlate():
    assert math.isnan(spearman([(0, 1)], {(0, 1): (1.0, 1.0)}, {(0, 1): (1.0, 1.0)}))
    level = {(0, 1): (1.0, 1.0), (1, 2): (1.0, 1.0)}
    assert math.isnan(spearman(list(level), level, level))
    assert drift_between([], [], NAMES, 3) == Drift(pytest.approx(math.nan, nan_ok=True), [], [])


def test_as_json():
    drift = Drift(math.nan, [("a", "b")], [("c", "d")])
    assert drift.to_dict() == {"rank_correlation": None, "entered": [["a", "b"]], "left": [["c", "d"]]}
    again = Drift.from_dict(drift.to_dict())
    assert math.isnan(again.rank_correlation)
    assert (again.entered, again.left) == (drift.entered, drift.left)
