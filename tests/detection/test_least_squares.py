"""Least squares: planted coefficients come back, by either solver, and triples are scanned on what pairs leave."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.least_squares import LeastSquares, _Dual, _Primal
from nid_plugins.detection.masks import MaskDesign, r_squared, random_masks


def fit(masks, targets, **options):
    detector = LeastSquares(**options)
    return detector.fit(detector.prepare(masks), np.atleast_2d(targets), [None] * len(np.atleast_2d(targets)))


def strengths(found):
    return dict(zip(found.sets, found.strengths.tolist(), strict=True))


@pytest.fixture(scope="module")
def masks():
    return random_masks(7, 900, np.random.default_rng(0))


@pytest.fixture(scope="module")
def coded(masks):
    return masks - 0.5


def test_planted_pairs_come_back(masks, coded):
    y = (
        4.0
        + coded[:, 0]
        - 2 * coded[:, 6]
        + 1.5 * coded[:, 1] * coded[:, 2]
        - 0.4 * coded[:, 2] * coded[:, 5]
    )
    (found,) = fit(masks, y)
    assert found.sets[:2] == [(1, 2), (2, 5)]
    assert found.strengths[:2] == pytest.approx([1.5, 0.4], rel=5e-3)
    assert found.strengths[2] < 5e-3
    expected = np.zeros((7, 7))
    expected[1, 2] = expected[2, 1] = 1.5
    expected[2, 5] = expected[5, 2] = 0.4
    assert found.pairs == pytest.approx(expected, abs=5e-3)
    assert found.r2 > 0.9999


def test_an_ordinary_regression_says_the_same_of_noise(masks, coded):
    y = np.random.default_rng(1).normal(size=900)
    design = MaskDesign(masks)
    pairs = list(itertools.combinations(range(7), 2))
    columns = np.array([np.ones(900), *coded.T, *(coded[:, a] * coded[:, b] for a, b in pairs)]).T
    expected = np.linalg.lstsq(columns[design.train], y[design.train], rcond=None)[0][8:]
    (found,) = fit(masks, y, penalties=(1e-9,))
    assert [found.pairs[pair] for pair in pairs] == pytest.approx(np.abs(expected), rel=1e-4)
    left = (y - columns @ np.linalg.lstsq(columns[design.train], y[design.train], rcond=None)[0])[design.test]
    total = y[design.test] - y[design.test].mean()
    assert found.r2 == pytest.approx(1 - (left**2).sum() / (total**2).sum(), rel=1e-4)


def test_the_penalty_is_chosen_on_the_validation_rows_for_each_instance(masks, coded):
    rng = np.random.default_rng(2)
    clean = 2.0 * coded[:, 0] * coded[:, 1]
    noise = rng.normal(size=900)
    (a, b) = fit(masks, np.array([clean, noise]), penalties=(1e-6, 100.0))
    assert a.strengths[0] == pytest.approx(2.0, rel=1e-3)
    (heavy,) = fit(masks, noise, penalties=(100.0,))
    assert b.pairs == pytest.approx(heavy.pairs), "noise is shrunk"
    assert fit(masks, noise, penalties=(1e-6,))[0].pairs.max() > 5 * b.pairs.max()
    # The rows of the test are not looked at.
    design = MaskDesign(masks)
    changed = noise.copy()
    changed[design.test] = 1e3
    assert np.array_equal(fit(masks, changed)[0].pairs, fit(masks, noise)[0].pairs)


@pytest.mark.parametrize(("p", "rows"), [(3, 400), (7, 900), (24, 2400)])
def test_a_planted_triple_comes_back(p, rows):
    masks = random_masks(p, rows, np.random.default_rng(p))
    w = masks - 0.5
    y = w[:, 0] + 3.0 * w[:, 0] * w[:, 1] * w[:, p - 1] + (w[:, 1] * w[:, p - 1] if p > 3 else 0.0)
    (found,) = fit(masks, y)
    got = strengths(found)
    assert got[0, 1, p - 1] == pytest.approx(3.0, rel=0.1)
    if p > 3:
        assert max(v for s, v in got.items() if len(s) == 3 and s != (0, 1, p - 1)) < 1.5
    else:
        assert [s for s in found.sets if len(s) == 3] == [(0, 1, 2)]


def test_a_triple_without_pairs_is_found_among_few_fields(masks, coded):
    (found,) = fit(masks, 2.0 * coded[:, 2] * coded[:, 3] * coded[:, 4], pairs=1)
    triples = [s for s in found.sets if len(s) == 3]
    assert triples[0] == (2, 3, 4)


def test_among_many_fields_triples_extend_the_strongest_pairs():
    masks = random_masks(24, 2400, np.random.default_rng(1))
    w = masks - 0.5
    y = 3.0 * w[:, 5] * w[:, 9] + 2.0 * w[:, 5] * w[:, 9] * w[:, 20] + 2.0 * w[:, 1] * w[:, 2] * w[:, 3]
    (found,) = fit(masks, y, pairs=1, triples=6)
    triples = [s for s in found.sets if len(s) == 3]
    assert triples[0] == (5, 9, 20)
    assert len(triples) == 6
    assert all({5, 9} < set(s) for s in triples)


def test_orders_and_triples_are_bounds(masks, coded):
    y = coded[:, 0] * coded[:, 1] * coded[:, 2]
    (pairs_only,) = fit(masks, y, orders=2)
    assert {len(s) for s in pairs_only.sets} == {2}
    (found,) = fit(masks, y, triples=4)
    assert sum(len(s) == 3 for s in found.sets) == 4
    assert len(set(found.sets)) == len(found.sets)


def test_a_triple_has_three_fields():
    masks = random_masks(4, 300, np.random.default_rng(2))
    (found,) = fit(masks, np.random.default_rng(3).normal(size=300), triples=100)
    assert sorted(found.sets) == sorted(
        [*itertools.combinations(range(4), 2), *itertools.combinations(range(4), 3)]
    )


def test_orders_are_ranked_by_the_spread_of_their_effect(masks, coded):
    y = 1.0 * coded[:, 0] * coded[:, 1] + 1.6 * coded[:, 4] * coded[:, 5] * coded[:, 6]
    (found,) = fit(masks, y)
    # A triple of coefficient 1.6 moves the logit by 1.6 / 8, a pair of 1 by 1 / 4.
    assert found.sets[:2] == [(0, 1), (4, 5, 6)]
    effect = [v / 2 ** len(s) for s, v in zip(found.sets, found.strengths, strict=True)]
    assert effect == sorted(effect, reverse=True)


@pytest.mark.parametrize(("p", "rows"), [(6, 200), (16, 1200), (16, 120)])
def test_primal_and_dual_are_the_same_regression(p, rows):
    masks = random_masks(p, rows, np.random.default_rng(3))
    w = masks - 0.5
    rng = np.random.default_rng(4)
    y = np.array(
        [
            3 * w[:, 0] * w[:, 1] - 2 * w[:, 3] * w[:, 5] + w[:, 2] + 0.1 * rng.normal(size=rows),
            w[:, 3] * w[:, 5] + 0.5 * w[:, 2] * w[:, 4] + 0.1 * rng.normal(size=rows),
            rng.normal(size=rows),
        ]
    )
    design = MaskDesign(masks)
    residuals = design.residuals(y)
    # The dual leaves out the first of several penalties.
    primal, dual = _Primal(design, (1e-3, 0.1)), _Dual(design, (1e-6, 1e-3, 0.1))
    (a, left_a), (b, left_b) = primal.solve(residuals), dual.solve(residuals)
    assert a.shape == b.shape == (3, p, p)
    assert np.allclose(a, b, rtol=1e-6, atol=1e-8)
    assert np.allclose(left_a, left_b, rtol=1e-6, atol=1e-8)
    assert np.allclose(b, b.transpose(0, 2, 1))
    assert not np.diagonal(b, axis1=1, axis2=2).any()
    if rows > 1000:
        assert b[0, 0, 1] == pytest.approx(3.0, abs=0.1)
        assert b[0, 3, 5] == pytest.approx(-2.0, abs=0.1), "signs too"


def test_coefficients_are_those_of_a_ridge_regression():
    masks = random_masks(6, 200, np.random.default_rng(5))
    design = MaskDesign(masks)
    pairs = list(itertools.combinations(range(6), 2))
    products = np.array([design.product(pair) for pair in pairs])
    columns = design.residuals(products).T
    y = design.residuals(np.random.default_rng(6).normal(size=(2, 200)))
    train = columns[design.train]
    scale = (train**2).sum(axis=0).mean()
    gram = train.T @ train + 0.03 * scale * np.eye(len(pairs))
    for kind in (_Primal, _Dual):
        found, left = kind(design, (0.03,)).solve(y)
        for b in range(2):
            expected = np.linalg.solve(gram, train.T @ y[b, design.train])
            assert [found[b][pair] for pair in pairs] == pytest.approx(expected, rel=1e-8)
            assert left[b] == pytest.approx(y[b] - columns @ expected, rel=1e-6, abs=1e-9)


def test_large_designs_are_multiplied_in_single_precision_to_within_rounding(monkeypatch):
    masks = random_masks(16, 1200, np.random.default_rng(10))
    w = masks - 0.5
    rng = np.random.default_rng(11)
    y = np.array([5 + 3 * w[:, i] * w[:, 1] * w[:, 2] - 2 * w[:, 3] * w[:, 5] + w[:, 2] for i in (0, 4, 7)])
    y += 0.3 * rng.normal(size=y.shape)
    double = fit(masks, y)
    monkeypatch.setattr("nid_plugins.detection.least_squares.SINGLE_SIZE", 0)
    state = LeastSquares().prepare(masks)
    single = LeastSquares().fit(state, y, [None] * 3)
    assert state.products.dtype == np.float32
    for a, b in zip(single, double, strict=True):
        assert a.sets[:10] == b.sets[:10]
        assert a.pairs == pytest.approx(b.pairs, abs=3e-7)
        assert strengths(a)[3, 5] == pytest.approx(strengths(b)[3, 5], rel=1e-6)
        assert a.strengths == pytest.approx(b.strengths, abs=1e-6)
        assert a.r2 == pytest.approx(b.r2, abs=1e-6)
    # Too few rows to tell the pairs apart would make rounding large.
    state = LeastSquares().prepare(masks[:400])
    state.solve(state.design.residuals(y[:, :400]))
    assert state.products.dtype == np.float64


def test_threads_that_ask_at_once_find_one_factorisation(monkeypatch):
    masks = random_masks(12, 600, np.random.default_rng(12))
    y = np.random.default_rng(13).normal(size=(4, 600))
    detector = LeastSquares()
    calls = []
    factorise = _Primal._factorise
    monkeypatch.setattr(_Primal, "_factorise", lambda self: (calls.append(1), factorise(self)))
    state = detector.prepare(masks)
    assert not calls, "the model's first answers need not wait for it"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: detector.fit(state, y, [None] * 4), range(4)))
    assert calls == [1]
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.sets == b.sets
            assert np.array_equal(a.pairs, b.pairs)


def test_many_fields_take_the_dual_and_find_the_pairs():
    masks = random_masks(60, 2400, np.random.default_rng(7))
    w = masks - 0.5
    y = 3.0 * w[:, 7] * w[:, 41] - 2.0 * w[:, 0] * w[:, 59] + w[:, 5] - 1.0
    detector = LeastSquares(penalties=(1e-3,))
    state = detector.prepare(masks)
    assert isinstance(state, _Dual)
    (found,) = detector.fit(state, y[None], [None])
    assert found.sets[:2] == [(7, 41), (0, 59)]
    assert found.strengths[:2] == pytest.approx([3.0, 2.0], rel=0.1)
    assert found.strengths[2] < 0.1
    assert sum(len(s) == 2 for s in found.sets) == 100
    assert found.pairs.shape == (60, 60)
    assert isinstance(detector.prepare(masks[:200, :51]), _Primal)
    assert isinstance(LeastSquares().prepare(masks[:200, :52]), _Dual)


def test_two_fields(box):
    masks = random_masks(2, 100, np.random.default_rng(8))
    w = masks - 0.5
    (found,) = fit(masks, 1.0 + 0.5 * w[:, 0] + 2.0 * w[:, 0] * w[:, 1])
    assert found.sets == [(0, 1)]
    assert found.strengths == pytest.approx([2.0], rel=1e-3)
    assert found.r2 == pytest.approx(1.0)


def test_additive_and_constant_targets_have_no_interactions(masks, coded):
    additive, constant = fit(masks, np.array([3.3 + coded @ np.arange(7.0), np.full(900, 0.7)]))
    for found in (additive, constant):
        assert found.sets == []
        assert found.strengths.shape == (0,)
    assert additive.r2 == pytest.approx(1.0)
    assert np.isnan(constant.r2)


def test_float32_rounding_is_no_interaction(masks, coded):
    y = (coded.astype(np.float32) @ np.arange(7, dtype=np.float32) + np.float32(9.9)).astype(np.float64)
    y += np.random.default_rng(0).choice([-1, 1], size=900) * 4e-7
    (found,) = fit(masks, y)
    assert found.sets == []


def test_fewer_rows_than_pairs():
    masks = random_masks(30, 120, np.random.default_rng(9))
    w = masks - 0.5
    (found,) = fit(masks, 10.0 * w[:, 3] * w[:, 4] + w[:, 0])
    assert found.sets[0] == (3, 4)
    assert np.isfinite(found.strengths).all()
    assert found.strengths.max() < 20


def test_with_no_more_rows_than_main_effects_there_is_nothing_but_these():
    masks = random_masks(30, 60, np.random.default_rng(14))
    w = masks - 0.5
    y = w @ np.random.default_rng(15).normal(size=30) + 10.0 * w[:, 3] * w[:, 4] + w[:, 7] * w[:, 9]
    (found,) = fit(masks, y)
    design = MaskDesign(masks)
    assert found.sets == []
    assert found.pairs == pytest.approx(np.zeros((30, 30)), abs=1e-12)
    residual = design.residuals(y[None])[0]
    assert found.r2 == pytest.approx(float(r_squared(y[design.test], residual[design.test])))


def test_instances_are_independent(masks, coded):
    y = np.array([coded[:, 0] * coded[:, 1], coded[:, 2] * coded[:, 3] * coded[:, 4], coded @ np.ones(7)])
    together = fit(masks, y)
    for b in range(3):
        (alone,) = fit(masks, y[b])
        assert alone.pairs == pytest.approx(together[b].pairs, abs=1e-9)
        assert alone.sets[:3] == together[b].sets[:3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"orders": 1},
        {"orders": 4},
        {"pairs": 0},
        {"triples": 1.5},
        {"penalties": ()},
        {"penalties": (1e-3, 0.0)},
        {"penalties": (float("nan"),)},
        {"penalties": 0.1},
        {"penalties": ("small",)},
    ],
)
def test_options_out_of_their_domain(box, frame, small, wrong):
    with pytest.raises(nid.SettingError, match=next(iter(wrong))):
        nid.detect(box, frame, options=wrong, **small)
