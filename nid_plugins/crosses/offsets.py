"""Ridge-penalised offsets of a logit, one for each id: the model by which a cross is judged.

The penalty is chosen on the rows the offsets are fitted on and on no others, so that what the offsets gain on
held-out rows is an honest figure. Everything is a handful of passes over the rows with ``bincount``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.integer[Any]]

PENALTIES = np.array([0.3, 1, 3, 10, 30, 100, 300, 1000, 3000])
"""Penalties tried; the reciprocal is the variance of the offsets, so these stand for spreads of 1.8 down to 0.02."""

_STEPS = 3
_LONGEST_STEP = 3.0  # an id of rare clicks would overshoot on the first Newton step
_HOLD = 1e-3  # as a penalty, next to a curvature of 0.25 a row at most
_SMALLEST_MOVE = 1e-6


def sigmoid(logits: Floats) -> Floats:
    """Return probabilities; by tanh, which neither overflows nor branches."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def softplus(logits: Floats) -> Floats:
    """Return ``log(1 + exp(logits))`` without overflow; a row's log-loss is this minus label times logit."""
    return np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits)))


def choose_penalty(gradient: Floats, curvature: Floats) -> float:
    """Return the penalty under which the data are likeliest, infinity when no offset at all is.

    With offsets drawn from N(0, 1 / penalty) and the log-likelihood taken as quadratic, the logarithm of the
    marginal likelihood over that without offsets is ``sum(g**2 / (h + penalty) - log(1 + h / penalty)) / 2``.
    (Empirical Bayes: Breslow and Clayton, "Approximate inference in generalized linear mixed models", JASA 1993.)

    Args:
        gradient: Of the log-likelihood at offset 0, shape (V,).
        curvature: Negative second derivative there, shape (V,).
    """
    penalties = PENALTIES[:, None]
    evidence = (gradient**2 / (curvature + penalties) - np.log1p(curvature / penalties)).sum(axis=1)
    best = int(np.argmax(evidence))
    return float(PENALTIES[best]) if evidence[best] > 0 else np.inf


def fit_offsets(
    ids: Ids,
    size: int,
    logits: Floats,
    label: Floats,
    *,
    l2: float | None = None,
    probability: Floats | None = None,
) -> Floats:
    """Return the offset of each id, by Newton steps from 0; id 0 has none.

    Args:
        ids: Shape (n,), ``0 .. size - 1``.
        size: Number of ids.
        logits: What the offsets are added to, shape (n,).
        label: 0 and 1, shape (n,).
        l2: Penalty on half the sum of squares; None to choose it, again at each step as the quadratic moves.
        probability: ``sigmoid(logits)`` where the caller has it.

    Returns:
        Shape (size,); all 0 when the data speak for no offset.
    """
    ids = ids.astype(np.intp, copy=False)
    if probability is None:
        probability = sigmoid(logits)
    clicks = _sums(ids, label, size)
    offsets = np.zeros(size)
    for step in range(_STEPS):
        if step:
            probability = sigmoid(logits + offsets[ids])
        gradient = clicks - _sums(ids, probability, size)
        curvature = _sums(ids, probability * (1.0 - probability), size)
        gradient[0] = curvature[0] = 0.0
        penalty = choose_penalty(gradient + curvature * offsets, curvature) if l2 is None else l2
        if not np.isfinite(penalty):
            return np.zeros(size)
        move = (gradient - penalty * offsets) / (curvature + penalty)
        offsets += np.clip(move, -_LONGEST_STEP, _LONGEST_STEP)
    return offsets


def _sums(ids: Ids, weights: Floats, size: int) -> Floats:
    return np.bincount(ids, weights=weights, minlength=size).astype(np.float64, copy=False)


def calibrate(logits: Floats, label: Floats) -> tuple[float, float]:
    """Return intercept and slope that make logits fit labels best (Platt scaling).

    Lightly held to the given logits, so that a constant base or separable labels have an answer.
    """
    centre = float(logits.mean())
    design = np.stack([np.ones(len(logits)), logits - centre])
    start = np.array([centre, 1.0])  # the given logits

    def loss(parameters: Floats) -> float:
        fitted = parameters @ design
        held = _HOLD * ((parameters - start) ** 2).sum() / 2
        return float((softplus(fitted) - label * fitted).sum() + held)

    parameters, current = start, loss(start)
    for _ in range(50):
        probability = sigmoid(parameters @ design)
        gradient = design @ (label - probability) - _HOLD * (parameters - start)
        curvature = (design * (probability * (1.0 - probability))) @ design.T + _HOLD * np.eye(2)
        move = np.linalg.solve(curvature, gradient)
        moved, after = parameters + move, loss(parameters + move)
        while after > current and np.abs(move).max() > _SMALLEST_MOVE:
            move = move / 2
            moved, after = parameters + move, loss(parameters + move)
        if np.abs(move).max() <= _SMALLEST_MOVE:
            break
        parameters, current = moved, after
    intercept, slope = parameters
    return float(intercept - slope * centre), float(slope)
