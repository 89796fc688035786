"""Ranking by count or by gain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.detection.settings import DetectSettings
from nid_plugins.detection.stability import bootstrap_stability


@pytest.fixture
def reports():
    """A weak pair that shows everywhere, and a strong one that shows in a third of the instances."""
    rng = np.random.default_rng(5)
    frame = {name: rng.integers(1, 3, 90) for name in "abcd"}
    frame["c"] = np.where(np.arange(90) % 3 == 0, frame["c"], 0)
    schema = nid.FeatureSchema([nid.SparseField(name, 3, oov=0) for name in "abcd"])

    def logit(columns):
        a, b, c, d = (columns[name] for name in "abcd")
        return 0.3 * a * b + 3.0 * c * d + a

    box = nid.wrap(logit, schema, output="logit")
    return {
        rank: nid.detect(
            box, frame, baseline="oov", instances=90, perturbations=200, rank=rank, progress=False
        )
        for rank in ("count", "gain")
    }


def test_count_puts_the_frequent_pair_first_and_gain_the_one_that_matters(reports):
    assert reports["count"].top(2) == [("a", "b"), ("c", "d")]
    assert reports["gain"].top(2) == [("c", "d"), ("a", "b")]
    gains = [i.gain * i.count for i in reports["gain"]]
    assert gains == sorted(gains, reverse=True)


def test_the_ranking_is_in_the_settings_and_else_nothing_differs(reports):
    assert reports["gain"].settings["rank"] == "gain"
    by_name = [{i.fields: (i.count, i.strength, i.gain) for i in report} for report in reports.values()]
    assert by_name[0] == by_name[1]


@pytest.mark.parametrize(("rank", "prune"), [("gain", "paper"), ("gain", "none"), ("size", "gain")])
def test_a_ranking_that_cannot_be_made_is_refused(rank, prune):
    box = nid.wrap(
        lambda c: c["a"] * c["b"],
        nid.FeatureSchema([nid.DenseField("a"), nid.DenseField("b")]),
        output="logit",
    )
    with pytest.raises(nid.SettingError, match="rank"):
        nid.detect(box, {"a": np.arange(3.0), "b": np.arange(3.0)}, rank=rank, prune=prune)


def test_the_score_is_the_sum_of_gains_and_stability_is_that_of_the_score():
    rng = np.random.default_rng(3)
    strong, helpful, frequent = (0, 1), (1, 2), (0, 2)
    results = []
    for i in range(30):
        found = {frequent: (1.0, 0.01)}
        if i % 2:
            found[strong] = (50.0, 0.02 * rng.random())
        if i % 5 == 0:
            found[helpful] = (0.5, 0.9 * rng.random())
        strengths, gains = zip(*found.values(), strict=True)
        results.append(InstanceResult(i, list(found), list(strengths), list(gains), 0.9, 0.5, None, 0))
    schema = nid.FeatureSchema([nid.DenseField(name) for name in "xyz"])
    box = nid.wrap(lambda c: c["x"], schema, output="logit")
    tops = {}
    for rank in ("count", "gain"):
        settings = DetectSettings("least_squares", {}, "mode", 30, 100, 1, 0, "gain", rank, 1e-3, 40)
        wide = build_report(box, dataclasses.replace(settings, top_k=9), results, {}, 100)
        tops[rank] = wide.top(9)
        (first,) = build_report(box, settings, results, {}, 100)
        ranked = [tuple(schema.index_of(name) for name in fields) for fields in wide.top(9)]
        worth = np.zeros((30, len(ranked)), dtype=np.float32)
        for result in results:
            for members, gain in zip(result.sets, result.gains, strict=True):
                worth[result.index, ranked.index(members)] = gain if rank == "gain" else 1.0
        rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(4,)))
        expected = bootstrap_stability(worth, ranked, 1, rng)
        assert first.stability == expected[ranked[0]]
    assert tops["count"] == [("x", "z"), ("x", "y"), ("y", "z")]
    assert tops["gain"][0] == ("y", "z"), "neither the most frequent nor the strongest"
    assert 0.5 < first.stability < 1
