"""Selection by held-out gain: noise keeps nothing, what is planted stays, redundant sets go."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.detector import Explanation
from nid_plugins.detection.gain import GainSelector, candidates_of
from nid_plugins.detection.masks import MaskDesign, random_masks

PAIRS = list(itertools.combinations(range(6), 2))
TRIPLES = list(itertools.combinations(range(6), 3))


@pytest.fixture(scope="module")
def design():
    return MaskDesign(random_masks(6, 1200, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def w(design):
    return design.coded


def found(*sets, strengths=None, pairs=None):
    values = np.arange(len(sets), 0, -1.0) if strengths is None else np.array(strengths, dtype=float)
    return Explanation(list(sets), values, pairs=pairs)


def test_pure_noise_keeps_almost_nothing(design):
    rng = np.random.default_rng(1)
    selector = GainSelector(design)
    kept = [len(selector.select(rng.normal(size=1200), found(*PAIRS, *TRIPLES)).sets) for _ in range(100)]
    # 35 candidates each, two standard errors: a few in a thousand pass. Without the held-out check all 35 would.
    assert np.mean(kept) < 0.5


def test_noise_beside_a_signal_keeps_almost_nothing_else(design, w):
    rng = np.random.default_rng(2)
    selector = GainSelector(design)
    extra = 0
    for _ in range(50):
        kept = selector.select(
            w[:, 0] + 2 * w[:, 1] * w[:, 4] + 0.3 * rng.normal(size=1200), found(*PAIRS, *TRIPLES)
        )
        assert (1, 4) in kept.sets
        extra += len(kept.sets) - 1
    assert extra < 25


def test_planted_sets_are_kept_with_their_gain(design, w):
    y = 3.0 + w[:, 0] - w[:, 5] + 2.0 * w[:, 1] * w[:, 2] + 1.0 * w[:, 3] * w[:, 4]
    kept = GainSelector(design).select(y, found(*PAIRS, *TRIPLES))
    assert set(kept.sets) == {(1, 2), (3, 4)}
    gains = dict(zip(kept.sets, kept.gains, strict=True))
    # A product of coefficient c explains about c^2 times its own variance beyond main effects.
    ratio = gains[1, 2] / gains[3, 4]
    assert 2.5 < ratio < 6
    total = y[design.valid].var()
    assert sum(kept.gains) * total == pytest.approx(
        (design.residuals(y[None])[0, design.valid] ** 2).mean(), rel=0.05
    )
    assert kept.r2 == pytest.approx(1.0, abs=1e-6)
    assert kept.r2_linear < 0.9


def test_sets_come_strongest_first_with_the_detectors_strengths(design, w):
    y = 2.0 * w[:, 1] * w[:, 2] + 1.0 * w[:, 3] * w[:, 4]
    kept = GainSelector(design).select(y, found((3, 4), (0, 5), (1, 2), strengths=[9.0, 5.0, 0.5]))
    assert kept.sets == [(3, 4), (1, 2)]
    assert kept.strengths == [9.0, 0.5]
    assert kept.gains[0] < kept.gains[1]


def test_a_pair_inside_a_triple(design, w):
    y = 2.0 * w[:, 0] * w[:, 1] + 3.0 * w[:, 0] * w[:, 1] * w[:, 2]
    pairs = np.zeros((6, 6))
    pairs[0, 1] = pairs[1, 0] = 7.0
    # The detector named the triple only: the pairs inside are tried, too, and the one that works is kept beside it.
    kept = GainSelector(design).select(y, found((0, 1, 2), pairs=pairs))
    assert set(kept.sets) == {(0, 1), (0, 1, 2)}
    assert kept.sets[0] == (0, 1)
    assert kept.strengths == [7.0, 1.0]
    # Together they explain all that main effects leave on the rows that judge: each counts what it adds to the other.
    left = (design.residuals(y[None])[0, design.valid] ** 2).mean()
    assert sum(kept.gains) * y[design.valid].var() == pytest.approx(left, rel=1e-3)
    assert kept.r2 == pytest.approx(1.0, abs=1e-3)
    # Without pair strengths it counts, with strength zero, last.
    without = GainSelector(design).select(y, found((0, 1, 2)))
    assert without.sets == [(0, 1, 2), (0, 1)]
    assert without.strengths == [1.0, 0.0]


def test_a_redundant_superset_is_dropped(design, w):
    y = 2.0 * w[:, 0] * w[:, 1]
    kept = GainSelector(design).select(y, found((0, 1, 2), (0, 1, 3), (0, 1)))
    assert kept.sets == [(0, 1)]


def test_a_pair_that_only_its_triple_makes_is_dropped(design, w):
    y = 3.0 * w[:, 3] * w[:, 4] * w[:, 5]
    kept = GainSelector(design).select(y, found(*PAIRS, *TRIPLES))
    assert (3, 4, 5) in kept.sets
    # Pairs correlate with the triple a little in these masks and may explain a little of it, others must not.
    assert all(set(s) <= {3, 4, 5} for s in kept.sets)


def test_a_near_copy_of_a_kept_set_adds_nothing():
    masks = random_masks(5, 600, np.random.default_rng(3))
    masks[:, 4] = masks[:, 3]
    design = MaskDesign(masks)
    w = design.coded
    y = 2.0 * w[:, 0] * w[:, 3]
    kept = GainSelector(design).select(y, found((0, 3), (0, 4)))
    assert len(kept.sets) == 1


def test_min_gain_is_a_share_of_the_held_out_variance(design, w):
    y = 5.0 * w[:, 0] + 2.0 * w[:, 1] * w[:, 2] + 0.4 * w[:, 3] * w[:, 4]
    gains = GainSelector(design, min_gain=0.0).select(y, found((1, 2), (3, 4)))
    (big, small) = gains.gains
    assert big > 0.03
    assert small < 0.003
    for least, expected in ((small * 0.9, 2), (small * 1.1, 1), (big * 1.1, 0)):
        kept = GainSelector(design, min_gain=least).select(y, found((1, 2), (3, 4)))
        assert len(kept.sets) == expected


def test_gain_must_stand_out_from_the_scatter_of_the_rows(design, w):
    y = 0.5 * w[:, 1] * w[:, 2] + 2.0 * np.random.default_rng(4).normal(size=1200)
    lenient = GainSelector(design, min_gain=0.0, sigmas=-100.0).select(y, found(*PAIRS))
    strict = GainSelector(design, min_gain=0.0, sigmas=100.0).select(y, found(*PAIRS))
    assert len(lenient.sets) > len(GainSelector(design, min_gain=0.0).select(y, found(*PAIRS)).sets)
    assert strict.sets == []
    assert all(gain >= 0 for gain in lenient.gains)


def test_only_held_out_rows_decide(design, w):
    y = 2.0 * w[:, 0] * w[:, 1]
    without = y.copy()
    # The pair is there on the training rows, and the opposite of it where it is judged.
    without[design.valid] = -y[design.valid]
    assert GainSelector(design).select(without, found((0, 1))).sets == []
    assert GainSelector(design).select(y, found((0, 1))).sets == [(0, 1)]
    test_off = y.copy()
    test_off[design.test] = -y[design.test]
    kept = GainSelector(design).select(test_off, found((0, 1)))
    assert kept.sets == [(0, 1)]
    assert kept.r2 < 0, "the rows of the test judge the result, and are not looked at before"


def test_r2_is_that_of_main_effects_and_kept_sets(design, w):
    rng = np.random.default_rng(5)
    y = w[:, 0] + 2.0 * w[:, 1] * w[:, 2] + 1.5 * w[:, 2] * w[:, 3] * w[:, 4] + 0.2 * rng.normal(size=1200)
    kept = GainSelector(design).select(y, found(*PAIRS, *TRIPLES))
    columns = np.column_stack([np.ones(1200), w, *(design.product(s) for s in kept.sets)])
    for r2, matrix in ((kept.r2, columns), (kept.r2_linear, columns[:, :7])):
        solution = np.linalg.lstsq(matrix[design.train], y[design.train], rcond=None)[0]
        test = y[design.test]
        left = test - matrix[design.test] @ solution
        assert r2 == pytest.approx(1 - (left**2).sum() / ((test - test.mean()) ** 2).sum(), abs=1e-4)


def test_limit_bounds_what_is_tried(design, w):
    y = 2.0 * w[:, 1] * w[:, 2]
    assert GainSelector(design, limit=2).select(y, found((3, 4), (1, 2))).sets == [(1, 2)]
    assert GainSelector(design, limit=1).select(y, found((3, 4), (1, 2))).sets == []


def test_candidates_are_the_strongest_and_the_pairs_inside_grouped_by_size():
    got = candidates_of(found((0, 1, 2), (4, 5), (0, 1, 2, 3, 4, 5), (7, 8)), 3)
    assert got == [(4, 5), (0, 1), (0, 2), (1, 2), (0, 1, 2), (0, 1, 2, 3, 4, 5)]
    five = candidates_of(found((0, 1, 2, 3, 4)), 9)
    assert len(five) == 11, "pairs of sets of up to five are tried, of larger ones they are too many"


def test_nothing_to_try_and_nothing_to_explain(design):
    selector = GainSelector(design)
    nothing = selector.select(np.random.default_rng(6).normal(size=1200), found())
    assert nothing.sets == nothing.gains == []
    assert nothing.r2 == nothing.r2_linear
    constant = selector.select(np.full(1200, 0.7), found((0, 1)))
    assert constant.sets == []
    assert np.isnan(constant.r2)


def test_what_is_in_the_cache_does_not_matter(design, w):
    y = (
        w[:, 0]
        + 2.0 * w[:, 1] * w[:, 2]
        + w[:, 3] * w[:, 4]
        + 0.3 * np.random.default_rng(7).normal(size=1200)
    )
    used = GainSelector(design)
    for sets in ([(0, 5)], [(1, 2), (2, 3), (0, 1, 2)], [(3, 4)]):
        used.select(y, found(*sets))
    fresh = GainSelector(design).select(y, found(*PAIRS))
    again = used.select(y, found(*PAIRS))
    assert again == fresh


def test_a_batch_keeps_what_its_instances_keep_alone(design, w):
    rng = np.random.default_rng(8)
    y = np.array([w[:, 0] * (i % 3) * w[:, i % 6] + w[:, 1] * w[:, 2] * w[:, 3] for i in range(6)])
    y = np.vstack([y + 0.2 * rng.normal(size=y.shape), np.full(1200, 0.7)])
    explanations = [found(*PAIRS[i:], *TRIPLES[: 3 * i]) for i in range(6)] + [found(*PAIRS)]
    selector = GainSelector(design)
    together = selector.select_all(y, explanations)
    assert any(len(kept.sets) > 1 for kept in together)
    for one, kept, explanation in zip(y, together, explanations, strict=True):
        alone = selector.select(one, explanation)
        assert (kept.sets, kept.strengths) == (alone.sets, alone.strengths)
        assert [*kept.gains, kept.r2, kept.r2_linear] == pytest.approx(
            [*alone.gains, alone.r2, alone.r2_linear], rel=1e-6, nan_ok=True
        )


def test_threads_may_select_at_once(design, w):
    y = np.random.default_rng(9).normal(size=(8, 1200)) + 2.0 * w[:, 1] * w[:, 2]
    one, shared = GainSelector(design), GainSelector(design)
    expected = [one.select(row, found(*PAIRS, *TRIPLES)) for row in y]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda row: shared.select(row, found(*PAIRS, *TRIPLES)), y)) == expected


def test_the_cache_is_bounded(design, w, monkeypatch):
    monkeypatch.setattr("nid_plugins.detection.columns.CACHE", 10 * 7)
    selector = GainSelector(design)
    first = selector.select(2 * w[:, 1] * w[:, 2] * w[:, 3], found(*TRIPLES))
    assert selector.select(2 * w[:, 1] * w[:, 2] * w[:, 3], found(*TRIPLES)) == first
    selector.select(2 * w[:, 1] * w[:, 2] * w[:, 3], found((0, 1, 2)))
    assert len(selector._columns) == 1


def test_residuals_may_be_handed_in(design, w):
    y = w[:, 0] + 2.0 * w[:, 1] * w[:, 2]
    residual = design.residuals(y[None])[0]
    before = residual.copy()
    selector = GainSelector(design)
    assert selector.select(y, found((1, 2)), residual) == selector.select(y, found((1, 2)))
    assert np.array_equal(residual, before), "and are not changed"


def test_through_detect_settings_decide(box, frame, small):
    default = nid.detect(box, frame, **small)
    assert default.settings["prune"] == "gain"
    assert set(default.top(9)) == {("a", "b"), ("c", "d")}
    assert all(i.gain > 1e-3 for i in default)
    picky = nid.detect(box, frame, min_gain=0.9, **small)
    assert len(picky) == 0 or all(i.gain >= 0.9 for i in picky)
    assert sum(picky.kept) < sum(default.kept)
    one = nid.detect(box, frame, candidates=1, **small)
    assert max(one.kept) <= 1 < max(default.kept)
