"""Neural interaction detection (Tsang et al. 2018, sections 4.1-4.2): interactions read off a network's weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.detector import Explanation, Members
from nid_plugins.detection.networks import NetworkDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.masks import Floats, MaskDesign

TOP = 100
"""Sets kept an instance, as in the paper's code."""


@dataclass(frozen=True)
class NID(NetworkDetector):
    """Strengths from the weights of an L1-penalised ReLU network fitted to the logits.

    A hidden unit i lets its inputs interact; its influence on the output is at most
    ``z_i = (|w_y| |W_L| ... |W_2|)_i``. A set I gets ``sum_i z_i min_{j in I} |W1_ij|`` over the units for which I is
    a prefix of the inputs sorted by ``|W1_ij|``.

    Options: those of :class:`~nid_plugins.detection.networks.NetworkDetector`.
    """

    name: ClassVar[str] = "nid"

    def fit(
        self, state: MaskDesign, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Train the networks of all instances together and read each one's weights."""
        networks, scales, r2 = self.networks(state, targets, seeds)
        out = []
        for b, scale in enumerate(scales):
            if scale == 0:
                p = state.masks.shape[1]
                out.append(Explanation([], np.empty(0), float(r2[b]), np.zeros((p, p))))
                continue
            weights = [w[b].astype(np.float64) for w in networks.weights]
            sets, strengths = read_sets(weights)
            out.append(Explanation(sets, strengths * scale, float(r2[b]), read_pairs(weights) * scale))
        return out


def influence(weights: Sequence[Floats]) -> Floats:
    """Return the influence bound z_i of each first-layer unit, from weights given as (inputs, units)."""
    z = np.abs(weights[-1])[:, 0]
    for weight in reversed(weights[1:-1]):
        z = np.abs(weight) @ z
    return z


def read_pairs(weights: Sequence[Floats]) -> Floats:
    """Return omega({a, b}) = sum_i z_i min(|W1_ia|, |W1_ib|), shape (p, p), zero diagonal (Tsang et al. 2018, eq. 5)."""
    first, z = np.abs(weights[0]), influence(weights)
    pairs: Floats = np.einsum("abi,i->ab", np.minimum(first[:, None, :], first[None, :, :]), z)
    np.fill_diagonal(pairs, 0.0)
    return pairs


@lru_cache(maxsize=8)
def _labels(p: int) -> npt.NDArray[np.uint64]:
    # A random 64-bit label a field; a set's key is the sum of its members' labels. Fixed, so runs repeat.
    return np.random.default_rng(20180517).integers(1, 2**63, size=p, dtype=np.uint64)


def read_sets(weights: Sequence[Floats], top: int = TOP) -> tuple[list[Members], Floats]:
    """Return the sets of any order with their strengths, strongest first (Tsang et al. 2018, algorithm 1).

    Args:
        weights: One array (inputs, units) a layer.
        top: Sets to keep.
    """
    first, z = np.abs(weights[0]).T, influence(weights)  # first: (units, p)
    p = first.shape[1]
    if p < 2:
        return [], np.empty(0)
    order = np.argsort(-first, axis=1, kind="stable")
    weakest = np.take_along_axis(first, order, axis=1)[:, 1:]
    # Prefixes of 2 .. p fields; the sums wrap around.
    keys = np.cumsum(_labels(p)[order], axis=1, dtype=np.uint64)[:, 1:]
    values = (weakest * z[:, None]).ravel()
    _, where, which = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    strengths: Floats = np.bincount(which, weights=values).astype(np.float64, copy=False)
    best = np.argsort(-strengths, kind="stable")[:top]
    best = best[strengths[best] > 0]
    units, lengths = np.divmod(where[best], p - 1)
    sets: list[Members] = [
        tuple(sorted(order[u, : n + 2].tolist())) for u, n in zip(units, lengths, strict=True)
    ]
    return sets, strengths[best]
