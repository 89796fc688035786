"""Training of the lift benchmark with DeepCTR's models: early stopping, groups, sizes, arms, the source.

Beside the adapters' tests because it needs their process; the rest of the benchmark is tested in tests/benchmarks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nid_plugins as nid

pytest.importorskip("deepctr_torch", reason="the benchmark's settings are those of its PyTorch half")

from benchmarks.lift import deepctr_models as models
from benchmarks.lift import deepctr_run as run
from benchmarks.lift import deepctr_training as training
from benchmarks.lift.data import Part, Split
from benchmarks.lift.models import Shape
from benchmarks.lift.selection import fit
from benchmarks.lift.settings import Recipe, Settings
from benchmarks.lift.training import Fit

SHAPE = Shape(4, (8,), 0.0, 1e-2)
FIT = Fit("adagrad", rate=0.1, epochs=6, batch=64)
SETTINGS = Settings(crosses=1, min_count=1, order=2, instances=20, perturbations=100, top_k=3, rate_cross=0.1)


@pytest.fixture(scope="module")
def split() -> Split:
    """Rows of three fields of which the first two interact."""
    rng = np.random.default_rng(0)
    rows = rng.integers(4, size=(900, 3)).astype(np.float64)
    logit = np.where(rows[:, 0] == rows[:, 1], 2.0, -1.0)
    labels = (rng.random(900) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    schema = nid.FeatureSchema([nid.SparseField(name, 4, oov=0) for name in "abc"])
    parts = [Part(rows[i : i + 300], labels[i : i + 300]) for i in (0, 300, 600)]
    return Split("amazon", 0, schema, parts[0], parts[1], parts[2])


def test_training_ends_with_the_weights_of_the_best_validation(split):
    model = models.build("DeepFM", split.schema, seed=0, shape=SHAPE)
    history = training.train(model, split.train, split.valid, replace(FIT, epochs=12), seed=0)
    measured, logits = run.measure(model, split.valid)
    assert measured["log_loss"] == pytest.approx(min(history))
    assert min(history) < history[0]
    p = model.predict(dict(zip("abc", split.valid.rows.T.astype(np.int32), strict=True)), verbose=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), p.ravel(), atol=1e-6)


def test_one_step_is_adagrad_with_decay_on_whole_tables(split):
    model = models.build("WDL", split.schema, seed=0, shape=SHAPE)
    table = next(w for w in model.trainable_variables if w.shape == (4, 4))
    before = table.numpy()
    rows = np.zeros((8, 3))  # rows 1 to 3 of every table are in no batch
    x, y = models.tf.constant(rows.astype(np.int32)), models.tf.ones(8)
    training.stepper(model, x, y, replace(FIT, rate=0.1, decay=0.5))(np.arange(8, dtype=np.int32))
    # With an empty sum of squares the first step of Adagrad is the rate, against the slope's sign.
    np.testing.assert_allclose(table.numpy()[1:], before[1:] - 0.1 * np.sign(before[1:]), atol=1e-5)


def test_groups_hold_every_variable_once_and_crosses_apart(split):
    crosses = fit(split, [("a", "b")], SETTINGS)
    model = nid.inject(models.build("DeepFM", split.schema, seed=0, shape=SHAPE), crosses, mode="residual")
    groups = training.group_of(model)
    shapes = {
        group: sorted(tuple(v.shape) for v in model.trainable_variables if groups[v.ref()] == group)
        for group in set(groups.values())
    }
    assert shapes["linear"] == [(4, 1)] * 3
    assert shapes["deep"] == [(4, 4)] * 3
    assert shapes["cross"] == [(8, 1), (1 + crosses.vocabulary_sizes[0], 8)]
    assert sum(len(own) for own in shapes.values()) == len(model.trainable_variables)


@pytest.mark.parametrize("target", models.TARGETS)
def test_the_wide_shape_comes_nearest_to_the_size_of_the_tower(split, target):
    crosses = fit(split, [("a", "b"), ("b", "c")], SETTINGS)
    base = models.build(target, split.schema, seed=0, shape=SHAPE)
    more = run.tower_parameters(crosses)
    assert more == models.parameters_of(nid.inject(base, crosses, mode="residual")) - models.parameters_of(
        base
    )

    def distance(shape: Shape) -> int:
        return abs(
            models.parameters_of(models.build(target, split.schema, seed=0, shape=shape))
            - models.parameters_of(base)
            - more
        )

    found = run.widened(target, split.schema, SHAPE, more)
    assert found.dim > SHAPE.dim
    assert distance(found) <= min(distance(replace(found, dim=found.dim + k)) for k in (-1, 1))


def test_autoint_is_asked_and_its_cross_is_trained(split, monkeypatch):
    monkeypatch.setattr(run, "recipe_of", lambda name, target: Recipe(SHAPE, replace(FIT, epochs=15)))
    found = run.ask_autoint(split, SETTINGS)
    assert found["sets"] == [("a", "b")]
    crosses = fit(split, found["sets"], SETTINGS)
    model = run.crossed("WDL", split, crosses, Recipe(SHAPE, FIT), SETTINGS, split.seed)
    assert np.abs(nid.cross_embeddings(model)[crosses.names[0]]).sum() > 0
    assert run.measure(model, split.test)[0]["auc"] > 0.6
