"""From instance results to a report: count, rank, prune, bootstrap."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.detection.pruning import count_sets, prune_global
from nid_plugins.detection.stability import MOST, bootstrap_stability
from nid_plugins.detection.worth import mean_strengths, scores, worth
from nid_plugins.errors import NidWarning
from nid_plugins.report import Interaction, InteractionReport

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.detection.masks import Floats
    from nid_plugins.detection.settings import DetectSettings

POOR_FIT = 0.5
MANY_CLIPPED = 0.01


@dataclass(frozen=True, slots=True)
class Ranking:
    """The sets of some instances, ranked.

    Args:
        counts: In how many instances each set was found; by strength there are sets found in none.
        strength: The mean of its strengths there, for the sets found in some.
        gain: The mean of its gains there.
        score: The sum of what it is worth, by which sets are ranked.
        ranked: All sets, best first.
        chosen: The top K.
    """

    counts: Counter[Members]
    strength: dict[Members, float]
    gain: dict[Members, float]
    score: dict[Members, float]
    ranked: list[Members]
    chosen: list[Members]


def ranking(settings: DetectSettings, results: Sequence[InstanceResult]) -> Ranking:
    """Count and rank the sets of instances, which come in the order of their index, and choose the top K."""
    counts = count_sets(r.sets for r in results)
    strength: defaultdict[Members, float] = defaultdict(float)
    gain: defaultdict[Members, float] = defaultdict(float)
    for result in results:
        for members, s, g in zip(result.sets, result.strengths, result.gains, strict=True):
            strength[members] += s
            gain[members] += g
    score = scores(settings.rank, results)
    for members, found in counts.items():
        strength[members] /= found
        gain[members] /= found
    ranked = sorted(score, key=lambda m: (-score[m], -strength.get(m, 0.0), m))
    chosen = prune_global(ranked, settings.top_k) if settings.prune == "paper" else ranked[: settings.top_k]
    return Ranking(counts, strength, gain, score, ranked, chosen)


def build_report(
    box: BlackBox,
    settings: DetectSettings,
    results: Sequence[InstanceResult],
    unswitched: dict[str, float],
    queries: int,
    told: Mapping[str, Any] | None = None,
) -> InteractionReport:
    """Return the report of the finished instances, each of which took so many queries.

    Warns when the explainers fit poorly or many predictions were clipped: the ranking is then not to be trusted.

    Args:
        box: The model.
        settings: What was asked for.
        results: What each instance contributed.
        unswitched: For each field the share of instances that hold its off value.
        queries: Queries an instance.
        told: More to tell among the report's settings.
    """
    results = sorted(results, key=lambda r: r.index)
    now = ranking(settings, results)
    counts, strength, gain = now.counts, now.strength, now.gain
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(4,)))
    stability = (
        bootstrap_stability(
            worth(settings.rank, results, now.ranked[:MOST]),
            now.ranked,
            settings.top_k,
            rng,
            antichain=settings.prune == "paper",
        )
        if len(results) > 1
        else {}
    )
    names = box.schema.names
    # By strength there are pairs found nowhere.
    strength = {**strength, **mean_strengths(results, [m for m in now.chosen if m not in counts])}
    interactions = [
        Interaction(
            fields=tuple(names[j] for j in members),
            count=counts[members],
            share=counts[members] / len(results),
            strength=strength[members],
            gain=gain.get(members, float("nan")),
            stability=stability.get(members, float("nan")),
        )
        for members in now.chosen
    ]
    r2 = np.array([r.r2 for r in results])
    _warn(r2, sum(r.saturated for r in results), len(results) * queries, box.epsilon)
    return InteractionReport(
        interactions=interactions,
        schema=box.schema,
        settings={
            **settings.to_dict(),
            "adapter": box.adapter,
            "output": box.output,
            "epsilon": box.epsilon,
            "instances_used": len(results),
            "queries_per_instance": queries,
            "clipped_predictions": sum(r.saturated for r in results),
            **(told or {}),
        },
        r2=r2,
        r2_linear=np.array([r.r2_linear for r in results]),
        kept=np.array([len(r.sets) for r in results], dtype=np.int64),
        unswitched=unswitched,
        pair_strengths=_pairs(results, len(names)),
    )


def _pairs(results: Sequence[InstanceResult], p: int) -> Floats | None:
    given = [r.pairs for r in results if r.pairs is not None]
    if not given:
        return None
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p, 1)] = np.mean(np.array(given, dtype=np.float64), axis=0)
    return matrix + matrix.T


def _warn(r2: Floats, clipped: int, queries: int, epsilon: float) -> None:
    known = r2[~np.isnan(r2)]
    if len(r2) and not len(known):
        warnings.warn(
            "the model's output does not react to any perturbation of these instances", NidWarning, 5
        )
    elif len(known) and np.median(known) < POOR_FIT:
        warnings.warn(
            f"the explainers fit poorly (median held-out R^2 {np.median(known):.2f}): raise perturbations, or try "
            "another baseline or detector; the ranking may be noise",
            NidWarning,
            5,
        )
    if queries and clipped / queries > MANY_CLIPPED:
        warnings.warn(
            f"{clipped} of {queries} predictions were saturated and clipped at epsilon={epsilon:g}: the model is "
            "certain there, and its logit differences are lost",
            NidWarning,
            5,
        )
