"""Small multilayer perceptrons for many instances, trained together as one batched computation in NumPy.

All instances see the same masks in the same minibatches, so a layer of all networks is one stacked matrix product, and
one Adam step updates one flat array. An instance's result does not depend on which others share its batch: it has its
own initial weights, its own early stopping, and leaves the batch when it stops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.masks import Floats

Single = npt.NDArray[np.float32]
COLLAPSED = 0.98
"""Share of the target's variance left on validation rows above which a network is trained again."""
BATCH = 200
"""Rows a step where there are rows enough."""
STEPS = 24
"""Least steps a pass. With fewer, patience is at its end before the networks have begun to learn."""


@dataclass(frozen=True)
class Training:
    """How the explainer networks are trained.

    Args:
        hidden: Units of each hidden layer.
        activation: ``"relu"`` or ``"softplus"``.
        l1: Penalty on the absolute weights, biases left out.
        learning_rate: Adam's step size.
        batch: Rows a step. None: :data:`BATCH`, or fewer of few rows, so that a pass has :data:`STEPS` steps.
        epochs: Most passes over the rows.
        patience: Passes without improvement on the validation rows before stopping; the best weights are kept.
        decay: Whether the step size falls to zero along half a cosine over ``epochs``.
    """

    hidden: tuple[int, ...] = (64, 32)
    activation: Literal["relu", "softplus"] = "relu"
    l1: float = 1e-3
    learning_rate: float = 5e-3
    batch: int | None = None
    epochs: int = 100
    patience: int = 5
    decay: bool = False

    def __post_init__(self) -> None:
        if self.activation not in {"relu", "softplus"}:
            raise SettingError(
                "unknown activation", received=self.activation, expected='"relu" or "softplus"'
            )
        if not self.hidden or not all(isinstance(units, int) and units > 0 for units in self.hidden):
            raise SettingError(
                "hidden layers must have units", received=self.hidden, expected="e.g. (64, 32)"
            )
        for name in ("batch", "epochs", "patience"):
            value = getattr(self, name)
            if name == "batch" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise SettingError(
                    f"{name} out of range",
                    received=repr(value),
                    expected="a positive integer" + (" or None" if name == "batch" else ""),
                )
        if not isinstance(self.learning_rate, int | float) or not 0 < self.learning_rate < np.inf:
            raise SettingError("learning_rate out of range", received=self.learning_rate, expected="> 0")
        if not isinstance(self.l1, int | float) or not 0 <= self.l1 < np.inf:
            raise SettingError("l1 out of range", received=self.l1, expected=">= 0")

    def rows_a_step(self, rows: int) -> int:
        """Return the rows a step takes of so many to learn from."""
        return self.batch or max(1, min(BATCH, rows // STEPS))


class Networks:
    """B networks of one architecture, their parameters rows of one flat (B, P) array.

    Attributes:
        flat: All parameters, shape (B, P), float32.
        weights: Views, one a layer, shape (B, inputs, units); the last layer has one unit.
        biases: Views, one a layer, shape (B, 1, units).
    """

    def __init__(self, flat: Single, widths: Sequence[int], activation: str) -> None:
        self.flat = flat
        self.widths = tuple(widths)
        self.activation = activation
        self.weights, self.biases = _views(flat, self.widths)

    @classmethod
    def initial(cls, widths: Sequence[int], activation: str, rngs: Sequence[np.random.Generator]) -> Networks:
        """Draw weights uniformly with Glorot's bound, biases zero, each instance from its own generator."""
        size = sum(a * b + b for a, b in pairwise(widths))
        networks = cls(np.zeros((len(rngs), size), dtype=np.float32), widths, activation)
        for b, rng in enumerate(rngs):
            for weight in networks.weights:
                bound = np.sqrt(6.0 / sum(weight.shape[1:]))
                weight[b] = rng.uniform(-bound, bound, size=weight.shape[1:])
        return networks

    def forward(self, x: Single) -> tuple[Single, list[Single], list[Single]]:
        """Return outputs (B, rows), and the activations and slopes of each hidden layer, for rows (rows, p)."""
        activations: list[Single] = []
        slopes: list[Single] = []
        h = x[None]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            pre = np.matmul(h, weight)
            pre += bias
            if self.activation == "relu":
                slope = (pre > 0).astype(np.float32)
                h = np.maximum(pre, 0, out=pre)
            else:
                # log(1 + exp(x)) and its slope from one exponential that cannot overflow.
                e = np.exp(-np.abs(pre))
                slope = np.where(pre > 0, np.float32(1), e)
                e += 1
                slope /= e
                h = np.maximum(pre, 0, out=pre)
                h += np.log(e)
            activations.append(h)
            slopes.append(slope)
        out = np.matmul(h, self.weights[-1]) + self.biases[-1]
        return out[..., 0], activations, slopes

    def gradient(self, x: Single, y: Single, into: Networks) -> None:
        """Write the gradient of the mean squared error of each network on rows (rows, p), y (B, rows)."""
        out, activations, slopes = self.forward(x)
        delta = ((2.0 / len(x)) * (out - y))[..., None]
        for layer in range(len(self.weights) - 1, -1, -1):
            below = activations[layer - 1] if layer else x[None]
            np.matmul(below.transpose(0, 2, 1), delta, out=into.weights[layer])
            into.biases[layer][:] = delta.sum(axis=1, keepdims=True)
            if layer:
                delta = np.matmul(delta, self.weights[layer].transpose(0, 2, 1))
                delta *= slopes[layer - 1]

    def rows(self, index: npt.NDArray[np.intp]) -> Networks:
        """Return a copy of some of the networks."""
        return Networks(self.flat[index].copy(), self.widths, self.activation)


def _views(flat: Single, widths: tuple[int, ...]) -> tuple[list[Single], list[Single]]:
    weights, biases, start = [], [], 0
    for a, b in pairwise(widths):
        weights.append(flat[:, start : start + a * b].reshape(len(flat), a, b))
        biases.append(flat[:, start + a * b : start + a * b + b].reshape(len(flat), 1, b))
        start += a * b + b
    return weights, biases


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs all networks see, and which rows they learn from and stop by.

    Args:
        x: Shape (M, p), float32.
        train: Rows to learn from.
        valid: Rows to stop by.
    """

    x: Single
    train: slice
    valid: slice


def train(
    samples: Samples, targets: Floats, training: Training, seeds: Sequence[np.random.SeedSequence]
) -> tuple[Networks, Floats]:
    """Train one network an instance on shared inputs and targets of mean 0 and variance 1.

    Args:
        samples: The inputs and their split.
        targets: Shape (B, M).
        training: Settings.
        seeds: One an instance.

    Returns:
        The networks with their best weights, and each one's mean squared error on the validation rows, shape (B,).
    """
    children = [np.random.SeedSequence(s.entropy, spawn_key=(*s.spawn_key, 0)).spawn(2) for s in seeds]
    first, second = zip(*children, strict=True)
    networks, errors = _train(samples, targets, training, first)
    lost = np.flatnonzero(errors > COLLAPSED * (targets[:, samples.valid] ** 2).mean(axis=1))
    if len(lost):
        # All units of a small network can die at the first steps; one gentler restart, kept if better.
        gentler = replace(training, l1=training.l1 / 10, learning_rate=training.learning_rate / 2)
        again, new = _train(samples, targets[lost], gentler, [second[b] for b in lost])
        better = np.flatnonzero(new < errors[lost])
        networks.flat[lost[better]] = again.flat[better]
        errors[lost[better]] = new[better]
    return networks, errors


def _train(
    samples: Samples, targets: Floats, training: Training, seeds: Sequence[np.random.SeedSequence]
) -> tuple[Networks, Floats]:
    y = targets.astype(np.float32)
    x_train, x_valid = samples.x[samples.train], samples.x[samples.valid]
    y_train, y_valid = y[:, samples.train], y[:, samples.valid]
    widths = (samples.x.shape[1], *training.hidden, 1)
    networks = Networks.initial(widths, training.activation, [np.random.default_rng(s) for s in seeds])
    best = networks.flat.copy()
    errors = np.full(len(y), np.inf)
    waited = np.zeros(len(y), dtype=int)
    alive = np.arange(len(y))
    step = _Adam(networks, training)
    batch = training.rows_a_step(len(x_train))
    # One order of rows for all: the batch of inputs is then shared, and no instance depends on its neighbours.
    order_rng = np.random.default_rng(len(x_train))
    for epoch in range(training.epochs):
        if training.decay:
            step.scale = 0.5 + 0.5 * float(np.cos(np.pi * epoch / training.epochs))
        order = order_rng.permutation(len(x_train))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            step(x_train[rows], y_train[:, rows])
        current = ((step.networks.forward(x_valid)[0] - y_valid) ** 2).mean(axis=1)
        better = current < errors[alive]
        best[alive[better]] = step.networks.flat[better]
        errors[alive] = np.where(better, current, errors[alive])
        waited[alive] = np.where(better, 0, waited[alive] + 1)
        going = np.flatnonzero(waited[alive] <= training.patience)
        if not len(going):
            break
        if len(going) < len(alive):
            alive = alive[going]
            y_train, y_valid = y_train[going], y_valid[going]
            step.keep(going)
    return Networks(best, widths, training.activation), errors


class _Adam:
    def __init__(self, networks: Networks, training: Training) -> None:
        self.networks = networks
        self.training = training
        self.first = np.zeros_like(networks.flat)
        self.second = np.zeros_like(networks.flat)
        self.count = 0
        self.scale = 1.0
        self._allocate()

    def _allocate(self) -> None:
        flat = self.networks.flat
        self.gradient = Networks(np.empty_like(flat), self.networks.widths, self.networks.activation)
        penalty = Networks(
            np.zeros((1, flat.shape[1]), np.float32), self.networks.widths, self.networks.activation
        )
        for weight in penalty.weights:
            weight[:] = self.training.l1
        self.penalty = penalty.flat
        self.work = np.empty_like(flat)

    def keep(self, index: npt.NDArray[np.intp]) -> None:
        self.networks = self.networks.rows(index)
        self.first, self.second = self.first[index], self.second[index]
        self._allocate()

    def __call__(self, x: Single, y: Single) -> None:
        flat, g, work = self.networks.flat, self.gradient.flat, self.work
        self.networks.gradient(x, y, self.gradient)
        np.sign(flat, out=work)
        work *= self.penalty
        g += work
        self.count += 1
        self.first += np.float32(0.1) * (g - self.first)
        np.multiply(g, g, out=work)
        work -= self.second
        work *= np.float32(0.001)
        self.second += work
        np.sqrt(self.second, out=work)
        work *= np.float32(1.0 / np.sqrt(1.0 - 0.999**self.count))
        work += np.float32(1e-8)
        np.divide(self.first, work, out=work)
        work *= np.float32(self.scale * self.training.learning_rate / (1.0 - 0.9**self.count))
        flat -= work
