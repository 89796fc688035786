"""The layers by themselves: in a model of one's own, under mixed precision and XLA, saved and read back."""

from __future__ import annotations

import json

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf

import nid_plugins as nid
from nid_plugins.errors import SettingError


@pytest.fixture
def policy(K):
    """Set the global policy for a test."""
    before = K.mixed_precision.global_policy() if hasattr(K.mixed_precision, "global_policy") else None
    yield K.mixed_precision.set_global_policy
    K.mixed_precision.set_global_policy(before or "float32")


def own_model(K, L, **options):
    """A wide-and-deep model a user wrote, with the embedding layer among its layers."""
    inputs = {name: K.Input((), name=name, dtype=nets.DTYPES[name]) for name in nets.SCHEMA.names}
    wide = K.layers.Flatten()(L.CrossEmbedding(nets.crosses(), dim=4, **options)(inputs))
    return K.Model(inputs, K.layers.Dense(1, activation="sigmoid")(wide))


def columns(n=200):
    frame = nets.frame(n)
    return nets.tensors(frame, ()), nets.labels(frame)


@pytest.mark.parametrize("jit", [False, True])
def test_the_embedding_learns_in_a_model_of_ones_own(K, L, jit):
    model = own_model(K, L)
    x, y = columns()
    model.compile(K.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=jit)
    history = model.fit(x, y, batch_size=50, epochs=6, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    tables = nid.cross_embeddings(model)
    assert {name: table.shape for name, table in tables.items()} == {
        name: (size + 1, 4)
        for name, size in zip(nets.crosses().names, nets.crosses().vocabulary_sizes, strict=True)
    }
    assert all(np.abs(table).max() > 0 and not table[0].any() for table in tables.values())


def test_ids_outside_the_vocabulary_learn_nothing(K, L):
    model = own_model(K, L)
    x, y = columns(8)
    x["a"] = tf.fill([8], 19)
    x["b"] = tf.fill([8], tf.constant(31, tf.int64))
    x["x"] = tf.fill([8], float("nan"))
    model.layers[-1].set_weights([np.ones((8, 1)), np.zeros(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(x, y)
    assert not any(table.any() for table in nid.cross_embeddings(model).values())


def test_a_model_with_the_layer_is_saved_and_read_back(K, L, tmp_path):
    model = own_model(K, L)
    x, y = columns()
    model.compile("adam", "binary_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "own.keras")
    again = K.models.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(again(x), model(x))
    again.fit(x, y, epochs=1, verbose=0)


def test_mixed_precision_rounds_neither_ids_nor_bins(K, L, policy):
    crosses = nets.crosses()
    frame = nets.frame(500, seed=4)
    x = nets.tensors(frame, ())
    policy("mixed_float16")
    layer = L.CrossEmbedding(crosses, dim=4)
    assert layer(x).dtype == tf.float16
    np.testing.assert_array_equal(layer.cross_ids(x), crosses.transform(frame))
    big = {**x, "a": tf.cast(x["a"], tf.float32) + 2**11}
    np.testing.assert_array_equal(layer.cross_ids(big)[:, 0], np.zeros(500))


def test_given_embeddings_are_there_and_are_weights_not_config(L):
    crosses = nets.crosses()
    rng = np.random.default_rng(0)
    given = {crosses.names[0]: rng.normal(size=(crosses.vocabulary_sizes[0] + 1, 3))}
    layer = L.CrossEmbedding(crosses, dim=3, embeddings=given, train_embeddings=False)
    layer(columns()[0])
    own = layer.cross_embeddings()
    np.testing.assert_array_equal(own[crosses.names[0]][1:], given[crosses.names[0]][1:].astype(np.float32))
    assert not own[crosses.names[0]][0].any()
    assert not own[crosses.names[1]].any()
    assert not layer.trainable_weights
    assert len(json.dumps(layer.get_config())) < 3000


def test_the_tower_starts_at_zero_and_its_config_makes_it_again(L):
    x, _ = columns()
    layer = L.CrossTower(nets.crosses(), dim=3, hidden=(5, 4), dropout=0.2, l2=0.5, seed=3)
    assert not layer(x).numpy().any()
    assert layer(x).shape == (200, 1)
    again = L.CrossTower.from_config(json.loads(json.dumps(layer.get_config())))
    again(x)
    assert {
        "dim": 3,
        "hidden": [5, 4],
        "dropout": 0.2,
        "l2": 0.5,
        "seed": 3,
    }.items() <= again.get_config().items()
    for one, two in zip(layer.get_weights()[:5], again.get_weights()[:5], strict=True):
        np.testing.assert_array_equal(one, two)  # the table, the projection and the MLP: of the same seed


def test_the_hidden_layers_and_the_penalty_are_what_they_say(L):
    crosses = nets.crosses()
    rng = np.random.default_rng(1)
    given = {
        name: rng.normal(size=(size + 1, 2))
        for name, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    }
    frame = nets.frame(50)
    layer = L.CrossTower(crosses, dim=2, hidden=(5,), l2=0.25, embeddings=given)
    x = nets.tensors(frame, ())
    assert not layer(x).numpy().any(), "given embeddings do not move the output before training"
    weights = {w.name.rpartition("/")[2].partition(":")[0]: w for w in layer.trainable_weights}
    values = {
        "projection": rng.normal(size=(4, 1)),
        "mlp_0": rng.normal(size=(4, 5)),
        "mlp_1": rng.normal(size=(5, 1)),
    }
    for name, value in values.items():
        weights[name].assign(value)
    ids = crosses.transform(frame)
    wide = np.concatenate(
        [np.where(ids[:, [k]] > 0, given[name][ids[:, k]], 0) for k, name in enumerate(crosses.names)], axis=1
    )
    expected = wide @ values["projection"] + np.maximum(wide @ values["mlp_0"], 0) @ values["mlp_1"]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    penalty = 0.25 * sum((own[1:].astype(np.float32) ** 2).sum() for own in given.values())
    np.testing.assert_allclose(sum(layer.losses), penalty, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dim": 0}, "dim out of range"),
        ({"l2": -1.0}, "l2 out of range"),
        ({"embeddings": {"nope": np.zeros((2, 8))}}, "unknown cross"),
        ({"train_embeddings": "yes"}, "train_embeddings"),
    ],
)
def test_options_out_of_their_domain(L, options, problem):
    for layer in (L.CrossEmbedding, L.CrossTower):
        with pytest.raises(SettingError, match=problem):
            layer(nets.crosses(), **options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("output", ["probability", "logit"])
def test_no_correction_changes_no_bit(L, dtype, output):
    layer = L.Corrected(output)
    values = np.concatenate([[0, 1, 1e-30, 1 - 1e-7, 0.5], np.random.default_rng(0).random(200)])
    out = tf.cast(tf.constant(values[:, None]), dtype)
    for call in (layer, tf.function(layer.__call__), tf.function(layer.__call__, jit_compile=True)):
        again = call([out, tf.zeros((205, 1))])
        assert again.dtype == out.dtype
        assert tf.reduce_all(again == out)


def test_a_correction_is_added_to_the_logit(L):
    p = np.array([0.1, 0.5, 0.9])
    delta = np.array([[1.0], [-2.0], [0.5]])
    moved = L.Corrected("probability")([tf.constant(p), tf.constant(delta)])
    expected = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + delta[:, 0])))
    np.testing.assert_allclose(moved, expected, rtol=1e-9)
    np.testing.assert_allclose(L.Corrected("logit")([tf.constant(p), tf.constant(delta)]), p + delta[:, 0])
    saturated = L.Corrected("probability")(
        [tf.constant([[0.0], [1.0]]), tf.constant([[30.0], [-30.0]])]
    ).numpy()
    assert saturated[0] > 0.99
    assert saturated[1] < 0.01
    with pytest.raises(SettingError, match="unknown output"):
        L.Corrected("class")
