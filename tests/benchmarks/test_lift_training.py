"""Training of the lift benchmark: early stopping, groups, sizes, arms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("deepctr_torch")

import torch

import nid_plugins as nid
from benchmarks.lift import arms, selection, training
from benchmarks.lift.data import Part, Split
from benchmarks.lift.models import TARGETS, Shape, build, parameters_of
from benchmarks.lift.settings import Recipe, Settings

SHAPE = Shape(4, (8,), 0.0, 1e-2)


@pytest.fixture(scope="module")
def split() -> Split:
    """Return rows of three fields of which the first two interact."""
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(900, 3)).astype(np.float64)
    logit = np.where(rows[:, 0] == rows[:, 1], 2.0, -1.0)
    labels = (rng.random(900) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    schema = nid.FeatureSchema([nid.SparseField(name, 4, oov=0) for name in "abc"])
    parts = [Part(rows[i : i + 300], labels[i : i + 300]) for i in (0, 300, 600)]
    return Split("amazon", 0, schema, parts[0], parts[1], parts[2])


def test_training_ends_with_the_weights_of_the_best_validation(split: Split) -> None:
    model = build("DeepFM", split.schema, seed=0, shape=SHAPE)
    history = training.train(
        model, split.train, split.valid, training.Fit(rate=0.05, epochs=8, batch=64), seed=0
    )
    measured, _ = arms.measure(model, split.valid)
    assert measured["log_loss"] == pytest.approx(min(history))
    assert min(history) < history[0]


def test_groups_hold_every_parameter_once_and_crosses_apart(split: Split) -> None:
    crosses = nid.fit_crosses(
        [("a", "b")], selection.frame_of(split.train.rows, split.schema), split.schema, min_count=1
    )
    model = nid.inject(build("DeepFM", split.schema, seed=0, shape=SHAPE), crosses)
    groups = training.groups_of(
        model, training.Fit(decay=1.0, decay_linear=2.0, decay_dense=3.0, decay_cross=4.0)
    )
    by_decay = {group["weight_decay"]: group["params"] for group in groups}
    assert sorted(by_decay) == [1.0, 2.0, 3.0, 4.0]
    assert any(p is model.cross_tower.embedding.weight for p in by_decay[4.0])
    assert sum(len(params) for params in by_decay.values()) == len(list(model.parameters()))


@pytest.mark.parametrize("target", TARGETS)
def test_the_wide_shape_comes_nearest_to_the_size_asked_for(split: Split, target: str) -> None:
    wanted = 3 * parameters_of(build(target, split.schema, seed=0, shape=SHAPE))
    found = arms.widened(target, split.schema, SHAPE, wanted)
    size = parameters_of(build(target, split.schema, seed=0, shape=found))
    step = 2 if target == "AutoInt" else 1
    for dim in (found.dim - step, found.dim + step):
        other = parameters_of(build(target, split.schema, seed=0, shape=Shape(dim, (8,), 0.0, 1e-2)))
        assert abs(size - wanted) <= abs(other - wanted)


def test_crosses_are_detected_picked_and_trained(split: Split) -> None:
    torch.manual_seed(0)
    recipe = Recipe(SHAPE, training.Fit("adagrad", rate=0.1, epochs=10, batch=64))
    settings = Settings(
        crosses=1, min_count=1, order=2, instances=20, perturbations=100, top_k=3, rate_cross=0.1
    )
    chosen = selection.select(split, recipe, settings, 0)
    assert chosen.arms["glider"] == [("a", "b")]
    assert all(len(sets) == 1 for sets in chosen.arms.values())
    model = arms.crossed(
        "WDL", split, selection.fit(split, chosen.arms["glider"], settings), recipe, settings, 0
    )
    assert float(model.cross_tower.embedding.weight.detach().abs().sum()) > 0
    assert split.test is not None
    assert arms.measure(model, split.test)[0]["auc"] > 0.6


def test_random_sets_match_orders_and_are_distinct() -> None:
    drawn = selection.random_sets(("a", "b", "c", "d"), [2, 3, 2, 2], 0)
    assert sorted(len(fields) for fields in drawn) == [2, 2, 2, 3]
    assert len(set(drawn)) == 4
    assert drawn == selection.random_sets(("a", "b", "c", "d"), [2, 3, 2, 2], 0)
    assert drawn != selection.random_sets(("a", "b", "c", "d"), [2, 3, 2, 2], 1)


def test_frequent_pairs_are_those_whose_combinations_recur(split: Split) -> None:
    rows = split.train.rows.copy()
    rows[:, 2] = 0
    constant = Split("amazon", 0, split.schema, Part(rows, split.train.labels), split.valid, None)
    assert {"c"} < set(selection.frequent_pairs(constant, 1)[0])
