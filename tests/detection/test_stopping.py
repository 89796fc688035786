"""``instances="auto"``: as many instances as it takes, told in the report, the same for the same seed."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.callbacks import InteractionMonitor
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.executors import ThreadExecutor
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.detection.settings import DetectSettings
from nid_plugins.detection.stopping import FEWEST, Stop, checkpoints, look

AUTO = {"instances": "auto", "perturbations": 150, "top_k": 2, "progress": False}


@pytest.fixture
def many():
    rng = np.random.default_rng(4)
    n = 700
    return {
        "a": rng.integers(0, 4, n),
        "b": rng.normal(size=n),
        "c": rng.normal(size=n),
        "d": rng.integers(1, 5, n),
        "e": rng.integers(0, 3, n),
    }


def settings(top_k=3, rank="count", prune="gain", seed=0):
    return DetectSettings("least_squares", {}, "mode", "auto", 100, top_k, seed, prune, rank, 1e-3, 40)


def instances(n, sets_of, gain=0.5):
    return [
        InstanceResult(i, list(s := sets_of(i)), [1.0] * len(s), [gain] * len(s), 0.9, 0.5, None, 0)
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("rows", "group"), [(1, 16), (63, 16), (64, 16), (65, 16), (1000, 16), (10**6, 16), (500, 7)]
)
def test_checkpoints_are_whole_groups_and_end_with_all_rows(rows, group):
    found = checkpoints(rows, group)
    assert found[-1] == rows
    assert found == sorted(set(found))
    assert all(n % group == 0 and n >= FEWEST for n in found[:-1])
    assert all(b <= 1.25 * a + 2 * group for a, b in pairwise(found[:-1]))
    assert len(found) < 60


@pytest.mark.parametrize(
    ("rank", "prune"), [("count", "gain"), ("gain", "gain"), ("count", "paper"), ("strength", "gain")]
)
def test_a_clear_ranking_is_settled_and_a_random_one_is_not(rank, prune):
    clear = instances(64, lambda i: [(0, 1), (2, 3), (4, 5)] + ([(0, 5)] if i % 20 == 0 else []))
    stop = look(clear, settings(rank=rank, prune=prune))
    assert stop == Stop(64, 1.0, 1.0, settled=True)
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 40, size=64)
    noise = instances(64, lambda i: [(int(draws[i]), 50)])
    stop = look(noise, settings(top_k=10, rank=rank, prune=prune))
    assert not stop.settled
    assert stop.staying <= stop.mean < 0.8


def test_a_look_depends_on_instances_and_seed_only():
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 9, size=(80, 2))
    some = instances(80, lambda i: [(int(draws[i].min()), int(draws[i].max()) + 1)])
    one = look(some, settings(top_k=5))
    assert look(some[::-1], settings(top_k=5)) == one
    assert look(some, settings(top_k=5, seed=1)).mean != one.mean


def test_nothing_found_settles_only_after_enough_instances():
    assert look(instances(64, lambda i: []), settings()).settled
    assert not look(instances(40, lambda i: []), settings()).settled
    assert not look(instances(1, lambda i: [(0, 1)]), settings()).settled


def test_detection_stops_when_the_top_is_settled_and_tells(box, many):
    report = nid.detect(box, many, **AUTO)
    assert set(report.top(2)) == {("a", "b"), ("c", "d")}
    assert report.instances == report.settings["instances_used"] == 64
    assert report.settings["instances"] == "auto"
    assert report.settings["stopped"].startswith(
        "settled: 100% of the top stay in 90% of the resamples of 64"
    )
    assert report.settings["top_k_staying"] == 1.0
    assert report == nid.detect(box, many, executor="serial", **AUTO)
    assert report == nid.detect(box, many, executor=ThreadExecutor(4), **AUTO)
    assert report != nid.detect(box, many, seed=1, **AUTO)
    assert set(report.unswitched) == set(box.schema.names)


def test_no_query_is_made_beyond_the_instances_used(planted, schema, many):
    rows = []
    box = nid.wrap(lambda c: rows.append(len(c["a"])) or planted(c), schema, output="logit")
    report = nid.detect(box, many, **AUTO)
    assert sum(rows) == report.instances * 150


def test_rows_are_taken_in_random_order(planted, schema, many):
    """Sorted rows, as logs are: the first would tell of one end only."""
    order = np.argsort(many["b"])
    ordered = {name: column[order] for name, column in many.items()}
    seen = []
    box = nid.wrap(lambda c: seen.append(float(c["b"][0])) or planted(c), schema, output="logit")
    nid.detect(box, ordered, **AUTO)
    ranks = np.searchsorted(ordered["b"], np.array(seen) - 1e-6)
    assert ranks.min() < 70
    assert ranks.max() > 630


class Restless(Detector):
    """Finds something else in every instance."""

    name = "restless"

    def fit(self, state, targets, seeds):
        found = []
        for seed in seeds:
            a, b = sorted(np.random.default_rng(seed).permutation(5)[:2].tolist())
            found.append(Explanation([(a, b)], np.ones(1)))
        return found


def test_where_nothing_settles_all_rows_are_used(box, many):
    few = {name: column[:100] for name, column in many.items()}
    report = nid.detect(box, few, detector=Restless(), **{**AUTO, "top_k": 5, "prune": "none"})
    assert report.instances == 100
    assert report.settings["stopped"].startswith("no rows left, not settled:")
    assert report.settings["top_k_staying"] < 0.8


def test_a_frame_with_fewer_rows_than_the_first_checkpoint(box, many):
    few = {name: column[:10] for name, column in many.items()}
    report = nid.detect(box, few, **AUTO)
    assert report.instances == 10
    assert "of 10 instances" in report.settings["stopped"]


def test_a_stopped_run_is_resumed_to_the_same_report(planted, schema, many, tmp_path):
    whole = nid.detect(nid.wrap(planted, schema, output="logit"), many, **AUTO)
    calls = []

    def failing(columns):
        calls.append(len(columns["a"]))
        if len(calls) > 30:
            raise RuntimeError("gone")
        return planted(columns)

    path = tmp_path / "journal"
    with pytest.raises(nid.ModelError, match="gone") as caught:
        nid.detect(nid.wrap(failing, schema, output="logit"), many, resume=path, **AUTO)
    assert caught.value.partial.instances == 29
    assert "stopped" not in caught.value.partial.settings
    rows = []
    box = nid.wrap(lambda c: rows.append(len(c["a"])) or planted(c), schema, output="logit")
    assert nid.detect(box, many, resume=path, **AUTO) == whole
    assert sum(rows) == 8 + (64 - 16) * 150, "the whole group before the failure is not asked again"
    taken = [json.loads(line)["index"] for line in path.read_text().splitlines()[1:]]
    assert set(taken) == set(range(64))
    assert nid.detect(box, many, resume=path, **AUTO) == whole


def test_a_report_that_stopped_by_itself_is_saved_and_loaded(box, many, tmp_path):
    report = nid.detect(box, many, **AUTO)
    report.save(tmp_path / "report.json")
    assert nid.InteractionReport.load(tmp_path / "report.json") == report


def test_a_field_that_never_switches_is_warned_of(box, many):
    stuck = {**many, "e": np.zeros(700, dtype=int)}
    with pytest.warns(nid.NidWarning, match=r"can show no interaction: \['e'\]"):
        report = nid.detect(box, stuck, **AUTO)
    assert report.unswitched["e"] == 1.0


@pytest.mark.parametrize("wrong", ["all", "AUTO", 0, -1, 2.5, None, True])
def test_other_words_are_refused(box, many, wrong):
    with pytest.raises(nid.SettingError, match='instances out of range.*or "auto"'):
        nid.detect(box, many, **{**AUTO, "instances": wrong})


def test_a_monitor_has_a_budget_instead():
    with pytest.raises(nid.SettingError, match="follows from its budget"):
        InteractionMonitor({"a": np.arange(4)}, detect={"instances": "auto"})
