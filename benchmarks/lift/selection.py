"""Which crosses each arm gets.

``glider``: picked by held-out gain among the detected sets. ``detected``: those of highest rank, nothing picked.
``random``: drawn from all sets of the same orders. ``frequent``: pairs whose combinations recur most.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

import nid_plugins as nid
from benchmarks.lift.models import build
from benchmarks.lift.training import logits_of, train
from nid_plugins.crosses.joint import ForwardSelection

if TYPE_CHECKING:
    from benchmarks.lift.data import Split
    from benchmarks.lift.settings import Recipe, Settings
    from nid_plugins import CrossFeatures, FeatureSchema, InteractionReport

Fields = tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """The crosses of a split's arms.

    Attributes:
        arms: Arm to sets of fields, as many in each.
        gains: Held-out gain of each picked set when it was picked, in nats per row.
        ranks: Rank of each picked set among the detected ones.
        detected: Number of sets that were detected, the candidates.
        source_auc: Validation AUC of the model that was asked.
    """

    arms: dict[str, list[Fields]]
    gains: list[float]
    ranks: list[int]
    detected: int
    source_auc: float


def detect(split: Split, model: Any, settings: Settings, seed: int) -> InteractionReport:
    """Detect interactions of a source model on validation rows, against the training rows' baseline."""
    box = nid.wrap(model, split.schema)
    return nid.detect(
        box,
        frame_of(split.valid.rows, split.schema),
        background=frame_of(split.train.rows, split.schema),
        detector=settings.detector,
        baseline=settings.baseline,
        instances=settings.instances,
        perturbations=settings.perturbations,
        top_k=settings.top_k,
        prune=settings.prune,
        seed=seed,
        progress=False,
    )


def pick(split: Split, candidates: list[Fields], settings: Settings, seed: int) -> list[tuple[Fields, float]]:
    """Pick crosses greedily by log-loss on training rows held out of the fit.

    Criteo is in order of time, so its last fold is held out alone; Amazon's folds are random and each is.
    """
    ordered = split.name == "criteo"
    n = len(split.train)
    order = np.arange(n) if ordered else np.random.default_rng([seed, 5]).permutation(n)
    fold = np.empty(n, dtype=np.intp)
    fold[order] = np.arange(n) * settings.folds // n
    crosses = fit(split, candidates, settings)
    search = ForwardSelection(
        split.train.rows.astype(np.int64),
        split.train.labels,
        fold,
        penalty_fields=settings.penalty_fields,
        penalty_crosses=settings.penalty_crosses,
        only_last=ordered,
    )
    found = search.pick(list(crosses.transform_matrix(split.train.rows).T), settings.crosses)
    return [(crosses.crosses[position].fields, gain) for position, gain in found]


def select(split: Split, recipe: Recipe, settings: Settings, seed: int) -> Selection:
    """Return the crosses of every arm of a split. Test rows are not needed and not looked at."""
    source = build(settings.source, split.schema, seed=seed + 1000, shape=recipe.shape)
    train(source, split.train, split.valid, recipe.fit, seed=seed + 1000)
    valid = logits_of(source, torch.from_numpy(split.valid.rows.astype(np.float32)))
    report = detect(split, source, settings, seed)
    candidates = [tuple(i.fields) for i in report.interactions if len(i.fields) <= settings.order]
    picked = pick(split, candidates, settings, seed)
    chosen = [fields for fields, _ in picked]
    return Selection(
        arms={
            "glider": chosen,
            "detected": candidates[: len(chosen)],
            "random": random_sets(split.schema.names, [len(fields) for fields in chosen], seed),
            "frequent": frequent_pairs(split, len(chosen)),
        },
        gains=[gain for _, gain in picked],
        ranks=[candidates.index(fields) + 1 for fields in chosen],
        detected=len(candidates),
        source_auc=nid.metrics.auc(split.valid.labels, valid),
    )


def random_sets(names: tuple[str, ...], orders: list[int], seed: int) -> list[Fields]:
    """Draw distinct sets of fields, as many of each order as the list holds."""
    rng = np.random.default_rng([seed, 77])
    drawn: list[Fields] = []
    for order, wanted in sorted(Counter(orders).items()):
        everything = list(combinations(names, order))
        drawn += [everything[i] for i in rng.permutation(len(everything))[:wanted]]
    return drawn


def frequent_pairs(split: Split, k: int) -> list[Fields]:
    """Return the k pairs of fields whose combinations of values recur most.

    The measure is the mean over the training rows of how many rows share a row's combination.
    """
    rows = split.train.rows.astype(np.int64)
    names = split.schema.names

    def recurrence(i: int, j: int) -> float:
        _, counts = np.unique(rows[:, i] * (rows[:, j].max() + 1) + rows[:, j], return_counts=True)
        return float((counts.astype(np.float64) ** 2).sum() / len(rows))

    pairs = list(combinations(range(len(names)), 2))
    ranked = sorted(pairs, key=lambda pair: -recurrence(*pair))
    return [(names[i], names[j]) for i, j in ranked[:k]]


def fit(split: Split, sets: list[Fields], settings: Settings) -> CrossFeatures:
    """Fit the vocabulary of an arm's crosses on the training rows."""
    return nid.fit_crosses(
        sets, frame_of(split.train.rows, split.schema), split.schema, min_count=settings.min_count
    )


def frame_of(rows: npt.NDArray[np.float64], schema: FeatureSchema) -> dict[str, npt.NDArray[np.float64]]:
    """Return rows of shape (n, p) as a frame."""
    return {name: rows[:, j] for j, name in enumerate(schema.names)}
