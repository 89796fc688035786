"""ArchDetect: exact on functions whose second differences are known."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.archdetect import ArchDetect, differences, differences_count


def test_the_masks_it_needs():
    p = 4
    masks = differences(p)
    assert masks.shape == (2 * (1 + 4 + 6), p)
    assert differences_count(p) == len(masks)
    on, off = masks[:11], masks[11:]
    assert on[0].all()
    assert not off[0].any()
    assert np.array_equal(off, ~on)
    assert [np.flatnonzero(~row).tolist() for row in on[1:]] == [
        [0], [1], [2], [3], [0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]
    ]  # fmt: skip


def test_masks_are_random_ones_then_the_differences():
    detector = ArchDetect(probe=100)
    masks = detector.masks(5, 6000, np.random.default_rng(0))
    assert len(masks) == 100 + differences_count(5)
    assert masks[0].all()
    assert detector.random_rows(masks) == 100
    assert np.array_equal(masks[100:], differences(5))
    fewer = detector.masks(5, 60, np.random.default_rng(0))
    assert detector.random_rows(fewer) == 60


def test_strength_is_exact_on_a_known_function():
    def f(z):
        a, b, c, d = (z[:, j].astype(float) for j in range(4))
        return 2.0 + a - 3.0 * d + 4.0 * a * b - 2.0 * b * c + 8.0 * a * b * c

    detector = ArchDetect(probe=24)
    masks = detector.masks(4, 24, np.random.default_rng(0))
    (found,) = detector.fit(detector.prepare(masks), f(masks)[None], [None])
    # d_on is the difference with the third field on, d_off with it off.
    expected = {
        (0, 1): np.sqrt(((4 + 8) ** 2 + 4**2) / 2),
        (1, 2): np.sqrt(((-2 + 8) ** 2 + (-2) ** 2) / 2),
        (0, 2): np.sqrt((8**2 + 0) / 2),
    }
    assert dict(zip(found.sets, found.strengths, strict=True)) == pytest.approx(expected)
    assert found.sets == [(0, 1), (0, 2), (1, 2)]
    for (a, b), strength in expected.items():
        assert found.pairs[a, b] == found.pairs[b, a] == pytest.approx(strength)
    assert not found.pairs[3].any()
    assert not np.diag(found.pairs).any()
    assert np.isnan(found.r2), "it fits no explainer"


def test_several_instances_at_once():
    detector = ArchDetect(probe=24)
    masks = detector.masks(3, 24, np.random.default_rng(0))
    z = masks.astype(float)
    targets = np.array([z[:, 0] * z[:, 1], 5 * z[:, 1] * z[:, 2], z.sum(axis=1), np.full(len(z), 0.7)])
    found = detector.fit(masks, targets, [None] * 4)
    assert [e.sets for e in found] == [[(0, 1)], [(1, 2)], [], []]
    assert [e.strengths.tolist() for e in found[:2]] == [[1.0], [5.0]]


def test_rounding_is_no_interaction_but_a_small_one_is():
    detector = ArchDetect(probe=24)
    masks = detector.masks(3, 24, np.random.default_rng(0))
    z = masks.astype(np.float32)
    additive = (np.float32(10.1) * z[:, 0] + np.float32(3.3) * z[:, 1] - np.float32(7.7) * z[:, 2]).astype(
        float
    )
    (found,) = detector.fit(masks, additive[None], [None])
    assert found.sets == []
    (found,) = detector.fit(masks, (additive + 1e-4 * masks[:, 0] * masks[:, 2])[None], [None])
    assert found.sets == [(0, 2)]


def test_through_detect_with_exact_counts_and_strengths(box, frame):
    report = nid.detect(box, frame, detector="archdetect", prune="none", instances=60, perturbations=6000,
                        options={"probe": 48}, progress=False)  # fmt: skip
    assert report.top(5) == [("c", "d"), ("a", "b")]
    mode_a = np.bincount(frame["a"]).argmax()
    mode_d = np.bincount(frame["d"]).argmax()
    # A pair interacts where both members differ from what they are when off, and the product then.
    odd = (frame["a"] % 2) != mode_a % 2
    ab = 1.5 * np.abs(frame["b"] - frame["b"].mean())[odd]
    cd = (np.abs(frame["c"] - frame["c"].mean()) * np.abs(frame["d"] - mode_d))[frame["d"] != mode_d]
    by_fields = {i.fields: i for i in report}
    assert by_fields["a", "b"].count == len(ab)
    assert by_fields["a", "b"].strength == pytest.approx(ab.mean(), rel=1e-5)
    assert by_fields["c", "d"].count == len(cd)
    assert by_fields["c", "d"].strength == pytest.approx(cd.mean(), rel=1e-5)
    assert by_fields["c", "d"].share == len(cd) / 60
    assert np.isnan(by_fields["c", "d"].gain)
    assert report.settings["queries_per_instance"] == 48 + differences_count(5)
    assert report.pair_strength("c", "d") == pytest.approx(cd.sum() / 60, rel=1e-5)
    # Its random rows judge the fit though it fits nothing itself.
    assert np.nanmedian(report.r2) > 0.99


def test_a_probe_too_small_is_refused(box, frame, small):
    with pytest.raises(nid.SettingError, match="probe too small.*at least 24"):
        nid.detect(box, frame, detector="archdetect", options={"probe": 23}, **small)
