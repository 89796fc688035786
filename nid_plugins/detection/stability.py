"""Bootstrap stability: would the ranking have been the same with other instances?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.pruning import prune_global

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.detector import Members

RESAMPLES = 200
MOST = 3000
"""Sets resampled, highest counts first: those below cannot reach the top."""


def bootstrap_stability(
    instances: Sequence[Sequence[Members]],
    ranked: Sequence[Members],
    top_k: int,
    rng: np.random.Generator,
    *,
    antichain: bool = False,
    resamples: int = RESAMPLES,
) -> dict[Members, float]:
    """Return, for each set, the share of bootstrap resamples of the instances in which it is among the top K by count.

    Args:
        instances: Sets of each instance.
        ranked: All sets, highest count first; earlier ones win ties.
        top_k: K.
        rng: Source of randomness.
        antichain: Whether the top K is chosen by the paper's global pruning.
        resamples: Number of resamples.
    """
    considered = list(ranked[:MOST])
    index = {members: i for i, members in enumerate(considered)}
    n = len(instances)
    incidence = np.zeros((n, len(considered)), dtype=np.float32)
    for row, sets in enumerate(instances):
        incidence[row, [index[m] for m in sets if m in index]] = 1.0
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float32)
    counts = weights @ incidence
    hits = np.zeros(len(considered))
    for row in counts:
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > 0]
        if antichain:
            chosen = [index[m] for m in prune_global((considered[i] for i in order), top_k)]
        else:
            chosen = order[:top_k].tolist()
        hits[chosen] += 1.0
    return {members: float(hits[i]) / resamples for i, members in enumerate(considered)}
