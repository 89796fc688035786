"""What sets are worth in instances, and the ranking by strength that it makes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.detection.settings import DetectSettings
from nid_plugins.detection.worth import scores, worth

RANKS = ("count", "gain", "strength")
P = 5
PAIRS = list(combinations(range(P), 2))
TRIPLES = [(0, 1, 2), (1, 3, 4)]


def instances(n=12, pairs=True, seed=0):
    """Instances that found some of the sets; all pairs have a strength in each where the detector gives them."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        strength = rng.exponential(size=len(PAIRS)).astype(np.float32)
        sets = [m for m in PAIRS + TRIPLES if rng.random() < 0.4]
        strengths = [
            float(strength[PAIRS.index(m)]) if len(m) == 2 else float(rng.exponential()) for m in sets
        ]
        gains = rng.random(len(sets)).tolist()
        found.append(InstanceResult(i, sets, strengths, gains, 0.9, 0.5, strength if pairs else None, 0))
    return found


def slow(rank, result, members):
    """Return what a set is worth in one instance, from the definition."""
    if rank == "strength" and len(members) == 2 and result.pairs is not None:
        return float(result.pairs[PAIRS.index(members)]) ** 2 / 16
    if members not in result.sets:
        return 0.0
    at = result.sets.index(members)
    return {
        "count": 1.0,
        "gain": result.gains[at],
        "strength": result.strengths[at] ** 2 / 4 ** len(members),
    }[rank]


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("rank", RANKS)
def test_against_the_definition(rank, pairs):
    results = instances(pairs=pairs)
    sets = [*TRIPLES, *PAIRS[::-1]]
    expected = [[slow(rank, r, m) for m in sets] for r in results]
    np.testing.assert_allclose(worth(rank, results, sets), expected, rtol=1e-5)
    total = dict(zip(sets, np.sum(expected, axis=0), strict=True))
    found = scores(rank, results)
    assert set(found) == {m for r in results for m in r.sets}, "every set was found somewhere"
    assert found == pytest.approx({m: total[m] for m in found}, rel=1e-5)


def test_logits_whose_squares_are_beyond_float32():
    results = instances()
    for result in results:
        result.pairs *= np.float32(1e25)
        result.strengths = [s * 1e25 for s in result.strengths]
    matrix = worth("strength", results, PAIRS)
    assert np.isfinite(matrix).all()
    assert all(0 <= i.stability <= 1 for i in report_of(results, "strength"))
    np.testing.assert_allclose(matrix, 1e50 * worth("strength", instances(), PAIRS), rtol=1e-4)


@pytest.mark.parametrize("rank", RANKS)
def test_nothing_found_is_worth_nothing(rank):
    assert scores(rank, []) == {}
    assert worth(rank, [], []).shape == (0, 0)
    empty = [InstanceResult(0, [], [], [], 0.9, 0.9, np.ones(len(PAIRS), np.float32), 0)]
    assert scores(rank, empty) == {}
    assert worth(rank, empty, []).shape == (1, 0)


def test_pairs_unknown_in_one_instance_count_where_they_were_found_only():
    results = instances()
    results[3].pairs = None
    assert scores("strength", results) == scores("strength", instances(pairs=False)), "not half of each"


def without(results, members):
    """Take a set out of what the instances found; pairs keep their strength."""
    for result in results:
        if members in result.sets:
            at = result.sets.index(members)
            for column in (result.sets, result.strengths, result.gains):
                del column[at]
    return results


def test_by_strength_a_pair_found_nowhere_is_ranked_if_stronger_than_one_that_was_found(tmp_path):
    results = without(without(instances(), (0, 1)), (2, 4))
    weak, strong = PAIRS.index((2, 4)), PAIRS.index((0, 1))
    for result in results:
        result.pairs[weak], result.pairs[strong] = 1e-3, 3.0
    assert {(0, 1), (2, 4)}.isdisjoint(scores("count", results))
    found = scores("strength", results)
    assert (2, 4) not in found, "weaker than all that were found"
    assert found[0, 1] == max(found.values())
    report = report_of(results, "strength")
    first = report.interactions[0]
    assert first.fields == ("v", "w")
    assert (first.count, first.share, first.strength, first.stability) == (0, 0.0, 3.0, 1.0)
    assert np.isnan(first.gain)
    report.save(tmp_path / "r.json")
    assert nid.InteractionReport.load(tmp_path / "r.json") == report
    assert ("x", "z") not in report.top(99)


def test_where_no_pair_was_found_none_is_ranked():
    """A sum of main effects has pairs of the size of rounding: the report stays empty."""
    results = instances()
    for members in PAIRS:
        without(results, members)
    assert set(scores("strength", results)) == set(TRIPLES)


def report_of(results, rank, top_k=99, prune="gain"):
    schema = nid.FeatureSchema([nid.DenseField(name) for name in "vwxyz"])
    box = nid.wrap(lambda c: c["x"], schema, output="logit")
    settings = DetectSettings("least_squares", {}, "mode", 12, 100, top_k, 0, prune, rank, 1e-3, 40)
    return build_report(box, settings, results, {}, 100)


def test_a_report_is_ranked_by_the_mean_square_over_all_instances():
    results = instances()
    report = report_of(results, "strength")
    sets = [tuple(report.schema.index_of(name) for name in fields) for fields in report.top(99)]
    values = [sum(slow("strength", r, m) for r in results) for m in sets]
    assert values == sorted(values, reverse=True)
    assert set(sets) == {m for r in results for m in r.sets}
    counts = {i.fields: i for i in report_of(results, "count")}
    for one in report:
        other = counts[one.fields]
        assert (one.count, one.share, one.strength, one.gain) == (
            other.count,
            other.share,
            other.strength,
            other.gain,
        )


@pytest.mark.parametrize("prune", ["gain", "paper", "none"])
def test_stability_is_that_of_the_ranking(prune):
    """A pair far stronger than all others in every instance stays on top, though it was found in one only."""
    results = instances()
    for result in without(results, PAIRS[0]):
        result.pairs[0] = 100.0
    results[5].sets.append(PAIRS[0])
    results[5].strengths.append(100.0)
    results[5].gains.append(0.5)
    report = report_of(results, "strength", top_k=1, prune=prune)
    if prune == "paper":  # a triple it is part of erases it, as the paper has it
        assert report.interactions[0].fields == ("v", "w", "x") or report.top(1) == [("v", "w")]
        return
    assert report.top(1) == [("v", "w")]
    assert report.interactions[0].count == 1
    assert report.interactions[0].stability == 1.0
    assert report_of(results, "count", top_k=1, prune=prune).top(1) != [("v", "w")]
