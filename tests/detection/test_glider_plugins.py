"""GLIDER and plug-ins: hooks before and after, detectors of a third party, and those that break their contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins import hookimpl
from nid_plugins.detection.detector import Detector, Explanation, rank_pairs
from nid_plugins.detection.masks import random_masks


class Listener:
    """A plug-in that listens, and changes settings when it has something to change."""

    def __init__(self, **override):
        self.override = override or None
        self.requests = []
        self.reports = []

    @hookimpl
    def nid_before_detect(self, request):
        self.requests.append(request)
        return self.override

    @hookimpl
    def nid_after_detect(self, report):
        self.reports.append(report)


def test_hooks_are_called_before_and_after(box, frame, small, plugin):
    listener = plugin(Listener())
    report = nid.detect(box, frame, **small)
    (request,) = listener.requests
    assert request.box is box
    assert request.rows.shape == (60, 5)
    assert request.settings.instances == 20
    assert len(listener.reports) == 1
    assert listener.reports[0] is report
    row = {name: column[0] for name, column in frame.items()}
    nid.explain(box, row, background=frame, perturbations=100)
    assert [r.rows.shape for r in listener.requests] == [(60, 5), (1, 5)]
    assert len(listener.reports) == 2


def test_a_hook_changes_settings(box, frame, small, plugin):
    plugin(Listener(instances=7, seed=5))
    report = nid.detect(box, frame, **small)
    assert report.instances == 7
    assert report.settings["instances"] == 7
    assert report.settings["seed"] == 5
    assert report.settings["perturbations"] == 300


@pytest.mark.parametrize(
    ("override", "detector", "options"),
    [
        ({"detector": "archdetect"}, "archdetect", {"probe": 1200}),
        ({"detector": "archdetect", "options": {"probe": 48}}, "archdetect", {"probe": 48}),
        ({"options": {"orders": 2}}, "least_squares", {"orders": 2, "pairs": 10}),
    ],
)
def test_a_hook_changes_the_detector_or_its_options(box, frame, small, plugin, override, detector, options):
    direct = nid.detect(box, frame, detector=detector, options=options, prune="none", **small)
    plugin(Listener(**override))
    report = nid.detect(box, frame, options={"pairs": 10}, prune="none", **small)
    assert report == direct
    assert report.settings["options"] | options == report.settings["options"]
    if "orders" in options:
        assert {len(fields) for fields in report.top(99)} == {2}


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ({"instance": 3}, "unknown setting.*'instance'"),
        ({"instances": 0}, "instances out of range"),
        ({"detector": "oracle"}, "unknown detector"),
        ({"options": {"probe": 3}}, "no option 'probe'"),
    ],
)
def test_a_hook_that_changes_settings_wrongly_is_refused(box, frame, small, plugin, override, what):
    plugin(Listener(**override))
    with pytest.raises(nid.SettingError, match=what):
        nid.detect(box, frame, **small)


def test_a_hook_that_fails_is_named_and_detection_goes_on(box, frame, small, plugin):
    class Failing:
        @hookimpl
        def nid_before_detect(self, request):
            raise RuntimeError("no disk")

        @hookimpl
        def nid_after_detect(self, report):
            raise RuntimeError("no network")

    expected = nid.detect(box, frame, **small)
    plugin(Failing())
    with pytest.warns(nid.NidWarning) as caught:
        assert nid.detect(box, frame, **small) == expected
    said = " ".join(str(w.message) for w in caught)
    assert "nid_before_detect" in said
    assert "no disk" in said
    assert "no network" in said


@dataclass(frozen=True)
class Correlation(Detector):
    """A third party's: covariance of the residual with each product, no explainer, its own masks."""

    least: float = 0.001
    name = "correlation"

    def masks(self, fields, perturbations, rng):
        return np.vstack([random_masks(fields, perturbations, rng), np.zeros((2, fields), dtype=bool)])

    def random_rows(self, masks):
        return len(masks) - 2

    def fit(self, state, targets, seeds):
        w = state[:-2] - 0.5
        main = np.c_[np.ones(len(w)), w]
        out = []
        for y in targets[:, :-2]:
            rest = y - main @ np.linalg.lstsq(main, y, rcond=None)[0]
            pairs = np.abs((w * rest[:, None]).T @ w) / len(w)
            np.fill_diagonal(pairs, 0.0)
            pairs[pairs < self.least] = 0.0
            sets, strengths = rank_pairs((pairs + pairs.T) / 2)
            out.append(Explanation(sets, strengths))
        return out


@pytest.fixture
def registered(plugin):
    class Plugin:
        @hookimpl
        def nid_register_detectors(self, register):
            register(Correlation())

    plugin(Plugin())


def test_a_third_party_detector_by_name_and_as_an_object(box, frame, small, registered):
    by_name = nid.detect(box, frame, detector="correlation", options={"least": 0.002}, **small)
    as_object = nid.detect(box, frame, detector=Correlation(0.002), **small)
    assert by_name == as_object
    assert by_name.settings["options"] == {"least": 0.002}
    assert by_name.settings["queries_per_instance"] == 302
    assert set(by_name.top(2)) == {("a", "b"), ("c", "d")}
    assert by_name.pair_strengths is None
    assert np.nanmedian(by_name.r2) > 0.99, "judged by main effects and kept sets on the held-out random rows"
    with pytest.raises(nid.SchemaError, match="no pair strengths"):
        by_name.pair_strength("a", "b")


def test_the_strength_reported_is_the_detectors(box, frame, small, registered):
    report = nid.detect(box, frame, detector="correlation", prune="none", **small)
    assert {i.fields for i in report} >= {("a", "b"), ("c", "d")}
    # A covariance with a product of variance about 1/16 is that much smaller than the coefficient.
    assert all(1e-3 <= i.strength < 0.5 for i in report)


@pytest.mark.parametrize(
    ("explanations", "what"),
    [
        (lambda n: [Explanation([(0, 1)], np.ones(1))] * (n - 1), "explanations"),
        (lambda n: [Explanation([(1, 0)], np.ones(1))] * n, "sets.*ascending"),
        (lambda n: [Explanation([(0,)], np.ones(1))] * n, "sets.*two or more"),
        (lambda n: [Explanation([(3, 5)], np.ones(1))] * n, "sets.*below 5"),
        (lambda n: [Explanation([(-1, 2)], np.ones(1))] * n, "sets"),
        (lambda n: [Explanation([(0, 1), (0, 1)], np.ones(2))] * n, "sets.*once"),
        (lambda n: [Explanation([(0, 1)], np.ones(2))] * n, "strengths.*1 finite"),
        (lambda n: [Explanation([(0, 1)], np.array([np.nan]))] * n, "strengths"),
        (lambda n: [Explanation([(0, 1)], np.array([-1.0]))] * n, "strengths.*not negative"),
        (
            lambda n: [Explanation([(0, 1)], np.ones(1), pairs=np.ones((4, 4)))] * n,
            "pair strengths.*\\(5, 5\\)",
        ),
        (lambda n: [Explanation([(0, 1)], np.ones(1), pairs=np.full((5, 5), np.inf))] * n, "pair strengths"),
    ],
)
def test_a_detector_that_breaks_its_contract_is_named(box, frame, small, explanations, what):
    class Broken(Detector):
        name = "broken"

        def fit(self, state, targets, seeds):
            return explanations(len(targets))

    with pytest.raises(nid.PluginError, match=f"'broken' returned.*{what}"):
        nid.detect(box, frame, detector=Broken(), **small)


@pytest.mark.parametrize(
    "masks",
    [
        lambda p, m: np.ones((m, p + 1), dtype=bool),
        lambda p, m: np.zeros((m, p), dtype=bool),
        lambda p, m: np.ones(m, dtype=bool),
    ],
)
def test_a_detector_with_unusable_masks_is_named(box, frame, small, masks):
    class Broken(Correlation):
        name = "broken"

        def masks(self, fields, perturbations, rng):
            return masks(fields, perturbations)

    with pytest.raises(nid.PluginError, match="'broken' made unusable masks"):
        nid.detect(box, frame, detector=Broken(), **small)


def test_sets_given_as_lists_or_numpy_integers_will_do(box, frame, small):
    class Loose(Detector):
        name = "loose"

        def fit(self, state, targets, seeds):
            return [Explanation([[0, 1], np.array([2, 3])], np.array([2, 1]))] * len(targets)

    report = nid.detect(box, frame, detector=Loose(), prune="none", **small)
    assert set(report.top(5)) <= {("a", "b"), ("c", "d")}


def test_a_detectors_seeds_are_its_instances_own(box, frame, small):
    seen = []

    class Noting(Detector):
        name = "noting"

        def fit(self, state, targets, seeds):
            seen.extend(tuple(seed.generate_state(2)) for seed in seeds)
            return [Explanation([], np.empty(0))] * len(targets)

    def seeds(**settings):
        seen.clear()
        nid.detect(box, frame, detector=Noting(), **{**small, **settings})
        return list(seen)

    first = seeds(executor="serial")
    assert len(set(first)) == 20
    assert set(seeds(executor="threads")) == set(first)
    assert seeds(executor="serial", instances=18) == first[:18], "they go by position"
    assert not set(seeds(seed=1)) & set(first)


def test_instances_share_their_masks_and_come_in_groups(box, frame, small):
    shapes = []

    class Noting(Detector):
        name = "noting"

        def fit(self, state, targets, seeds):
            shapes.append(targets.shape)
            return [Explanation([], np.empty(0))] * len(targets)

    nid.detect(box, frame, detector=Noting(), **small)
    assert shapes == [(16, 300), (4, 300)]
