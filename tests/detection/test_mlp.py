"""The batched networks: gradients, Adam, early stopping, restarts, and independence from the rest of the batch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import nid_plugins as nid
from nid_plugins.detection import mlp
from nid_plugins.detection.masks import MaskDesign, random_masks
from nid_plugins.detection.mlp import Networks, Samples, Training, train


def networks64(widths, activation, count, seed=0):
    """Networks in double precision, biases not zero, so that finite differences tell something."""
    size = sum(a * b + b for a, b in itertools.pairwise(widths))
    return Networks(np.random.default_rng(seed).normal(size=(count, size)), widths, activation)


def loss(networks, x, y):
    return ((networks.forward(x)[0] - y) ** 2).mean(axis=1)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("widths", [(4, 6, 1), (3, 5, 4, 1), (5, 4, 3, 2, 1)])
def test_gradient_against_finite_differences(activation, widths):
    rng = np.random.default_rng(1)
    networks = networks64(widths, activation, 3)
    x, y = rng.normal(size=(7, widths[0])), rng.normal(size=(3, 7))
    gradient = Networks(np.empty_like(networks.flat), widths, activation)
    networks.gradient(x, y, gradient)
    step = 1e-6
    for k in range(networks.flat.shape[1]):
        up, down = networks.flat.copy(), networks.flat.copy()
        up[:, k] += step
        down[:, k] -= step
        numeric = (
            loss(Networks(up, widths, activation), x, y) - loss(Networks(down, widths, activation), x, y)
        ) / (2 * step)
        assert gradient.flat[:, k] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_outputs_and_gradients_against_torch(activation):
    rng = np.random.default_rng(2)
    widths = (6, 8, 5, 1)
    networks = Networks.initial(widths, activation, [np.random.default_rng(i) for i in range(4)])
    x = rng.normal(size=(20, 6)).astype(np.float32) * 10
    y = rng.normal(size=(4, 20)).astype(np.float32)
    gradient = Networks(np.empty_like(networks.flat), widths, activation)
    networks.gradient(x, y, gradient)
    act = torch.relu if activation == "relu" else torch.nn.functional.softplus
    for b in range(4):
        weights = [torch.tensor(w[b], requires_grad=True) for w in networks.weights]
        biases = [torch.tensor(v[b], requires_grad=True) for v in networks.biases]
        h = torch.tensor(x)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            h = act(h @ weight + bias)
        out = (h @ weights[-1] + biases[-1])[:, 0]
        assert networks.forward(x)[0][b] == pytest.approx(out.detach().numpy(), rel=1e-4, abs=1e-4)
        ((out - torch.tensor(y[b])) ** 2).mean().backward()
        for ours, theirs in zip(gradient.weights + gradient.biases, weights + biases, strict=True):
            assert np.allclose(ours[b], theirs.grad.numpy(), rtol=1e-3, atol=1e-3)


def test_softplus_does_not_overflow():
    networks = networks64((1, 2, 1), "softplus", 1)
    networks.flat[:] = 1.0
    with np.errstate(all="raise", under="ignore"):
        out, activations, slopes = networks.forward(np.array([[1e4], [-1e4], [0.0]]))
    assert out[0, 0] == pytest.approx(2 * (1e4 + 1) + 1)
    assert out[0, 1] == 1.0
    assert activations[0][0, 2, 0] == pytest.approx(np.log1p(np.e))
    assert slopes[0][0, :, 0] == pytest.approx([1.0, 0.0, np.e / (1 + np.e)])


def test_parameters_are_views_of_one_array():
    networks = networks64((3, 4, 2, 1), "relu", 2)
    assert networks.flat.shape == (2, 3 * 4 + 4 + 4 * 2 + 2 + 2 + 1)
    assert [w.shape for w in networks.weights] == [(2, 3, 4), (2, 4, 2), (2, 2, 1)]
    assert [b.shape for b in networks.biases] == [(2, 1, 4), (2, 1, 2), (2, 1, 1)]
    networks.flat[:] = 7.0
    assert all((part == 7.0).all() for part in networks.weights + networks.biases)
    some = networks.rows(np.array([1]))
    some.flat[:] = 0.0
    assert (networks.flat == 7.0).all(), "rows() copies"


def test_initial_weights_keep_glorots_bound_and_are_each_instances_own():
    networks = Networks.initial((50, 40, 1), "relu", [np.random.default_rng(i) for i in (1, 2, 1)])
    for weight in networks.weights:
        bound = np.sqrt(6 / sum(weight.shape[1:]))
        assert 0.9 * bound < np.abs(weight).max() <= bound
    assert all((bias == 0).all() for bias in networks.biases)
    assert np.array_equal(networks.flat[0], networks.flat[2])
    assert not np.array_equal(networks.flat[0], networks.flat[1])


def test_steps_are_those_of_adam_with_an_l1_penalty_on_weights_only():
    rng = np.random.default_rng(3)
    widths, training = (3, 4, 1), Training((4,), l1=0.05, learning_rate=0.02)
    networks = Networks.initial(widths, "relu", [np.random.default_rng(i) for i in range(2)])
    networks.biases[0][:] = 0.1
    penalised = Networks(np.zeros_like(networks.flat), widths, "relu")
    for weight in penalised.weights:
        weight[:] = 1.0
    theta = networks.flat.astype(np.float64)
    m = v = np.zeros_like(theta)
    step = mlp._Adam(networks, training)
    for t in range(1, 6):
        x = rng.normal(size=(9, 3)).astype(np.float32)
        y = rng.normal(size=(2, 9)).astype(np.float32)
        now = Networks(theta.copy(), widths, "relu")
        g = Networks(np.empty_like(theta), widths, "relu")
        now.gradient(x.astype(np.float64), y, g)
        gradient = g.flat + 0.05 * np.sign(theta) * penalised.flat
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        theta = theta - 0.02 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        step(x, y)
        assert step.networks.flat == pytest.approx(theta, rel=1e-3, abs=1e-4)


@pytest.fixture(scope="module")
def samples():
    design = MaskDesign(random_masks(6, 600, np.random.default_rng(0)))
    return Samples(design.masks.astype(np.float32), design.train, design.valid)


@pytest.fixture(scope="module")
def targets(samples):
    x = samples.x.astype(np.float64)
    rng = np.random.default_rng(4)
    raw = np.array(
        [
            x[:, 0] * x[:, 1],
            x[:, 2] + x[:, 3] * x[:, 4] * 2,
            rng.normal(size=len(x)),
            np.maximum(x[:, 0], x[:, 5]) - x[:, 1],
            x[:, 1] * x[:, 2] * 5 + 0.3 * rng.normal(size=len(x)),
        ]
    )
    return (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)


def seeds(*numbers):
    return [np.random.SeedSequence(9, spawn_key=(i,)) for i in numbers]


def mse(networks, samples, targets):
    out = networks.forward(samples.x[samples.valid])[0]
    return ((out - targets[:, samples.valid]) ** 2).mean(axis=1)


def test_a_result_does_not_depend_on_the_rest_of_the_batch(samples, targets):
    training = Training((16, 8), batch=50, epochs=25, patience=3)
    together, errors = train(samples, targets, training, seeds(0, 1, 2, 3, 4))
    for b in range(5):
        alone, error = train(samples, targets[b : b + 1], training, seeds(b))
        assert np.array_equal(alone.flat[0], together.flat[b])
        assert error[0] == errors[b]
    backwards, _ = train(samples, targets[::-1].copy(), training, seeds(4, 3, 2, 1, 0))
    assert np.array_equal(backwards.flat[::-1], together.flat)


def test_it_learns_what_there_is_and_stops_at_the_best(samples, targets):
    networks, errors = train(samples, targets, Training((16, 8), batch=50), seeds(0, 1, 2, 3, 4))
    assert errors[[0, 1, 3]].max() < 0.05
    assert errors[2] > 0.7, "noise cannot be predicted"
    assert errors == pytest.approx(mse(networks, samples, targets), rel=1e-4), "the best weights are returned"


def test_validation_rows_stop_it_and_only_training_rows_teach_it(samples, targets):
    training = Training((16,), batch=50, epochs=12, patience=20)
    networks, _ = train(samples, targets[:1], training, seeds(0))
    changed = targets[:1].copy()
    changed[:, samples.valid.stop :] = 99.0
    again, _ = train(samples, changed, training, seeds(0))
    assert np.array_equal(networks.flat, again.flat), "test rows are never looked at"
    # Validation rows that nothing predicts stop it early, however well it learns the training rows.
    changed = targets[:1].copy()
    changed[:, samples.valid] = 50 * np.random.default_rng(1).normal(size=150)
    training = Training((16,), batch=50, epochs=60, patience=1)
    stopped, _ = train(samples, changed, training, seeds(0))
    went_on, _ = train(samples, targets[:1], training, seeds(0))
    y = targets[:1, samples.train]
    error = [((n.forward(samples.x[samples.train])[0] - y) ** 2).mean() for n in (stopped, went_on)]
    assert error[0] > 5 * error[1]


@pytest.mark.parametrize(("patience", "expected"), [(1, 3), (3, 5), (50, 10)])
def test_patience_counts_passes_without_improvement(samples, patience, expected, monkeypatch):
    passes = []
    forward = Networks.forward

    def counted(self, x):
        if len(x) == samples.valid.stop - samples.valid.start:
            passes.append(1)
        return forward(self, x)

    monkeypatch.setattr(Networks, "forward", counted)
    training = Training((4,), batch=100, epochs=10, patience=patience, learning_rate=1e-12)
    # The step is too small to move a float32 weight, so that no pass after the first improves.
    mlp._train(samples, np.ones((1, len(samples.x))), training, seeds(0))
    # The first pass, as many in vain as there is patience for, and the one that is too many.
    assert len(passes) == expected


def test_l1_empties_the_weights_of_inputs_that_do_not_matter(samples, targets):
    matter = {}
    for l1 in (0.0, 1e-2):
        networks, errors = train(samples, targets[:1], Training((16,), l1=l1, batch=50), seeds(0))
        assert errors[0] < 0.05
        size = np.abs(networks.weights[0][0]).sum(axis=1)
        matter[l1] = size[:2].min() / size[2:].max()
    assert matter[1e-2] > 100
    assert matter[0.0] < 5


def test_a_collapsed_network_is_trained_again_more_gently(samples, targets):
    training = Training((8,), l1=0.6, batch=50, epochs=40)
    some = targets[[0, 0]]
    _, errors = mlp._train(samples, some, training, seeds(0, 1))
    assert errors.min() > 1.1, "so strong a penalty kills all units"
    networks, rescued = train(samples, some, training, seeds(0, 1))
    assert rescued.max() < 0.5
    assert rescued == pytest.approx(mse(networks, samples, some), rel=1e-4)


def test_collapse_is_judged_by_the_spread_of_the_validation_rows(samples, targets):
    # Here the validation rows vary less than the rest: 0.9 is all there is to explain.
    calm = targets[1:2]
    assert 0.9 < (calm[:, samples.valid] ** 2).mean() < 0.92
    training = Training((8,), l1=0.6, batch=50, epochs=40)
    _, errors = mlp._train(samples, calm, training, seeds(0))
    _, rescued = train(samples, calm, training, seeds(0))
    assert rescued[0] < 0.95 * errors[0]


def test_the_second_try_is_taken_only_where_it_is_better(samples, targets, monkeypatch):
    tries = []
    once = mlp._train

    def noted(*arguments):
        networks, errors = once(*arguments)
        tries.append((networks.flat.copy(), errors.copy()))
        return networks, errors

    monkeypatch.setattr(mlp, "_train", noted)
    # Noise looks like collapse, too; a gentler penalty fits it, and predicts the worse for it.
    some = np.vstack([targets[[0, 0]], np.random.default_rng(6).normal(size=(4, len(samples.x)))])
    training = Training((8,), l1=0.6, batch=50, epochs=40)
    networks, errors = train(samples, some, training, seeds(*range(6)))
    (first, before), (second, after) = tries
    assert len(after) == 6, "all are tried again"
    better = after < before
    assert 0 < better.sum() < 6, "the case tells something"
    assert np.array_equal(errors, np.minimum(before, after))
    assert np.array_equal(networks.flat, np.where(better[:, None], second, first))


def test_same_seeds_same_networks_and_the_seeds_are_not_used_up(samples, targets):
    training = Training((8,), batch=100, epochs=5)
    own = seeds(0, 1)
    first, _ = train(samples, targets[:2], training, own)
    again, _ = train(samples, targets[:2], training, own)
    other, _ = train(samples, targets[:2], training, seeds(2, 3))
    assert np.array_equal(first.flat, again.flat)
    assert not np.array_equal(first.flat, other.flat)


@pytest.mark.parametrize(
    ("rows", "batch"), [(5000, 200), (4800, 200), (2500, 104), (1000, 41), (250, 10), (5, 1)]
)
def test_few_rows_are_taken_in_smaller_steps_unless_told_otherwise(rows, batch):
    assert Training().rows_a_step(rows) == batch
    assert Training(batch=50).rows_a_step(rows) == 50


def test_the_rows_a_step_are_those_it_is_trained_with(samples, targets):
    found = [
        train(samples, targets[:2], Training((8,), batch=batch, epochs=3), seeds(0, 1))[0].flat
        for batch in (None, 300 // 24, 200)
    ]
    assert samples.train.stop == 300
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"activation": "tanh"},
        {"hidden": ()},
        {"hidden": (4, 0)},
        {"hidden": (4.0,)},
        {"l1": -1.0},
        {"l1": float("nan")},
        {"learning_rate": 0.0},
        {"learning_rate": "fast"},
        {"batch": 0},
        {"batch": 1.5},
        {"epochs": -1},
        {"epochs": None},
        {"patience": 0},
    ],
)
def test_settings_out_of_their_domain(wrong):
    with pytest.raises(nid.SettingError, match=next(iter(wrong))):
        Training(**wrong)
