"""Bootstrap stability against a slow count, and what it means."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.pruning import prune_global
from nid_plugins.detection.stability import bootstrap_stability

A, B, C, D = (0, 1), (0, 1, 2), (2, 3), (1, 3)


def told(instances, ranked, weights=None):
    """Return the matrix the bootstrap takes: 1, or the set's weight, where an instance has the set."""
    worth = np.zeros((len(instances), len(ranked)), dtype=np.float32)
    for i, sets in enumerate(instances):
        for j, members in enumerate(ranked):
            if members in sets:
                worth[i, j] = 1.0 if weights is None else weights[i][sets.index(members)]
    return worth


def bootstrap(instances, ranked, top_k, rng, weights=None, **options):
    return bootstrap_stability(told(instances, ranked, weights), ranked, top_k, rng, **options)


def slow(instances, ranked, top_k, seed, resamples, antichain):
    n = len(instances)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=resamples)
    hits = dict.fromkeys(ranked, 0)
    for times in drawn:
        counts = dict.fromkeys(ranked, 0)
        for t, sets in zip(times, instances, strict=True):
            for members in sets:
                counts[members] += int(t)
        order = sorted((m for m in ranked if counts[m]), key=lambda m: (-counts[m], ranked.index(m)))
        for members in prune_global(order, top_k) if antichain else order[:top_k]:
            hits[members] += 1
    return {members: hit / resamples for members, hit in hits.items()}


@pytest.mark.parametrize("antichain", [False, True])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_against_a_slow_count(antichain, top_k):
    rng = np.random.default_rng(1)
    ranked = [A, B, C, D]
    instances = [[m for m in ranked if rng.random() < 0.5] for _ in range(12)]
    got = bootstrap(instances, ranked, top_k, np.random.default_rng(3), antichain=antichain, resamples=100)
    assert got == pytest.approx(slow(instances, ranked, top_k, 3, 100, antichain))
    assert any(0 < value < 1 for value in got.values()), "the case tells something"


def test_what_every_instance_shows_is_certain():
    got = bootstrap([[A, C]] * 9, [A, C], 2, np.random.default_rng(0))
    assert got == {A: 1.0, C: 1.0}


def test_earlier_sets_win_ties():
    got = bootstrap([[A, C]] * 9, [A, C], 1, np.random.default_rng(0))
    assert got == {A: 1.0, C: 0.0}
    got = bootstrap([[A, C]] * 9, [C, A], 1, np.random.default_rng(0))
    assert got == {A: 0.0, C: 1.0}


def test_a_set_of_one_instance_is_in_as_often_as_the_instance_is_drawn():
    got = bootstrap([[A, C]] + [[A]] * 19, [A, C], 5, np.random.default_rng(0), resamples=4000)
    assert got[A] == 1.0
    assert got[C] == pytest.approx(1 - (1 - 1 / 20) ** 20, abs=0.04)


def test_stability_follows_what_a_set_is_worth():
    instances = [[A, C], [A], [A]]
    rng = np.random.default_rng(0)
    assert bootstrap(instances, [A, C], 1, rng)[A] == 1.0
    weighed = bootstrap(instances, [C, A], 1, rng, weights=[[0.1, 9.0], [0.1], [0.1]], resamples=2000)
    assert weighed[C] == pytest.approx(1 - (2 / 3) ** 3, abs=0.04)


def test_in_a_report_it_is_a_share_and_absent_for_one_instance(box, frame, small):
    report = nid.detect(box, frame, **small)
    assert {i.fields: i.stability for i in report}["a", "b"] == 1.0
    assert all(0 <= i.stability <= 1 for i in report)
    row = {name: column[0] for name, column in frame.items()}
    one = nid.explain(box, row, background=frame, perturbations=300)
    assert len(one)
    assert all(np.isnan(i.stability) for i in one)
