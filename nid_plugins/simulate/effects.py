"""The random effects a simulated logit is made of."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nid_plugins.simulate.plan import LEVELS

Floats = npt.NDArray[np.float64]

_LEVEL_EDGES = np.array([NormalDist().inv_cdf(k / LEVELS) for k in range(1, LEVELS)])


def levels_of(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the level 0 .. LEVELS - 1 of standard normal values, all equally likely."""
    return np.searchsorted(_LEVEL_EDGES, values, side="right").astype(np.int64)


def zipf_frequencies(categories: int, exponent: float, unknown: float, rng: np.random.Generator) -> Floats:
    """Return frequencies of ids 0 .. categories: ``unknown`` for id 0, Zipf's law in random order for the rest."""
    weights = np.arange(1, categories + 1, dtype=np.float64) ** -exponent
    rng.shuffle(weights)  # so that an id says nothing about how frequent it is
    return np.concatenate([[unknown], (1.0 - unknown) * weights / weights.sum()])


def known_weights(frequencies: Floats) -> Floats:
    """Return frequencies given that the value is known: id 0 gets no weight."""
    weights = frequencies.copy()
    weights[0] = 0.0
    weights /= weights.sum()
    return weights


def main_effect(weights: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Return an effect of each id, shape (K,), of weighted mean 0 and standard deviation ``scale``.

    Ids of no weight get none.
    """
    effect = np.where(weights > 0, rng.standard_normal(len(weights)), 0.0)
    effect -= np.where(weights > 0, weights @ effect, 0.0)
    return _scaled(effect, weights, scale)


def interaction_effect(
    weights: list[Floats],
    scale: float,
    rng: np.random.Generator,
    *,
    rank: int,
    idiosyncratic: float,
    heredity: float,
) -> Floats:
    """Return an effect of each combination that holds no effect of one member alone.

    Part of it is of low rank, as affinities are: each value has ``rank`` traits, and a combination's effect is the sum
    over traits of their product. A factorisation can generalise it. The rest is a draw of its own for each combination,
    which only memorising the combination can tell. No part has a mean given one member's value, as in a functional
    analysis of variance with members weighted as independent.

    Args:
        weights: Of each member, the weight of its values, summing to 1.
        scale: Standard deviation wanted.
        rng: Source of the draws.
        rank: Traits of a value.
        idiosyncratic: Share of the variance that is of no low rank, 0 .. 1.
        heredity: Of three or more members, the share of the low-rank variance that belongs to their pairs, 0 .. 1.

    Returns:
        Array of shape (K_1, ..., K_m); 0 wherever a member's value has no weight.
    """
    members = len(weights)
    joint = np.ones((1,) * members)
    for axis, w in enumerate(weights):
        joint = joint * _along(w, axis, members)
    low = np.zeros(joint.shape)
    of_pairs = heredity if members > 2 else 0.0
    for _ in range(rank):
        traits = [_along(main_effect(w, 1.0, rng), axis, members) for axis, w in enumerate(weights)]
        pairs = list(itertools.combinations(traits, 2))
        low += np.sqrt(1.0 - of_pairs) * math.prod(traits, start=np.ones(joint.shape))
        low += np.sqrt(of_pairs / len(pairs)) * sum((a * b for a, b in pairs), start=np.zeros(joint.shape))
    low = np.where(joint > 0, low, 0.0)
    own = _centred(rng.standard_normal(joint.shape), joint, weights)
    share = np.sqrt([1.0 - idiosyncratic, idiosyncratic])
    return _scaled(share[0] * _scaled(low, joint, 1.0) + share[1] * _scaled(own, joint, 1.0), joint, scale)


def _centred(effect: Floats, joint: Floats, weights: list[Floats]) -> Floats:
    effect = np.where(joint > 0, effect, 0.0)
    for axis, w in enumerate(weights):
        others = tuple(k for k in range(len(weights)) if k != axis)
        given = np.divide((effect * joint).sum(axis=others), w, out=np.zeros_like(w), where=w > 0)
        effect = effect - _along(given, axis, len(weights))
    return np.where(joint > 0, effect, 0.0)


def _along(values: Floats, axis: int, dimensions: int) -> Floats:
    return values.reshape([-1 if k == axis else 1 for k in range(dimensions)])


def _scaled(effect: Floats, weights: Floats, scale: float) -> Floats:
    spread = float(np.sqrt((weights * effect**2).sum()))
    # One category only: its centred effect is 0 up to rounding, and must stay so.
    return effect * (scale / spread) if spread > 1e-9 else np.zeros_like(effect)
