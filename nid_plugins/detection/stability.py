"""Bootstrap stability: would the ranking have been the same with other instances?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.pruning import prune_global

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nid_plugins.detection.detector import Members

RESAMPLES = 200
MOST = 3000
"""Sets resampled, highest counts first: those below cannot reach the top."""


def bootstrap_tops(
    instances: Sequence[Sequence[Members]],
    ranked: Sequence[Members],
    top_k: int,
    rng: np.random.Generator,
    *,
    weights: Sequence[Sequence[float]] | None = None,
    antichain: bool = False,
    resamples: int = RESAMPLES,
) -> Iterator[list[Members]]:
    """Yield the top K of each bootstrap resample of the instances.

    Args:
        instances: Sets of each instance.
        ranked: All sets, best first; earlier ones win ties.
        top_k: K.
        rng: Source of randomness.
        weights: What each set of each instance adds to its score; 1 when left out, so that the score is the count.
        antichain: Whether the top K is chosen by the paper's global pruning.
        resamples: Number of resamples.
    """
    considered = list(ranked[:MOST])
    index = {members: i for i, members in enumerate(considered)}
    n = len(instances)
    incidence = np.zeros((n, len(considered)), dtype=np.float32)
    for row, sets in enumerate(instances):
        worth = [1.0] * len(sets) if weights is None else weights[row]
        for members, value in zip(sets, worth, strict=True):
            if members in index:
                incidence[row, index[members]] = value
    times = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float32)
    counts = times @ incidence
    for row in counts:
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > 0]
        if antichain:
            yield prune_global((considered[i] for i in order), top_k)
        else:
            yield [considered[i] for i in order[:top_k]]


def bootstrap_stability(
    instances: Sequence[Sequence[Members]],
    ranked: Sequence[Members],
    top_k: int,
    rng: np.random.Generator,
    *,
    weights: Sequence[Sequence[float]] | None = None,
    antichain: bool = False,
    resamples: int = RESAMPLES,
) -> dict[Members, float]:
    """Return, for each set, the share of bootstrap resamples of the instances in which it is among the top K.

    Takes the arguments of :func:`bootstrap_tops`.
    """
    hits: Counter[Members] = Counter()
    for chosen in bootstrap_tops(
        instances, ranked, top_k, rng, weights=weights, antichain=antichain, resamples=resamples
    ):
        hits.update(chosen)
    return {members: hits[members] / resamples for members in ranked[:MOST]}
