"""``instances="auto"``: when have enough instances been explained?

Instances are explained in a random order, and at the checkpoints the ranking is put to the test: the instances are drawn
again with replacement, and the top K of each resample is compared with the top K found. When, in nine of ten resamples,
four fifths of the top K stay, the ranking is settled. The bootstrap over instances is the one the report's stability is made
of. Four fifths is what the paper's 1,000 instances come to on DeepFMs trained on click logs, where the last places of a top
20 are ties: two such runs, of other instances, have 16 to 18 of 20 in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.detection.aggregate import ranking
from nid_plugins.detection.stability import MOST, bootstrap_tops
from nid_plugins.detection.worth import worth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.detection.settings import DetectSettings

FEWEST = 64
"""Instances before the first checkpoint."""
GROWTH = 1.25
"""How many times more instances the next checkpoint has: the test costs little beside what it may save."""
STAYING = 0.8
"""Share of the top K that must stay..."""
SURE = 0.9
"""...in this share of the resamples."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What a checkpoint found.

    Args:
        instances: Instances explained so far.
        staying: Share of the top K that stays: its lower bound in the bootstrap, reached or exceeded by nine of ten
            resamples.
        mean: The mean of that share over the resamples.
        settled: Whether the ranking is settled.
    """

    instances: int
    staying: float
    mean: float
    settled: bool

    def why(self) -> str:
        """Return the reason for stopping, as the report has it."""
        told = (
            f"{self.staying:.0%} of the top stay in {SURE:.0%} of the resamples of {self.instances} instances"
        )
        return f"settled: {told}" if self.settled else f"no rows left, not settled: {told}"


def checkpoints(rows: int, group: int) -> list[int]:
    """Return after how many instances to look: whole groups, ever further apart, and all rows at last."""
    found: list[int] = []
    at = float(FEWEST)
    while (whole := -(-int(at) // group) * group) < rows:
        if not found or whole > found[-1]:
            found.append(whole)
        at *= GROWTH
    return [*found, rows]


def look(results: Sequence[InstanceResult], settings: DetectSettings) -> Stop:
    """Return whether the ranking of some instances is settled; the same for the same instances and seed."""
    results = sorted(results, key=lambda r: r.index)
    now = ranking(settings, results)
    if not now.chosen or len(results) < 2:
        # Nothing found is found again in every resample.
        return Stop(len(results), 1.0, 1.0, len(results) >= FEWEST)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(5, len(results))))
    top = set(now.chosen)
    shares = [
        len(top.intersection(chosen)) / len(top)
        for chosen in bootstrap_tops(
            worth(settings.rank, results, now.ranked[:MOST]),
            now.ranked,
            settings.top_k,
            rng,
            antichain=settings.prune == "paper",
        )
    ]
    low = float(np.quantile(shares, 1.0 - SURE, method="lower"))
    return Stop(len(results), low, float(np.mean(shares)), low >= STAYING)
