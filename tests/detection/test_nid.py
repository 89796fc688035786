"""NID: the read-out of the weights against the formula in loops and by hand, and what it finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.masks import MaskDesign, random_masks
from nid_plugins.detection.mlp import Training
from nid_plugins.detection.networks import fit_networks
from nid_plugins.detection.nid import NID, influence, read_pairs, read_sets


def seeds(n):
    return [np.random.SeedSequence(5, spawn_key=(i,)) for i in range(n)]


def slow_influence(weights):
    """|w_y| |W_L| ... |W_2|, one path at a time; weights are given as (inputs, units)."""
    first_units = weights[0].shape[1]
    z = []
    for unit in range(first_units):
        total = 0.0
        for path in itertools.product(*(range(w.shape[1]) for w in weights[1:])):
            value, below = 1.0, unit
            for weight, above in zip(weights[1:], path, strict=True):
                value *= abs(weight[below, above])
                below = above
            total += value
        z.append(total)
    return z


def slow_sets(weights):
    """Algorithm 1 of the paper, in loops: prefixes of the inputs of each unit sorted by weight, equal sets added up."""
    first, z = weights[0], slow_influence(weights)
    p = first.shape[0]
    strengths = {}
    for unit in range(first.shape[1]):
        order = sorted(range(p), key=lambda j: -abs(first[j, unit]))
        for size in range(2, p + 1):
            members = tuple(sorted(order[:size]))
            weakest = min(abs(first[j, unit]) for j in members)
            strengths[members] = strengths.get(members, 0.0) + z[unit] * weakest
    return strengths


def random_weights(widths, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=pair) for pair in itertools.pairwise(widths)]


@pytest.mark.parametrize("widths", [(5, 7, 4, 1), (3, 2, 1), (6, 9, 5, 3, 1)])
def test_read_out_against_the_formula_in_loops(widths):
    weights = random_weights(widths, seed=len(widths))
    assert influence(weights) == pytest.approx(slow_influence(weights))
    expected = slow_sets(weights)
    sets, strengths = read_sets(weights)
    assert dict(zip(sets, strengths, strict=True)) == pytest.approx(expected)
    assert list(strengths) == sorted(strengths, reverse=True)


@pytest.mark.parametrize("widths", [(5, 7, 4, 1), (4, 3, 1)])
def test_pairwise_form_in_loops(widths):
    weights = random_weights(widths, seed=9)
    z = slow_influence(weights)
    pairs = read_pairs(weights)
    for a, b in itertools.product(range(widths[0]), repeat=2):
        expected = sum(z[i] * min(abs(weights[0][a, i]), abs(weights[0][b, i])) for i in range(widths[1]))
        assert pairs[a, b] == pytest.approx(0.0 if a == b else expected)


def test_by_hand():
    first = np.array([[3.0, 0.5], [-2.0, 0.25], [1.0, -4.0]])  # three inputs, two units
    second = np.array([[-1.0], [2.0]])
    # z = (1, 2). Unit 0: {0,1} at 2, {0,1,2} at 1. Unit 1: {0,2} at 0.5, {0,1,2} at 0.25.
    sets, strengths = read_sets([first, second])
    assert sets == [(0, 1), (0, 1, 2), (0, 2)]
    assert strengths.tolist() == [2.0, 1.5, 1.0]
    # omega(0,1) = 1*2 + 2*0.25; omega(0,2) = 1*1 + 2*0.5; omega(1,2) = 1*1 + 2*0.25
    assert read_pairs([first, second]).tolist() == [[0, 2.5, 2], [2.5, 0, 1.5], [2, 1.5, 0]]


def test_equal_sets_of_different_units_add_up_and_zero_strength_is_dropped():
    first = np.array([[3.0, 1.0, 1.0], [2.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    sets, strengths = read_sets([first, np.array([[1.0], [1.0], [1.0]])])
    assert sets == [(0, 1)]
    assert strengths.tolist() == [3.0]


def test_only_the_strongest_are_kept():
    weights = random_weights((12, 40, 1), seed=3)
    everything, values = read_sets(weights, top=10_000)
    few, best = read_sets(weights, top=10)
    assert len(everything) > 100
    assert few == everything[:10]
    assert np.array_equal(best, values[:10])
    assert len(read_sets(weights)[0]) == 100


def test_one_input_has_no_sets():
    sets, strengths = read_sets([np.ones((1, 3)), np.ones((3, 1))])
    assert sets == []
    assert strengths.shape == (0,)


@pytest.fixture(scope="module")
def design():
    return MaskDesign(random_masks(6, 900, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def targets(design):
    w = design.coded
    return np.array(
        [
            5.0 + 3.0 * w[:, 0] + 2.0 * w[:, 1] * w[:, 2],
            1.0 - w[:, 4] + 8.0 * w[:, 3] * w[:, 4] * w[:, 5],
            2.0 * w[:, 0] - w[:, 5] + 0.5 * w[:, 2],
            np.full(900, 0.7),
        ]
    )


@pytest.fixture(scope="module")
def explained(design, targets):
    detector = NID()
    return detector.fit(detector.prepare(design.masks), targets, seeds(4))


def test_it_ranks_the_planted_pair_first(explained):
    assert explained[0].sets[0] == (1, 2)
    pairs = explained[0].pairs
    assert np.unravel_index(pairs.argmax(), pairs.shape) == (1, 2)
    assert np.array_equal(pairs, pairs.T)
    assert explained[0].r2 > 0.9


def test_it_finds_a_triple(explained):
    assert (3, 4, 5) in explained[1].sets[:4]
    # Anything above it is made of the same fields.
    above = explained[1].sets[: explained[1].sets.index((3, 4, 5))]
    assert all(set(members) <= {3, 4, 5} for members in above)


def test_main_effects_alone_give_nothing(explained):
    additive, constant = explained[2], explained[3]
    assert additive.sets == []
    assert additive.strengths.shape == (0,)
    assert additive.r2 == pytest.approx(1.0)
    assert not additive.pairs.any()
    assert constant.sets == []
    assert np.isnan(constant.r2)


def test_without_the_linear_part_main_effects_leak(design, targets, explained):
    detector = NID(linear=False)
    leaky = detector.fit(detector.prepare(design.masks), targets, seeds(4))
    assert leaky[2].sets, "the additive model seems to interact"
    assert leaky[3].sets == [], "a constant still does not"
    assert leaky[0].r2 > 0.9


def test_strength_is_in_logits(design, targets):
    detector = NID()
    state = detector.prepare(design.masks)
    (one,) = detector.fit(state, targets[:1], seeds(1))
    (tenfold,) = detector.fit(state, targets[:1] * 10.0, seeds(1))
    assert tenfold.sets[:3] == one.sets[:3]
    assert tenfold.strengths[:3] == pytest.approx(10 * one.strengths[:3], rel=1e-3)
    assert tenfold.pairs == pytest.approx(10 * one.pairs, rel=1e-2, abs=1e-2)
    assert tenfold.r2 == pytest.approx(one.r2, abs=1e-4)


def test_the_explainer_predicts_logits_main_effects_included(design, targets):
    training = Training((32,), epochs=60)
    for linear in (True, False):
        networks, scales, r2 = fit_networks(design, targets, training, seeds(4), linear=linear)
        assert scales[3] == 0
        assert (scales[2] == 0) == linear
        rest = design.residuals(targets) if linear else targets
        centre = rest[:, design.train].mean(axis=1)
        out = networks.forward(design.masks[design.test].astype(np.float32))[0]
        for b in range(2):
            predicted = targets[b] - rest[b] + centre[b]
            predicted = predicted[design.test] + scales[b] * out[b]
            y = targets[b, design.test]
            assert r2[b] == pytest.approx(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def test_an_instance_does_not_depend_on_its_neighbours(design, targets):
    detector = NID(epochs=15)
    state = detector.prepare(design.masks)
    together = detector.fit(state, targets, seeds(4))
    alone = [detector.fit(state, targets[b : b + 1], seeds(4)[b : b + 1])[0] for b in range(4)]
    for a, b in zip(together, alone, strict=True):
        assert a.sets[:5] == b.sets[:5]
        assert a.strengths[:5] == pytest.approx(b.strengths[:5], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"hidden": ()}, "hidden"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": 64}, "hidden"),
        ({"l1": -1e-3}, "l1"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"batch": 0}, "batch"),
        ({"epochs": 1.5}, "epochs"),
        ({"patience": 0}, "patience"),
        ({"dropout": 0.1}, "no option 'dropout'"),
    ],
)
@pytest.mark.parametrize("detector", ["nid", "gradient_nid"])
def test_options_out_of_their_domain_are_refused_before_the_model_is_asked(
    schema, frame, small, detector, options, what
):
    def model(columns):
        raise AssertionError("asked")

    with pytest.raises(nid.SettingError, match=what):
        nid.detect(
            nid.wrap(model, schema, output="logit"), frame, detector=detector, options=options, **small
        )


def test_options_reach_the_report(box, frame):
    report = nid.detect(
        box,
        frame,
        detector="nid",
        options={"hidden": (16,), "epochs": 5},
        instances=3,
        perturbations=100,
        progress=False,
    )
    assert report.settings["detector"] == "nid"
    assert report.settings["options"]["hidden"] == [16]
    assert report.settings["options"]["epochs"] == 5
    assert report.settings["options"]["linear"] is True
