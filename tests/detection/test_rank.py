"""Ranking by count or by gain."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
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


def test_stability_follows_the_weights():
    instances = [[(0, 1), (2, 3)], [(0, 1)], [(0, 1)]]
    rng = np.random.default_rng(0)
    counted = bootstrap_stability(instances, [(0, 1), (2, 3)], 1, rng)
    weighed = bootstrap_stability(
        instances, [(2, 3), (0, 1)], 1, rng, weights=[[0.1, 9.0], [0.1], [0.1]], resamples=2000
    )
    assert counted[0, 1] == 1.0
    assert weighed[2, 3] == pytest.approx(1 - (2 / 3) ** 3, abs=0.04)
