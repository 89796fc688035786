"""Matching pursuit: planted pairs among many fields, in memory that does not grow with the number of pairs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection import MatchingPursuit, random_masks


def planted(fields, pairs, seed, spread=0.3):
    """Return a function of masks (M, p) with planted pairs of different sizes, and the pairs with their coefficients."""
    rng = np.random.default_rng(seed)
    main = rng.normal(0, 1, fields)
    members = rng.permutation(fields)[: 2 * pairs].reshape(pairs, 2)
    members.sort(axis=1)
    sizes = rng.uniform(1 - spread, 1 + spread, pairs) * rng.choice([-1, 1], pairs)

    def logits(masks):
        z = masks.astype(float)
        return z @ main + (z[:, members[:, 0]] * z[:, members[:, 1]]) @ sizes

    return logits, dict(zip(map(tuple, members.tolist()), sizes, strict=True))


def explained(detector, fields, rows, functions, seed=0):
    masks = detector.masks(fields, rows, np.random.default_rng(seed))
    state = detector.prepare(masks)
    targets = np.array([f(masks) for f in functions])
    return detector.fit(state, targets, np.random.SeedSequence(0).spawn(len(targets)))


@pytest.mark.parametrize(("fields", "rows"), [(5, 200), (39, 1000), (200, 1500)])
def test_planted_pairs_lead_with_their_coefficients(fields, rows):
    worlds = [planted(fields, min(8, fields // 2), seed) for seed in range(4)]
    found = explained(MatchingPursuit(), fields, rows, [f for f, _ in worlds])
    for explanation, (_, pairs) in zip(found, worlds, strict=True):
        assert set(explanation.sets[: len(pairs)]) == set(pairs)
        for members, strength in zip(explanation.sets[: len(pairs)], explanation.strengths, strict=False):
            assert strength == pytest.approx(abs(pairs[members]), abs=0.02)
        assert explanation.r2 > 0.999
        assert explanation.pairs is None
        assert (np.diff(explanation.strengths) <= 0).all()


def test_a_weak_pair_hidden_by_strong_ones_is_found_in_a_later_round():
    fields = 60
    strong, pairs = planted(fields, 6, 1, spread=0.0)
    free = sorted(set(range(fields)) - {j for pair in pairs for j in pair})[:2]

    def logits(masks):
        return 10 * strong(masks) + 0.1 * masks[:, free[0]] * masks[:, free[1]]

    sets = {
        rounds: explained(MatchingPursuit(rounds=rounds), fields, 1000, [logits])[0].sets for rounds in (1, 3)
    }
    assert tuple(free) not in sets[1]
    assert sets[3][6] == tuple(free)


def test_noise_gives_few_pairs_and_nothing_gives_none():
    noise = np.random.default_rng(3)
    flat, noisy = explained(
        MatchingPursuit(), 100, 1500, [lambda m: np.full(len(m), 2.5), lambda m: noise.normal(size=len(m))]
    )
    assert flat.sets == []
    assert np.isnan(flat.r2)
    assert len(noisy.sets) < 60, "of 4,950 pairs"
    assert noisy.r2 < 0.1


def test_main_effects_alone_give_no_pairs():
    weights = np.random.default_rng(0).normal(size=50)
    (found,) = explained(MatchingPursuit(), 50, 1000, [lambda m: m @ weights])
    assert found.sets == []


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_the_block_changes_nothing(block):
    functions = [planted(70, 8, seed)[0] for seed in range(2)]
    one = explained(MatchingPursuit(block=block), 70, 800, functions)
    other = explained(MatchingPursuit(block=16), 70, 800, functions)
    for a, b in zip(one, other, strict=True):
        assert a.sets == b.sets
        np.testing.assert_allclose(a.strengths, b.strengths, rtol=1e-9)


def test_an_instance_does_not_depend_on_its_neighbours():
    functions = [planted(40, 6, seed)[0] for seed in range(5)]
    together = explained(MatchingPursuit(), 40, 600, functions)
    for i, function in enumerate(functions):
        (alone,) = explained(MatchingPursuit(), 40, 600, [function])
        assert alone.sets == together[i].sets
        np.testing.assert_allclose(alone.strengths, together[i].strengths, rtol=1e-9)


def test_memory_does_not_grow_with_the_number_of_pairs():
    fields, rows = 800, 2000
    rng = np.random.default_rng(0)
    masks = random_masks(fields, rows, rng)
    detector = MatchingPursuit(block=32)
    state = detector.prepare(masks)
    left = rng.normal(size=len(state.coded))
    tracemalloc.start()
    found = state.scan(left, 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) <= 32
    assert peak < 0.25 * 4 * fields * fields, "a fraction of one number a pair"
    exact = np.abs(
        (state.coded * (4 * left / np.linalg.norm(left)).astype(np.float32)[:, None]).T @ state.coded
    )
    exact[np.tril_indices(fields)] = 0
    best = np.argsort(-exact, axis=None)[: len(found)]
    assert set(map(tuple, found.tolist())) == set(
        zip(*map(np.ndarray.tolist, np.divmod(best, fields)), strict=True)
    )


def test_through_detect(box, frame, small):
    report = nid.detect(box, frame, detector="matching_pursuit", **small)
    assert set(report.top(2)) == {("a", "b"), ("c", "d")}
    assert report.settings["options"] == {"pairs": 32, "rounds": 3, "block": 64}
    assert report == nid.detect(box, frame, detector=MatchingPursuit(), executor="serial", **small)


def test_too_few_masks_for_the_fields_are_refused():
    with pytest.raises(nid.SettingError, match="too few perturbations for so many fields.*about 600"):
        MatchingPursuit().masks(200, 400, np.random.default_rng(0))


@pytest.mark.parametrize("option", ["pairs", "rounds", "block"])
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "many", True, None])
def test_options_out_of_their_domain(option, wrong):
    with pytest.raises(nid.SettingError, match=f"{option} out of range"):
        MatchingPursuit(**{option: wrong})
