"""From the sets of many instances to one ranking: counting, and the paper's pruning rules."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nid_plugins.detection.detector import Members


def prune_local(ranked: Sequence[Members], limit: int = 100) -> list[Members]:
    """Return one instance's ranking without the subsets of sets ranked above them.

    A subset ranked above its superset stays. This is the pruning of the paper's code, per instance.

    Args:
        ranked: Sets, strongest first.
        limit: Most sets to return.
    """
    kept: list[Members] = []
    current: list[frozenset[int]] = []
    for members in ranked:
        this = frozenset(members)
        if any(this < other for other in current):
            continue
        current = [other for other in current if not other < this]
        current.append(this)
        kept.append(members)
        if len(kept) >= limit:
            break
    return kept


def prune_global(ranked: Iterable[Members], limit: int) -> list[Members]:
    """Return the paper's antichain: going down the ranking, a set erases its subsets and a subset of a kept set is skipped.

    Supersets win whatever the counts. Fewer than ``limit`` sets are returned when no more survive (the paper's code
    fails there).

    Args:
        ranked: Sets, highest count first.
        limit: Number K of sets wanted.
    """
    kept: list[Members] = []
    for members in ranked:
        this = frozenset(members)
        if any(this <= frozenset(other) for other in kept):
            continue
        kept = [other for other in kept if not frozenset(other) < this]
        kept.append(members)
        if len(kept) >= limit:
            break
    return kept


def count_sets(instances: Iterable[Iterable[Members]]) -> Counter[Members]:
    """Count in how many instances each set occurs."""
    counts: Counter[Members] = Counter()
    for sets in instances:
        counts.update(set(sets))
    return counts
