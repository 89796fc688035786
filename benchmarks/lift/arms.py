"""Training one arm of one target, from scratch and alike for all, and measuring it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

import nid_plugins as nid
from benchmarks.lift.models import Shape, build, parameters_of
from benchmarks.lift.training import logits_of, train

if TYPE_CHECKING:
    from benchmarks.lift.data import Part, Split
    from benchmarks.lift.settings import Recipe, Settings
    from nid_plugins import CrossFeatures, FeatureSchema


def crossed(
    target: str, split: Split, crosses: CrossFeatures, recipe: Recipe, settings: Settings, seed: int
) -> Any:
    """Train a target with crosses injected before its first step, so that base and crosses learn together.

    Crosses put on a finished base would have to make up for what it learned by heart.
    """
    base = build(target, split.schema, seed=seed, shape=recipe.shape)
    model = nid.inject(base, crosses, mode="residual", l2=0.0, dropout=settings.dropout, seed=seed)
    fit = replace(recipe.fit, rate_cross=settings.rate_cross, decay_cross=settings.decay_cross)
    train(model, split.train, split.valid, fit, seed=seed)
    return model


def size_with(target: str, split: Split, crosses: CrossFeatures, recipe: Recipe) -> int:
    """Return the number of parameters of a target with crosses."""
    return parameters_of(nid.inject(build(target, split.schema, seed=0, shape=recipe.shape), crosses))


def plain(target: str, split: Split, recipe: Recipe, seed: int) -> Any:
    """Train a target without crosses."""
    model = build(target, split.schema, seed=seed, shape=recipe.shape)
    train(model, split.train, split.valid, recipe.fit, seed=seed)
    return model


def widened(target: str, schema: FeatureSchema, shape: Shape, parameters: int) -> Shape:
    """Return the shape with the embedding dimension that comes nearest to a number of parameters."""

    def count(dim: int) -> int:
        return parameters_of(build(target, schema, seed=0, shape=replace(shape, dim=dim)))

    step = 2 if target == "AutoInt" else 1  # two heads share an embedding
    low, high = shape.dim, shape.dim + step
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > step:
        middle = low + (high - low) // (2 * step) * step
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return replace(shape, dim=min((low, high), key=lambda dim: abs(count(dim) - parameters)))


def measure(model: Any, part: Part) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Return AUC, log-loss and calibration on a part, and the logits, shape (n,)."""
    logits = logits_of(model, torch.from_numpy(part.rows.astype(np.float32)))
    return {
        "auc": nid.metrics.auc(part.labels, logits),
        "log_loss": nid.metrics.log_loss(part.labels, logits),
        "calibration": nid.metrics.calibration(part.labels, logits),
    }, logits
