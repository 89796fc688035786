"""Forward selection side by side: each instance takes what plain least squares, one candidate after the other, would."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nid_plugins.detection.columns import Columns
from nid_plugins.detection.masks import MaskDesign, random_masks
from nid_plugins.detection.pursuit import Pursuit

SETS = [*itertools.combinations(range(6), 2), (0, 1, 2), (1, 3, 5), (0, 2, 3, 4)]
LEVELS = [len(members) for members in SETS]


@pytest.fixture(scope="module")
def design():
    return MaskDesign(random_masks(6, 900, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def targets(design):
    w, rng = design.coded, np.random.default_rng(1)
    y = np.array(
        [
            2 * w[:, 0] * w[:, 1] + 3 * w[:, 0] * w[:, 1] * w[:, 2] - w[:, 4] * w[:, 5],
            4 * w[:, 0] * w[:, 2] * w[:, 3] * w[:, 4] + w[:, 2] * w[:, 3],
            np.zeros(900),
            1.5 * w[:, 1] * w[:, 3] + w[:, 1] * w[:, 5] + 2 * w[:, 1] * w[:, 3] * w[:, 5],
        ]
    )
    return y + 0.3 * rng.normal(size=y.shape)


def plain(design, residual, sets, least, sigmas):
    """Forward selection by solving anew for every candidate, in double precision."""
    columns = {s: design.orthogonal(design.product(s)[None])[0] for s in sets}
    taken, gains = [], []

    def left(members):
        if not members:
            return residual
        x = np.array([columns[m] for m in members]).T
        return residual - x @ np.linalg.lstsq(x[design.train], residual[design.train], rcond=None)[0]

    for size in sorted({len(s) for s in sets}):
        alive = [s for s in sets if len(s) == size]
        while alive:
            now = left(taken)
            drops = [
                (now[design.train] ** 2).sum() - (left([*taken, s])[design.train] ** 2).sum() for s in alive
            ]
            best = int(np.argmax(drops))
            if drops[best] / design.train.stop < least / 2:
                break
            members = alive.pop(best)
            better = now[design.valid] ** 2 - left([*taken, members])[design.valid] ** 2
            if better.mean() >= least and better.mean() > sigmas * better.std() / np.sqrt(len(better)):
                taken.append(members)
                gains.append(better.mean())
    return taken, gains, left(taken)[design.test]


def pursue(design, targets, sets=None, least=1e-3, sigmas=2.0):
    residuals = design.residuals(targets)
    columns = Columns(design)
    sets = sets or [SETS] * len(targets)
    most = max(map(len, sets))
    given = columns.candidates([own + own[:1] * (most - len(own)) for own in sets], residuals)
    levels = np.array([[len(members) for members in own] + [0] * (most - len(own)) for own in sets])
    return Pursuit(given, levels, residuals, design, np.full(len(targets), least), sigmas).run()


@pytest.mark.parametrize(("least", "sigmas"), [(1e-3, 2.0), (1e-4, 0.5), (0.02, 2.0)])
def test_every_instance_takes_what_plain_least_squares_takes(design, targets, least, sigmas):
    residuals = design.residuals(targets)
    some = 0
    for residual, taken in zip(residuals, pursue(design, targets, None, least, sigmas), strict=True):
        sets, gains, test = plain(design, residual, SETS, least, sigmas)
        assert [SETS[k] for k in taken.order] == sets
        assert taken.gains == pytest.approx(gains, rel=1e-4)
        assert taken.test == pytest.approx(test, abs=1e-5)
        some += len(sets)
    assert some > 4


def test_instances_may_have_different_candidates(design, targets):
    sets = [SETS[:3], [(0, 2, 3, 4)], SETS[4:5], SETS]
    together = pursue(design, targets, sets)
    for b, own in enumerate(sets):
        (alone,) = pursue(design, targets[b : b + 1], [own])
        assert together[b].order == alone.order
        assert together[b].gains == pytest.approx(alone.gains, rel=1e-6)
        assert together[b].test == pytest.approx(alone.test, abs=1e-6)


def test_a_copy_of_what_is_taken_is_out_of_play():
    masks = random_masks(5, 600, np.random.default_rng(3))
    masks[:, 4] = masks[:, 3]
    design = MaskDesign(masks)
    y = 2.0 * design.coded[:, 0] * design.coded[:, 3] + 0.1 * np.random.default_rng(4).normal(size=600)
    (taken,) = pursue(design, y[None], [[(0, 3), (0, 4)]], least=0.0, sigmas=-100.0)
    assert len(taken.order) == 1


def test_with_no_more_rows_than_main_effects_nothing_is_left_to_take():
    design = MaskDesign(random_masks(30, 60, np.random.default_rng(5)))
    assert design.train.stop <= 31
    y = np.random.default_rng(6).normal(size=(3, 60))
    pairs = list(itertools.combinations(range(30), 2))[:40]
    assert all(not taken.order for taken in pursue(design, y, [pairs] * 3, least=0.0, sigmas=-100.0))
