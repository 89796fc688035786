"""Selecting sets of any order: the one term that was planted is found from whatever a detector starts with."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.detection import MaskDesign, random_masks
from nid_plugins.domains.selecting import Selector, fit, product

DESIGN = MaskDesign(random_masks(12, 1500, np.random.default_rng(0)))
NONE = np.zeros(12, bool)


def planted(*sets, noise=0.0):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=12)
    y = DESIGN.masks @ weights + noise * rng.normal(size=1500)
    return y + sum(3.0 * product(DESIGN.masks, members) for members in sets), weights


def select(y, found, fixed=NONE, limit=40, min_gain=1e-3):
    return Selector(DESIGN, y, min_gain, fixed).select(found, limit)


@pytest.mark.parametrize(
    "start",
    [
        [(2, 5)],  # a part of it
        [(2, 5, 7, 9, 10, 11)],  # it and more
        [(0, 1), (2, 3), (5, 8)],  # a part of it and one outside
        [tuple(range(12))],
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_planted_set_is_found_from_its_neighbours(start, noise):
    y, weights = planted((2, 5, 7, 9), noise=noise)
    sets, gains = select(y, start)
    assert sets == [(2, 5, 7, 9)]
    assert gains[0] > 0.01
    model = fit(DESIGN, y, sets)
    assert model.products == pytest.approx([3.0], abs=0.2)
    assert model.effects == pytest.approx(weights, abs=0.1)
    assert model.r2 > model.r2_linear


def test_several_sets_that_overlap_are_told_apart():
    y, _ = planted((0, 1), (1, 2, 3), (6, 7, 8, 9))
    sets, gains = select(y, [(0, 1), (1, 2), (2, 3), (6, 7), (8, 9)])
    assert set(sets) == {(0, 1), (1, 2, 3), (6, 7, 8, 9)}
    assert gains == sorted(gains, reverse=True)
    assert fit(DESIGN, y, sets).r2 == pytest.approx(1.0)


def test_nothing_is_found_in_what_is_linear_or_noise():
    y, _ = planted(noise=1.0)
    pairs = [(a, b) for a in range(12) for b in range(a)]
    assert len(select(y, [tuple(sorted(pair)) for pair in pairs])[0]) <= 1
    assert select(planted()[0], [(0, 1), (2, 3)]) == ([], [])
    assert select(np.full(1500, 2.0), [(0, 1)]) == ([], [])
    assert select(y, []) == ([], [])


def test_features_that_cannot_be_switched_are_left_out():
    y, _ = planted((2, 5, 7))
    fixed = NONE.copy()
    fixed[7] = True
    sets, _ = select(y, [(2, 5)], fixed)
    assert sets
    assert all(7 not in members for members in sets)


def test_the_ranking_ends_where_it_is_told_to():
    y, _ = planted((0, 1), (2, 3), (4, 5))
    assert len(select(y, [(0, 1), (2, 3), (4, 5)], limit=2)[0]) == 2
    assert select(y, [(0, 1)], min_gain=0.9) == ([], [])


def test_held_out_r2_is_that_of_the_two_models():
    y, _ = planted((0, 1, 2), noise=0.5)
    test, train = DESIGN.test, DESIGN.train
    for sets, name in (([], "r2_linear"), ([(0, 1, 2)], "r2")):
        x = np.column_stack([np.ones(1500), DESIGN.masks, *(product(DESIGN.masks, one) for one in sets)])
        left = y[test] - x[test] @ np.linalg.lstsq(x[train], y[train], rcond=None)[0]
        expected = 1 - (left**2).sum() / ((y[test] - y[test].mean()) ** 2).sum()
        assert getattr(fit(DESIGN, y, [(0, 1, 2)]), name) == pytest.approx(expected)
