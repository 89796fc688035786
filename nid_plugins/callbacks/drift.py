"""How much a ranking of interactions has changed from one check to the next."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from nid_plugins.detection import worth
from nid_plugins.detection.pruning import prune_global

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.detection.settings import Rank

Score = tuple[float, float]
"""What a set is ranked by: count (or another score), then mean strength."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The change of a ranking's top K.

    Both rankings are over the same instances, those the two checks have in common, so that a check of more instances
    does not look like a change.

    Args:
        rank_correlation: Spearman's, over the union of the two top Ks, of the rank by count and then strength; NaN
            when fewer than two sets are in the union, or one ranking has them all level.
        entered: Sets of the new top K that were not in the old one, best first.
        left: Sets of the old top K that are not in the new one, best first.
    """

    rank_correlation: float
    entered: list[tuple[str, ...]]
    left: list[tuple[str, ...]]

    @property
    def changed(self) -> bool:
        """Whether the set of the top K is another."""
        return bool(self.entered or self.left)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        known = not math.isnan(self.rank_correlation)
        return {
            "rank_correlation": self.rank_correlation if known else None,
            "entered": [list(fields) for fields in self.entered],
            "left": [list(fields) for fields in self.left],
        }

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Drift:
        """Read what :meth:`to_dict` wrote."""
        correlation = spec["rank_correlation"]
        return cls(
            math.nan if correlation is None else float(correlation),
            [tuple(fields) for fields in spec["entered"]],
            [tuple(fields) for fields in spec["left"]],
        )


def drift_between(
    before: Sequence[InstanceResult],
    after: Sequence[InstanceResult],
    names: Sequence[str],
    top_k: int,
    *,
    rank: Rank = "count",
    antichain: bool = False,
) -> Drift:
    """Return how the ranking of the instances two checks have in common has changed.

    Args:
        before: Results of the earlier check, by index.
        after: Results of the later check, by index.
        names: The schema's field names.
        top_k: Length of the rankings compared.
        rank: What sets are ranked by, as for :func:`nid_plugins.detect`.
        antichain: Whether supersets erase subsets in the rankings, as with ``prune="paper"``.
    """
    common = {r.index for r in before} & {r.index for r in after}
    old = scores(before, common, rank=rank)
    new = scores(after, common, rank=rank)
    old_top, new_top = (
        prune_global(order, top_k) if antichain else order[:top_k] for order in (ranked(old), ranked(new))
    )
    union = list(dict.fromkeys([*new_top, *old_top]))
    return Drift(
        spearman(union, old, new),
        [tuple(names[j] for j in members) for members in new_top if members not in set(old_top)],
        [tuple(names[j] for j in members) for members in old_top if members not in set(new_top)],
    )


def scores(
    results: Iterable[InstanceResult], instances: set[int], *, rank: Rank = "count"
) -> dict[Members, Score]:
    """Return what each set found in some of the instances is ranked by."""
    some = [result for result in results if result.index in instances]
    count: defaultdict[Members, int] = defaultdict(int)
    strength: defaultdict[Members, float] = defaultdict(float)
    for result in some:
        for members, s in zip(result.sets, result.strengths, strict=True):
            count[members] += 1
            strength[members] += s
    return {m: (score, strength[m] / max(count[m], 1)) for m, score in worth.scores(rank, some).items()}


def ranked(score_of: Mapping[Members, Score]) -> list[Members]:
    """Return sets best first; ties go to the set of smaller positions, as in a report."""
    return sorted(score_of, key=lambda m: (-score_of[m][0], -score_of[m][1], m))


def spearman(sets: Sequence[Members], old: Mapping[Members, Score], new: Mapping[Members, Score]) -> float:
    """Return Spearman's rank correlation of two rankings of some sets; a set not found has the lowest rank."""
    if len(sets) < 2:
        return math.nan
    a, b = _ranks(sets, old), _ranks(sets, new)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(sets: Sequence[Members], score_of: Mapping[Members, Score]) -> np.ndarray:
    own = [score_of.get(members, (0.0, 0.0)) for members in sets]
    place = {score: i for i, score in enumerate(sorted(set(own)))}
    return np.asarray(rankdata([place[score] for score in own]), dtype=np.float64)
