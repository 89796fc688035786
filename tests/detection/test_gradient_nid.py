"""GradientNID: its Hessians against torch and finite differences, and what it finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import nid_plugins as nid
from nid_plugins.detection.gradient_nid import GradientNID, hessians
from nid_plugins.detection.masks import MaskDesign, random_masks
from nid_plugins.detection.networks import fit_networks


def network(widths, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=pair) for pair in itertools.pairwise(widths)]
    biases = [rng.normal(size=units) for units in widths[1:]]
    return weights, biases


@pytest.mark.parametrize("widths", [(4, 6, 1), (5, 7, 4, 1), (3, 5, 4, 3, 1)])
def test_hessians_against_torch(widths):
    weights, biases = network(widths, seed=len(widths))
    points = np.vstack([np.ones(widths[0]), np.random.default_rng(0).normal(size=(5, widths[0]))])

    def forward(x):
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.nn.functional.softplus(x @ torch.tensor(weight) + torch.tensor(bias), threshold=1e9)
        return (x @ torch.tensor(weights[-1]) + torch.tensor(biases[-1]))[0]

    got = hessians(weights, biases, points)
    for point, found in zip(points, got, strict=True):
        expected = torch.autograd.functional.hessian(forward, torch.tensor(point)).numpy()
        assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)
        assert np.allclose(found, found.T, rtol=1e-12, atol=1e-14)


def test_hessians_against_finite_differences():
    weights, biases = network((3, 5, 4, 1), seed=8)

    def forward(x):
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = np.log1p(np.exp(x @ weight + bias))
        return (x @ weights[-1] + biases[-1])[0]

    point, step = np.array([1.0, 0.0, 1.0]), 1e-4
    (found,) = hessians(weights, biases, point[None])
    for a, b in itertools.product(range(3), repeat=2):
        total = 0.0
        for i, j in itertools.product([1, -1], repeat=2):
            moved = point.copy()
            moved[a] += i * step
            moved[b] += j * step
            total += i * j * forward(moved)
        assert found[a, b] == pytest.approx(total / (4 * step**2), abs=1e-5)


def test_far_out_the_network_is_linear():
    weights, biases = network((3, 4, 1), seed=1)
    with np.errstate(over="raise", invalid="raise"):
        assert np.abs(hessians(weights, biases, np.full((1, 3), 1e4))).max() < 1e-9
        assert np.isfinite(hessians(weights, biases, np.full((1, 3), -1e4))).all()


@pytest.fixture(scope="module")
def design():
    return MaskDesign(random_masks(5, 900, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def targets(design):
    w = design.coded
    return np.array(
        [
            3.0 * w[:, 0] + 4.0 * w[:, 1] * w[:, 2] - 1.0,
            5.0 * w[:, 0] * w[:, 3] - 2.0 * w[:, 1] * w[:, 4],
            w[:, 0] - 2.0 * w[:, 1] + 0.3,
            np.full(900, 0.7),
        ]
    )


def seeds(n):
    return [np.random.SeedSequence(2, spawn_key=(i,)) for i in range(n)]


@pytest.fixture(scope="module")
def explained(design, targets):
    detector = GradientNID(batch=50)
    return detector.fit(detector.prepare(design.masks), targets, seeds(4))


def test_it_ranks_planted_pairs_first_in_logits(explained):
    first, second, additive, constant = explained
    assert first.sets[0] == (1, 2)
    # The network is smooth and interpolates a product of two binary inputs: about the product's coefficient.
    assert first.strengths[0] == pytest.approx(4.0, rel=0.3)
    assert first.strengths[1] < 0.5
    assert second.sets[:2] == [(0, 3), (1, 4)]
    assert second.strengths[0] > 1.5 * second.strengths[1] > 3 * second.strengths[2]
    for found in (additive, constant):
        assert found.sets == []
        assert not found.pairs.any()
    assert np.isnan(constant.r2)
    assert first.r2 > 0.95


def test_pairs_and_sets_tell_the_same(explained):
    for found in explained[:2]:
        assert np.allclose(found.pairs, found.pairs.T, rtol=1e-12, atol=0)
        assert not np.diag(found.pairs).any()
        assert [found.pairs[pair] for pair in found.sets] == found.strengths.tolist()
        assert list(found.strengths) == sorted(found.strengths, reverse=True)
        assert len(found.sets) == 10


def test_strength_is_the_root_mean_square_over_the_contexts(design, targets):
    for contexts in (1, 7):
        detector = GradientNID(contexts=contexts, hidden=(12,), epochs=10)
        found = detector.fit(detector.prepare(design.masks), targets[:1], seeds(1))[0]
        networks, scales, _ = fit_networks(design, targets[:1], detector.training, seeds(1), linear=True)
        weights = [w[0].astype(float) for w in networks.weights]
        biases = [b[0, 0].astype(float) for b in networks.biases]
        each = [hessians(weights, biases, z[None].astype(float))[0] for z in design.masks[:contexts]]
        expected = scales[0] * np.sqrt(sum(h**2 for h in each) / contexts)
        np.fill_diagonal(expected, 0.0)
        assert found.pairs == pytest.approx(expected, rel=1e-9)
    assert design.masks[0].all(), "one context is the instance itself, as in the paper"


def test_the_network_is_smooth():
    assert GradientNID().training.activation == "softplus"


@pytest.mark.parametrize("contexts", [0, -1, 2.5, True])
def test_contexts_out_of_range(box, frame, small, contexts):
    with pytest.raises(nid.SettingError, match="contexts"):
        nid.detect(box, frame, detector="gradient_nid", options={"contexts": contexts}, **small)


def test_through_detect(box, frame):
    report = nid.detect(
        box,
        frame,
        detector="gradient_nid",
        options={"batch": 40, "hidden": (16, 8)},
        instances=8,
        perturbations=400,
        progress=False,
    )
    assert set(report.top(2)) == {("a", "b"), ("c", "d")}
    assert report.settings["options"]["contexts"] == 32


@pytest.mark.parametrize("detector", ["nid", "gradient_nid"])
def test_linear_is_a_switch(box, frame, small, detector):
    with pytest.raises(nid.SettingError, match="linear is a switch; received: 'no'"):
        nid.detect(box, frame, detector=detector, options={"linear": "no"}, **small)
