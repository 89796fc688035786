"""Bootstrap stability: would the ranking have been the same with other instances?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.detection.pruning import prune_global

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from nid_plugins.detection.detector import Members

RESAMPLES = 200
MOST = 3000
"""Sets resampled, best first: those below cannot reach the top."""


def bootstrap_tops(
    worth: npt.NDArray[np.floating[Any]],
    ranked: Sequence[Members],
    top_k: int,
    rng: np.random.Generator,
    *,
    antichain: bool = False,
    resamples: int = RESAMPLES,
) -> Iterator[list[Members]]:
    """Yield the top K of each bootstrap resample of the instances.

    Args:
        worth: What each of the first :data:`MOST` sets is worth in each instance (see
            :mod:`nid_plugins.detection.worth`), shape (instances, sets); the sum is the set's score.
        ranked: All sets, best first; earlier ones win ties.
        top_k: K.
        rng: Source of randomness.
        antichain: Whether the top K is chosen by the paper's global pruning.
        resamples: Number of resamples.
    """
    considered = list(ranked[:MOST])
    n = len(worth)
    times = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float32)
    for row in times @ worth:
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > 0]
        if antichain:
            yield prune_global((considered[i] for i in order), top_k)
        else:
            yield [considered[i] for i in order[:top_k]]


def bootstrap_stability(
    worth: npt.NDArray[np.floating[Any]],
    ranked: Sequence[Members],
    top_k: int,
    rng: np.random.Generator,
    *,
    antichain: bool = False,
    resamples: int = RESAMPLES,
) -> dict[Members, float]:
    """Return, for each set, the share of bootstrap resamples of the instances in which it is among the top K.

    Takes the arguments of :func:`bootstrap_tops`.
    """
    hits: Counter[Members] = Counter()
    for chosen in bootstrap_tops(worth, ranked, top_k, rng, antichain=antichain, resamples=resamples):
        hits.update(chosen)
    return {members: hits[members] / resamples for members in ranked[:MOST]}
