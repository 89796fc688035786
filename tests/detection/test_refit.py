"""Strengths from all masks where masks are few: the regression it is, and what it is good for."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.detection import LeastSquares, MaskDesign, random_masks
from nid_plugins.detection.refit import AllMasks, refitted

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
FIELDS = 16
PAIRS = FIELDS * (FIELDS - 1) // 2
ROWS, COLUMNS = np.triu_indices(FIELDS, 1)


def design_of(masks, seed=0, fields=FIELDS):
    return MaskDesign(random_masks(fields, masks, np.random.default_rng(seed)))


def products_of(design):
    rows, columns = np.triu_indices(design.masks.shape[1], 1)
    return np.ascontiguousarray((design.coded[:, rows] * design.coded[:, columns]).T)


def logits(design, rng, instances=5):
    """Return logits of main effects, some pairs, and products of four fields that no pair explains."""
    coded = design.coded
    pairs = np.zeros((instances, PAIRS))
    pairs[:, rng.choice(PAIRS, 10, replace=False)] = rng.normal(size=(instances, 10))
    high = np.array([coded[:, rng.choice(FIELDS, 4, replace=False)].prod(axis=1) for _ in range(40)])
    main = rng.normal(size=(instances, FIELDS)) @ coded.T
    return main + pairs @ products_of(design) + rng.normal(size=(instances, 40)) @ high, pairs


def test_the_regression_is_ridge_on_all_masks_with_the_penalty_of_the_least_generalised_cross_validation():
    design, rng = design_of(200), np.random.default_rng(1)
    targets, _ = logits(design, rng)
    columns = np.hstack([np.ones((200, 1)), design.coded])
    fitted = columns @ np.linalg.pinv(columns)
    pairs, left = products_of(design).T, targets.T
    pairs, left = pairs - fitted @ pairs, left - fitted @ left
    gram = pairs.T @ pairs
    options, errors = [], []
    for penalty in PENALTIES:
        solved = np.linalg.solve(gram + penalty * np.trace(gram) / PAIRS * np.eye(PAIRS), pairs.T)
        hat = pairs @ solved
        options.append(solved @ left)
        errors.append(((left - hat @ left) ** 2).sum(axis=0) / (200 - 17 - np.trace(hat)) ** 2)
    choice = np.argmin(errors, axis=0)
    assert len(set(choice.tolist())) > 1, "instances differ in their penalty"
    found = AllMasks(design, products_of(design), PENALTIES).coefficients(targets)
    np.testing.assert_allclose(found, np.array(options)[choice, :, np.arange(5)], atol=1e-10)


def test_which_main_effects_were_taken_out_before_does_not_matter():
    design, rng = design_of(200), np.random.default_rng(2)
    targets, _ = logits(design, rng)
    regression = AllMasks(design, products_of(design), PENALTIES)
    found = regression.coefficients(targets)
    np.testing.assert_allclose(regression.coefficients(design.residuals(targets)), found, atol=1e-10)


def test_strengths_of_all_pairs_are_nearer_to_the_truth_than_those_fitted_without_the_held_out_masks():
    errors = []
    for seed in range(4):
        design, rng = design_of(240, seed), np.random.default_rng(seed)
        targets, pairs = logits(design, rng)
        detector = LeastSquares()
        state = detector.prepare(design.masks)
        found = detector.fit(state, targets, [np.random.SeedSequence(0)] * 5)
        without = np.abs(state.solve(state.design.residuals(targets))[0])[:, ROWS, COLUMNS]
        known = np.array([each.pairs[ROWS, COLUMNS] for each in found])
        errors.append([np.mean((one - np.abs(pairs)) ** 2) for one in (known, without)])
        first, second = next(members for members in found[0].sets if len(members) == 2)
        place = np.flatnonzero((first == ROWS) & (second == COLUMNS))
        strength = found[0].strengths[found[0].sets.index((first, second))]
        assert strength == pytest.approx(without[0, place]), "sets are found without them"
    known, without = np.array(errors).T
    assert (known < 0.8 * without).all()


def test_enough_masks_are_not_fitted_twice():
    few, enough = design_of(400), design_of(800)
    assert few.train.stop < 3 * PAIRS <= enough.train.stop
    assert refitted(few, products_of(few), PENALTIES) is not None
    assert refitted(enough, products_of(enough), PENALTIES) is None
    detector = LeastSquares()
    state = detector.prepare(enough.masks)
    targets, _ = logits(enough, np.random.default_rng(3))
    found = detector.fit(state, targets, [np.random.SeedSequence(0)] * 5)
    pairs = np.abs(state.solve(state.design.residuals(targets))[0])
    np.testing.assert_array_equal([each.pairs for each in found], pairs)


def test_main_effects_may_leave_nothing_to_fit_pairs_on():
    design = design_of(24, fields=30)
    assert refitted(design, products_of(design), PENALTIES) is None
    found = LeastSquares().fit(
        LeastSquares().prepare(design.masks), design.coded[None, :, 0] * 2, [np.random.SeedSequence(0)]
    )
    assert np.isfinite(found[0].pairs).all()


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e9])
def test_logits_without_pairs_have_none(size):
    design = design_of(200)
    targets = size * (design.coded @ np.arange(FIELDS))[None]
    found = AllMasks(design, products_of(design), PENALTIES).coefficients(targets)
    assert np.abs(found).max() <= 1e-12 * size
