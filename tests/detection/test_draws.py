"""Masks drawn anew after so many instances: which instance has which, and that nothing else depends on it."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.draws import Draws
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.groups import Group, ask, explain
from nid_plugins.detection.prepared import Detection
from nid_plugins.detection.process_executor import ProcessExecutor
from nid_plugins.frames import read_matrix

SETTINGS = {"instances": 60, "perturbations": 100, "progress": False}


def detection(box, frame, redraw, seed=0, masks=100):
    rows = read_matrix(frame, box.schema)
    detector, settings = checked_settings(
        "least_squares", None, "mode", len(rows), masks, 40, seed, "gain", "count", 1e-3, 40, redraw
    )
    return Detection(box, rows, rows, detector, settings)


def test_masks_follow_from_seed_and_draw_and_the_first_are_those_of_all_where_they_are_shared(box, frame):
    draws = Draws(detection(box, frame, 32)._madex)
    first, second = draws.of(0), draws.of(32)
    assert draws.of(31) is first
    assert draws.of(63) is second
    assert draws.of(64) is not second
    assert draws.of(5) is first
    masks = [draws.of(index).masks for index in (0, 32, 64)]
    assert not any((masks[i] == masks[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_array_equal(draws.of(40).masks, second.masks)
    np.testing.assert_array_equal(first.masks, detection(box, frame, None)._madex.masks)
    shared = Draws(detection(box, frame, None)._madex)
    assert shared.of(10**6) is shared.of(0)
    assert (Draws(detection(box, frame, 32, seed=1)._madex).of(32).masks != second.masks).any()


def test_an_instance_contributes_what_its_masks_make_of_it(box, frame):
    whole, shared = detection(box, frame, 32), detection(box, frame, None)
    for each in (whole, shared):
        each.run(executor="serial")
    assert [r.to_json() for r in whole.results[:32]] == [r.to_json() for r in shared.results[:32]]
    assert all(
        (one.pairs != other.pairs).any()
        for one, other in zip(whole.results[32:], shared.results[32:], strict=True)
    )
    madex = whole._madex.redrawn(1)
    rows = read_matrix(frame, box.schema)[32:48]
    off = np.array([madex.off_values(index) for index in range(32, 48)])
    alone = explain(ask(madex, Group(list(range(32, 48)), rows, off, rows == off)))
    assert [r.to_json() for r in alone] == [r.to_json() for r in whole.results[32:48]]


@pytest.mark.parametrize("instances", [60, "auto"])
@pytest.mark.parametrize("detector", ["least_squares", "archdetect"])
def test_every_executor_gives_the_same_report(box, frame, instances, detector):
    pytest.importorskip("joblib", reason="the optional package joblib is not installed")
    settings = {**SETTINGS, "instances": instances, "detector": detector, "redraw": 32, "baseline": "sample"}
    one = nid.detect(box, frame, executor="serial", **settings)
    assert one.settings["redraw"] == 32
    for executor in ("threads", ProcessExecutor(2)):
        assert nid.detect(box, frame, executor=executor, **settings) == one


def test_no_more_instances_than_a_draw_serves_is_one_set_of_masks(box, frame):
    settings = {**SETTINGS, "executor": "serial"}
    shared, one, two = (nid.detect(box, frame, redraw=redraw, **settings) for redraw in (None, 64, 32))
    assert shared.settings["redraw"] is None
    assert list(shared) == list(one)
    np.testing.assert_array_equal(shared.pair_strengths, one.pair_strengths)
    assert (two.pair_strengths != one.pair_strengths).any()


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_run_killed_in_a_later_draw_goes_on_with_its_masks(box, planted, schema, frame, tmp_path, executor):
    settings = {**SETTINGS, "redraw": 32, "executor": executor}
    whole = nid.detect(box, frame, **settings)

    def failing(columns):
        if (abs(columns["b"] - frame["b"][50]) < 1e-5).any():
            raise RuntimeError("killed")
        return planted(columns)

    journal = tmp_path / "journal"
    with pytest.raises(nid.ModelError, match="killed") as caught:
        nid.detect(nid.wrap(failing, schema, output="logit"), frame, resume=journal, **settings)
    assert caught.value.partial.instances == 50
    assert nid.detect(box, frame, resume=journal, **settings) == whole
    for other in (None, 64):
        with pytest.raises(nid.ArtefactError, match="other rows, background or settings"):
            nid.detect(box, frame, resume=journal, **{**settings, "redraw": other})


def test_what_masks_bring_averages_out():
    """Counts over seeds that change nothing but the masks: they scatter less where masks are drawn anew."""
    names = list("abcdefgh")
    schema = nid.FeatureSchema([nid.DenseField(name) for name in names])
    rng = np.random.default_rng(3)
    frame = {name: rng.normal(size=256) for name in names}
    pairs = [(i, j, weight) for i in range(8) for j in range(i) for weight in [rng.normal()]]

    def model(matrix):
        return sum(w * np.tanh(matrix[:, i] * matrix[:, j]) for i, j, w in pairs) + np.prod(
            np.tanh(matrix[:, :4]), axis=1
        )

    box = nid.wrap(model, schema, output="logit", inputs="matrix")

    def scatter(redraw):
        counts = []
        for seed in range(6):
            run = detection(box, frame, redraw, seed, masks=80)
            run.run(executor="serial")
            found = [r.sets for r in run.results]
            counts.append([sum((j, i) in sets for sets in found) for i, j, _ in pairs])
        return np.std(counts, axis=0).mean()

    assert scatter(32) < 0.6 * scatter(None)


@pytest.mark.parametrize("redraw", [0, 16, 33, -32, 64.0, True, "64", "auto"])
def test_a_number_of_instances_that_is_none(box, frame, redraw):
    with pytest.raises(nid.SettingError, match="redraw out of range.*None, or a multiple of 32"):
        nid.detect(box, frame, redraw=redraw, **SETTINGS)


class Fickle(Detector):
    """Makes masks that are unusable from the second draw on."""

    name = "fickle"

    def __init__(self):
        self.drawn = 0

    def masks(self, fields, perturbations, rng):
        masks = super().masks(fields, perturbations, rng)
        self.drawn += 1
        return masks if self.drawn == 1 else ~masks

    def fit(self, state, targets, seeds):
        return [Explanation([(0, 1)], np.ones(1)) for _ in targets]


def test_masks_of_every_draw_are_checked(box, frame):
    with pytest.raises(nid.PluginError, match="unusable masks"):
        nid.detect(box, frame, detector=Fickle(), redraw=32, **SETTINGS)
