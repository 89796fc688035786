"""Picking crosses for a model in training: candidates beside the detected ones, and two ways to judge them.

Held-out rows are the better judge, since they tell what a cross adds to the model itself; there must be enough of them
for its combinations to recur. Where there are few, training rows are asked: crosses are fitted on them together, each
judged on a part left out, and the held-out rows only have to say that the whole does the model no harm.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import screen
from nid_plugins.crosses.bins import quantile_edges
from nid_plugins.crosses.held_out import compact
from nid_plugins.crosses.joint import ForwardSelection
from nid_plugins.crosses.members import MemberIds
from nid_plugins.crosses.offsets import calibrate, sigmoid, softplus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.offsets import Floats
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

    Fields = tuple[str, ...]

ERRORS = 2.0
"""Standard errors a cross's held-out gain must be above 0: the best of many candidates are partly luck."""
FOLDS = 3
BINS = 20
"""Of dense fields as main effects in refits."""
PENALTIES = (0.5, 2.0, 8.0)
"""Tried for the offsets of fields in refits; the crosses' is :data:`CROSSES_OVER_FIELDS` times the best one."""
CROSSES_OVER_FIELDS = 4.0
REFIT_ROWS = 60_000
"""Most training rows that refits are made on; drawn once."""


def further_pairs(sets: Sequence[Fields], schema: FeatureSchema, most: int) -> list[Fields]:
    """Return pairs of fields that were not detected, those of the fields that interact most first.

    A model in its first epochs does not show yet all that it could use, and a pair it has not learned is worth as much.

    Args:
        sets: The detected sets, best first.
        schema: The fields.
        most: Most pairs to return.
    """
    weight = dict.fromkeys(schema.names, 0.0)
    for rank, fields in enumerate(sets, start=1):
        for name in fields:
            weight[name] += 1.0 / rank
    known = {frozenset(fields) for fields in sets}
    pairs: list[Fields] = [
        pair for pair in itertools.combinations(schema.names, 2) if frozenset(pair) not in known
    ]
    return sorted(pairs, key=lambda pair: -(weight[pair[0]] + weight[pair[1]]))[:most]


def unions(sets: Iterable[Fields], schema: FeatureSchema, most: int) -> list[Fields]:
    """Return the triples that two pairs with a field in common make together.

    A model shows the pairs inside an interaction of three fields before it shows that.

    Args:
        sets: Fields of crosses, best first; others than pairs are passed over.
        schema: Gives the order of the fields in a triple.
        most: Most triples to return.
    """
    pairs = [set(fields) for fields in sets if len(fields) == 2]
    made = [first | second for first, second in itertools.combinations(pairs, 2) if first & second]
    ordered = (tuple(sorted(triple, key=schema.index_of)) for triple in made)
    return list(dict.fromkeys(ordered))[:most]


def by_screening(
    crosses: CrossFeatures, frame: Any, label: Floats, logits: Floats, k: int, options: dict[str, Any]
) -> tuple[ScreenReport, dict[str, float]]:
    """Pick by what crosses add to the model's logits on held-out rows; return the screening, and the gains of the picked."""
    settings = {"greedy": True, "smaller_first": True, "errors": ERRORS, "picks": k, **options}
    report = screen(crosses, frame, label, logits, **settings)
    picked = [
        one
        for one in report
        if (one.picked or not settings["greedy"]) and one.gain > settings["errors"] * one.error
    ]
    return report, {one.name: one.gain for one in picked[:k]}


class Refits:
    """Picks crosses by fits of all fields and the crosses picked so far together, on training rows.

    Args:
        crosses: The candidates.
        rows: Training rows, shape (n, p).
        label: Their labels, shape (n,).
        seed: Of the rows drawn and of the folds.
    """

    def __init__(self, crosses: CrossFeatures, rows: FloatMatrix, label: Floats, seed: int) -> None:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(6,)))
        chosen = np.sort(rng.permutation(len(rows))[:REFIT_ROWS])
        rows, label = rows[chosen], label[chosen]
        fold = rng.permutation(len(rows)) % FOLDS
        fields = _main_effects(rows, crosses)
        searches = [
            ForwardSelection(
                fields, label, fold, penalty_fields=penalty, penalty_crosses=CROSSES_OVER_FIELDS * penalty
            )
            for penalty in PENALTIES
        ]
        self._search = min(searches, key=lambda search: search.loss)
        self._crosses = crosses
        self._ids = list(crosses.transform_matrix(rows).T)

    def pick(self, k: int) -> dict[str, float]:
        """Return the names of at most k crosses with their gains in nats a row, as picked: smaller ones first."""
        orders = [len(cross.fields) for cross in self._crosses.crosses]
        picked: dict[str, float] = {}
        for order in sorted(set(orders)):
            level = [i for i, own in enumerate(orders) if own == order]
            found = self._search.pick([self._ids[i] for i in level], k - len(picked), errors=ERRORS)
            picked |= {self._crosses.names[level[position]]: gain for position, gain in found}
        return picked

    def gain_on(
        self, picked: Sequence[str], rows: FloatMatrix, label: Floats, logits: Floats
    ) -> tuple[float, float]:
        """Return what the picked crosses, as fitted, add to a model on rows it was not trained on, with its error.

        Args:
            picked: Names, as :meth:`pick` returned them.
            rows: Shape (m, p).
            label: Shape (m,).
            logits: The model's, shape (m,).
        """
        ids = self._crosses.select(picked).transform_matrix(rows)
        return stacked_gain(self._search.contribution(list(ids.T)), label, logits)


def stacked_gain(added: Floats, label: Floats, logits: Floats, folds: int = 5) -> tuple[float, float]:
    """Return mean and standard error of the fall in held-out log-loss when a multiple of ``added`` joins the logits.

    One number, the multiple, is fitted besides the recalibration of the logits: a few thousand rows are enough.
    """
    fold = np.arange(len(label)) % folds
    falls = np.empty(len(label))
    for k in range(folds):
        rest, held = fold != k, fold == k
        intercept, slope = calibrate(logits[rest], label[rest])
        base = intercept + slope * logits
        multiple = _multiple(added[rest], label[rest], base[rest])
        after = base[held] + multiple * added[held]
        falls[held] = softplus(base[held]) - softplus(after) + label[held] * (after - base[held])
    return float(falls.mean()), float(falls.std(ddof=1) / np.sqrt(len(falls)))


def _multiple(added: Floats, label: Floats, base: Floats, steps: int = 10) -> float:
    found = 0.0
    for _ in range(steps):
        p = sigmoid(base + found * added)
        curvature = float(added**2 @ (p * (1 - p))) + 1e-3
        found = min(max(found + float(added @ (label - p)) / curvature, 0.0), 2.0)
    return found


def _main_effects(rows: FloatMatrix, crosses: CrossFeatures) -> npt.NDArray[np.intp]:
    """Return an id for the value of every field, shape (n, p)."""
    schema = crosses.schema
    edges = {
        field.name: quantile_edges(rows[:, schema.index_of(field.name)], BINS, field=field.name)
        for field in schema.dense
    }
    members = MemberIds(rows, schema, edges)
    return np.stack([compact(members[name])[0] for name in schema.names], axis=1)
