"""Models and arguments that are odd but plausible: the copy is exact or refused, and the model is left as it was."""

from __future__ import annotations

import os
import warnings

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf
from nid_keras.ids import value_of

import nid_plugins as nid
from nid_plugins.errors import NidWarning, SettingError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore:the model's .* outputs .*all lie in")
LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
FRAME = nets.frame(40)
CALL = nets.tensors(FRAME)


def inputs_of(K):
    return {name: K.Input((1,), name=name, dtype=nets.DTYPES[name]) for name in nets.SCHEMA.names}


def model_of(K, make, name=None):
    """A model whose head sees what ``make`` makes of the inputs."""
    inputs = inputs_of(K)
    return K.Model(inputs, K.layers.Dense(1, activation="sigmoid")(make(inputs)), name=name)


def assert_exact(model, **options):
    target = nid.inject(model, nets.crosses(), dim=2, **options)
    np.testing.assert_array_equal(target(CALL), model(CALL))
    return target


def adapted(layer, values):
    layer.adapt(values)
    return layer


@pytest.mark.parametrize("kind", ["Normalization", "IntegerLookup", "Lambda"])
def test_what_a_layer_has_beside_its_weights_is_copied(K, kind):
    if kind == "Normalization":
        layer = adapted(K.layers.Normalization(), np.arange(50, dtype="float32")[:, None])
        model = model_of(K, lambda inputs: layer(inputs["x"]))
    elif kind == "IntegerLookup":
        lookup, table = adapted(K.layers.IntegerLookup(), np.arange(0, 20, 2)), K.layers.Embedding(12, 3)
        model = model_of(K, lambda inputs: K.layers.Flatten()(table(lookup(inputs["a"]))))
    else:
        model = model_of(K, lambda inputs: K.layers.Lambda(lambda x: x * 3.0)(inputs["x"]))
    assert_exact(model)


def test_a_copy_that_returns_something_else_is_refused(K):
    class Scaled(K.Model):
        scale = 1.0

        def call(self, inputs, training=None, mask=None):
            return super().call(inputs, training=training) * self.scale

    inputs = inputs_of(K)
    model = Scaled(inputs, K.layers.Dense(1, activation="sigmoid")(inputs["x"]))
    assert_exact(model)
    model.scale = 0.5
    with pytest.raises(UnsupportedError, match="does not return what the model does.*fresh"):
        nid.inject(model, nets.crosses())

    def fresh():
        inputs = inputs_of(K)
        made = Scaled(inputs, K.layers.Dense(1, activation="sigmoid")(inputs["x"]))
        made.scale = 0.5
        return made

    assert_exact(model, fresh=fresh)


def test_a_training_step_of_ones_own_is_not_lost_in_silence(K):
    class Own(K.Model):
        def train_step(self, data):
            return super().train_step(data)

    inputs = inputs_of(K)
    with pytest.warns(NidWarning, match="its own train_step"):
        nid.inject(Own(inputs, K.layers.Dense(1, activation="sigmoid")(inputs["x"])), nets.crosses())


@pytest.mark.parametrize("name", ["a", "cross_tower", "corrected"])
def test_a_model_called_like_an_input_or_a_layer_of_ours(K, name):
    assert_exact(model_of(K, lambda inputs: inputs["x"], name=name))


@pytest.mark.skipif(LEGACY, reason="tf_keras names inputs by the keys, whatever they are")
def test_keys_that_are_no_names_of_layers(K):
    schema = nid.FeatureSchema([nid.SparseField("u/a", 20), nid.DenseField("u/x")])
    inputs = {"u/a": K.Input((1,), dtype="int32"), "u/x": K.Input((1,))}
    model = K.Model(inputs, K.layers.Dense(1)(inputs["u/x"]))
    frame = {"u/a": FRAME["a"], "u/x": FRAME["x"]}
    crosses = nid.fit_crosses([("u/a", "u/x")], frame, schema, min_count=0, bins=3)
    call = {"u/a": CALL["a"], "u/x": CALL["x"]}
    np.testing.assert_array_equal(nid.inject(model, crosses)(call), model(call))


@pytest.mark.parametrize("activation", ["linear", "softplus", "relu"])
def test_scores_that_happen_to_lie_between_0_and_1_are_no_probabilities(K, activation):
    inputs = inputs_of(K)
    head = K.layers.Dense(1, activation=activation, kernel_initializer="zeros", bias_initializer="ones")
    model = K.Model(inputs, head(inputs["x"]))
    head.set_weights([np.full((1, 1), 0.01), np.full(1, 0.5)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)  # it is no guess
        target = assert_exact(model)
    assert nid.wrap(target, nets.SCHEMA).output == "logit"


def test_an_output_beyond_0_and_1_is_not_brought_in_by_no_correction(L):
    out = tf.constant([[-0.5], [1.5], [0.5]])
    np.testing.assert_array_equal(L.Corrected("probability")([out, tf.zeros_like(out)]), out)


@pytest.mark.parametrize("eagerly", [False, True])
def test_losses_metrics_and_names_are_as_they_were(K, eagerly):
    class Telling(K.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.mean = K.metrics.Mean(name="mean")

        def call(self, x):
            self.add_loss(tf.reduce_mean(x))
            self.mean.update_state(x)
            return x

    layer = Telling()
    model = model_of(K, lambda inputs: layer(inputs["x"]))
    model.compile("sgd", "binary_crossentropy", run_eagerly=eagerly)
    model(CALL)
    losses = [float(loss) for loss in model.losses]
    state = [value_of(variable) for variable in layer.mean.variables]
    nid.wrap(model, nets.SCHEMA).logits(nets.frame(9, seed=5))
    assert [float(loss) for loss in model.losses] == losses
    np.testing.assert_array_equal([value_of(variable) for variable in layer.mean.variables], state)
    first = int(K.layers.Dense(1).name.rpartition("_")[2])
    nid.inject(nets.subclassed(K), nets.crosses())
    made = 1  # of the subclassed model itself
    assert int(K.layers.Dense(1).name.rpartition("_")[2]) == first + made + 1


def test_seeds_set_anew_by_a_function_of_the_users(K):
    def draws():
        # Of TensorFlow, of the Keras, and without a seed of its own.
        return [
            np.array(tf.random.uniform([2])),
            np.array(K.initializers.GlorotUniform()((2, 2))),
            *([] if LEGACY else [np.array(K.random.normal((2,)))]),
        ]

    model = nets.mapping(K)

    def fresh():
        K.utils.set_random_seed(11)
        return nets.mapping(K)

    K.utils.set_random_seed(4)
    draws()
    expected = draws()
    K.utils.set_random_seed(4)
    draws()
    nid.inject(model, nets.crosses(), fresh=fresh)
    for one, two in zip(draws(), expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_compile_settings_by_output_and_settings_that_are_functions(K):
    model = nets.mapping(K)
    name = model.output_names[0]
    model.compile("adam", {name: "binary_crossentropy"}, metrics={name: ["AUC"]})
    target = nid.inject(model, nets.crosses())
    target.fit(CALL, nets.labels(FRAME), verbose=0)
    model.compile("adam", lambda y, p: tf.reduce_mean(tf.square(y - p)))
    with pytest.warns(NidWarning, match="call compile"):
        nid.inject(model, nets.crosses())


def test_nested_inputs_and_columns_with_an_axis_of_their_own(K):
    inputs = inputs_of(K)
    nested = K.Model({"ids": {"a": inputs["a"], "b": inputs["b"]}, "x": inputs["x"]}, inputs["x"])
    with pytest.raises(UnsupportedError, match="nested"):
        nid.wrap(nested, nets.SCHEMA)

    class Wide(K.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = K.layers.Dense(1)

        def call(self, inputs):
            return self.head(inputs["x"])  # refuses a column of shape (n,)

    model = Wide()
    model(CALL)
    assert_exact(model)


@pytest.mark.parametrize(
    "extract",
    [
        lambda: None,
        lambda tensors: None,
        lambda tensors: {"a": tensors["a"]},
        lambda tensors: tensors["unknown"],
        lambda tensors: dict.fromkeys(tensors, 1),
        lambda tensors: list(tensors.values()),
    ],
)
def test_an_extract_that_gives_something_else(K, extract):
    def inputs(columns):
        return ({name: column[:, None] for name, column in columns.items()},), {}

    with pytest.raises(SettingError, match="extract"):
        nid.inject(nets.mapping(K), nets.crosses(), inputs=inputs, extract=extract)


@pytest.mark.parametrize("made", [None, "text", 3])
def test_a_fresh_that_returns_no_model(K, made):
    with pytest.raises(SettingError, match="not a new model"):
        nid.inject(nets.mapping(K), nets.crosses(), fresh=lambda: made)


@pytest.mark.parametrize("kind", ["decay", "average", "scaled"])
def test_row_0_stays_zero_whatever_the_optimiser_does_to_whole_tables(K, kind):
    scaled = K.mixed_precision.LossScaleOptimizer if LEGACY else K.optimizers.LossScaleOptimizer
    optimiser = {
        "decay": lambda: K.optimizers.AdamW(0.05, weight_decay=0.1, global_clipnorm=0.5),
        "average": lambda: K.optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=2),
        "scaled": lambda: scaled(K.optimizers.Adam(0.05)),
    }[kind]()
    target = nid.inject(nets.mapping(K), nets.crosses(), dim=2)
    target.compile(optimiser, "binary_crossentropy")
    call = {**CALL, "b": tf.where(CALL["b"] % 2 == 0, CALL["b"], 29)}  # many pairs of ids are unknown now
    known = nets.crosses().transform({**FRAME, "b": np.array(call["b"]).ravel()})[:, 0]
    assert (known == 0).any()
    assert (known > 0).any()
    target.fit(call, nets.labels(FRAME), batch_size=10, epochs=2, verbose=0)
    tables = nid.cross_embeddings(target)
    assert any(table.any() for table in tables.values())
    assert not any(table[0].any() for table in tables.values())
