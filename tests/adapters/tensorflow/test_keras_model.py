"""Keras models as black boxes: found, fed as they declare, read as their heads say, and left as they were."""

from __future__ import annotations

import random

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf
from nid_keras.copying import copied
from nid_keras.declared import declared_output

import nid_plugins as nid
from nid_plugins.errors import ModelError, SchemaError, SettingError, UnsupportedError

LIMIT = np.log(1 - 1e-7) - np.log(1e-7)  # where a black box clips logits


def logit(p):
    p = np.clip(np.asarray(p, np.float64), 1e-7, 1 - 1e-7)
    return np.log(p) - np.log1p(-p)


def state(model):
    variables = [np.array(v.numpy() if hasattr(v, "numpy") else v) for v in model.variables]
    return variables, [layer.trainable for layer in model.layers], random.getstate(), np.random.get_state()


def assert_same(before, after):
    for one, two in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, two)
    assert before[1:3] == after[1:3]
    assert np.array_equal(before[3][1], after[3][1])


@pytest.mark.filterwarnings("ignore:the model's .* outputs all lie in")
@pytest.mark.parametrize("kind", nets.KINDS)
def test_logits_are_those_of_the_frameworks_own_predict(K, kind):
    model = nets.KINDS[kind](K)
    frame = nets.frame(70)
    before = state(model)
    box = nid.wrap(model, nets.SCHEMA, batch_size=32)
    ours = box.logits(frame)
    assert_same(before, state(model))
    call = nets.call_of(kind, frame)
    theirs = np.asarray(model(*call) if kind == "columnwise" else model.predict(*call, verbose=0)).ravel()
    theirs = logit(theirs) if nets.PROBABILITY[kind] else theirs.clip(-LIMIT, LIMIT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert box.adapter == "keras"
    assert box.output == ("probability" if nets.PROBABILITY[kind] else "logit")


def test_the_random_state_behind_set_seed_is_kept(K):
    tf.random.set_seed(3)
    K.utils.set_random_seed(3)
    expected = tf.random.uniform([3]).numpy()
    K.utils.set_random_seed(3)
    model = nets.mapping(K)
    K.utils.set_random_seed(3)
    nid.wrap(model, nets.SCHEMA).logits(nets.frame(5))
    nid.inject(model, nets.crosses())
    np.testing.assert_array_equal(tf.random.uniform([3]), expected)


def test_a_model_that_writes_to_its_variables_is_restored(K):
    class Counting(K.layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x + 0.0 * tf.cast(self.calls, x.dtype)

    model = K.Sequential([K.Input((3,)), Counting(), K.layers.Dense(1)])
    model(nets.matrix(nets.frame(4)))
    before = state(model)
    assert before[0][0] >= 1 or before[0][-1] >= 1
    nid.wrap(model, nets.SCHEMA, batch_size=16).logits(nets.frame(70))
    assert_same(before, state(model))


def test_a_model_that_cannot_be_traced_is_called_eagerly(K):
    class Eager(K.Model):
        def __init__(self):
            super().__init__()
            self.head = K.layers.Dense(1)

        def call(self, inputs):
            return self.head(tf.constant(inputs.numpy() * 2))

    model = Eager()
    model(nets.matrix(nets.frame(4)))
    frame = nets.frame(30)
    ours = nid.wrap(model, nets.SCHEMA, output="logit").logits(frame)
    theirs = np.asarray(model(nets.matrix(frame))).ravel().clip(-LIMIT, LIMIT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_dropout_and_batch_statistics_are_off(K):
    model = nets.mapping(K)
    frame = nets.frame(40)
    box = nid.wrap(model, nets.SCHEMA)
    np.testing.assert_array_equal(box.logits(frame), box.logits(frame))
    np.testing.assert_allclose(
        box.logits({k: v[:7] for k, v in frame.items()}), box.logits(frame)[:7], rtol=1e-5
    )


def heads(K):
    def dense(activation):
        return K.Sequential([K.Input((3,)), K.layers.Dense(1, activation=activation)])

    def functional(tail):
        x = K.Input((3,))
        return K.Model(x, tail(K.layers.Dense(1)(x)))

    return {
        "sigmoid": (dense("sigmoid"), "probability"),
        "linear": (dense(None), "logit"),
        "tanh": (dense("tanh"), "auto"),
        "activation layer": (functional(K.layers.Activation("sigmoid")), "probability"),
        "reshaped": (
            functional(lambda h: K.layers.Reshape((1,))(K.layers.Activation("sigmoid")(h))),
            "probability",
        ),
        "flattened logit": (functional(K.layers.Flatten()), "logit"),
        "nested": (functional(lambda h: dense("sigmoid")(K.layers.Concatenate()([h, h, h]))), "probability"),
        "operation": (functional(K.ops.sigmoid if hasattr(K, "ops") else tf.sigmoid), "probability"),
        "lambda": (functional(K.layers.Lambda(lambda h: h * 2)), "auto"),
    }


def test_the_output_is_told_from_the_head(K):
    for name, (model, expected) in heads(K).items():
        assert declared_output(model) == expected, name


def test_the_users_word_on_the_output_counts(K):
    model = heads(K)["sigmoid"][0]
    box = nid.wrap(model, nets.SCHEMA, output="logit")
    frame = nets.frame(9)
    np.testing.assert_allclose(box.logits(frame), np.asarray(model(nets.matrix(frame))).ravel(), rtol=1e-6)


@pytest.mark.parametrize("how", ["mapping", "positional", "matrix"])
def test_inputs_said_outright(K, how):
    kind = {"mapping": "mapping", "positional": "positional", "matrix": "sequential"}[how]
    model = nets.KINDS[kind](K)
    frame = nets.frame(9)
    assert np.array_equal(
        nid.wrap(model, nets.SCHEMA, inputs=how).logits(frame), nid.wrap(model, nets.SCHEMA).logits(frame)
    )


def test_inputs_by_a_callable(K):
    ids, x = K.Input((2,), dtype="int32", name="ids"), K.Input((1,), name="dense")
    model = K.Model(
        [ids, x],
        K.layers.Dense(1)(K.layers.Concatenate()([K.layers.Flatten()(K.layers.Embedding(30, 3)(ids)), x])),
    )

    def inputs(columns):
        return ([np.stack([columns["a"], columns["b"]], 1), columns["x"][:, None]],), {}

    frame = nets.frame(9)
    ours = nid.wrap(model, nets.SCHEMA, inputs=inputs).logits(frame)
    theirs = model(
        [tf.constant(np.stack([frame["a"], frame["b"]], 1)), tf.constant(frame["x"][:, None], tf.float32)]
    )
    np.testing.assert_allclose(ours, np.asarray(theirs).ravel(), rtol=1e-5)
    with pytest.raises(SettingError, match="cannot tell how the model takes its fields.*ids: int32"):
        nid.wrap(model, nets.SCHEMA)


def one_input(K, dtype, shape=(1,)):
    x = K.Input(shape, name="a", dtype=dtype)
    other = K.Input((1,), name="x")
    shaped = {"output_shape": shape} if hasattr(K, "ops") else {}

    def cast(v):
        return tf.cast(tf.strings.length(v) if dtype == "string" else v, "float32")

    number = K.layers.Lambda(cast, **shaped)(x)
    return K.Model({"a": x, "x": other}, K.layers.Dense(1)(K.layers.Concatenate()([number, other])))


def schema_of(cardinality):
    return nid.FeatureSchema([nid.SparseField("a", cardinality), nid.DenseField("x")])


@pytest.mark.parametrize(
    ("dtype", "cardinality", "error", "problem"),
    [
        ("float32", 2**24 + 1, SchemaError, "rounded in a float32"),
        ("int32", 2**31 + 1, SchemaError, "does not hold all ids"),
        ("int8", 200, SchemaError, "does not hold all ids"),
        ("string", 9, UnsupportedError, "not a number"),
        ("float16", 9, UnsupportedError, "ids would be rounded"),
    ],
)
def test_ids_an_input_cannot_hold(K, dtype, cardinality, error, problem):
    with pytest.raises(error, match=problem):
        nid.wrap(one_input(K, dtype), schema_of(cardinality))


@pytest.mark.parametrize(
    ("dtype", "cardinality"), [("float32", 2**24), ("int32", 2**31), ("int64", 2**40), ("float64", 2**40)]
)
def test_the_largest_ids_arrive_as_they_are(K, dtype, cardinality):
    x, other = K.Input((1,), name="a", dtype=dtype), K.Input((1,), name="x")
    shaped = {"output_shape": (1,)} if hasattr(K, "ops") else {}
    number = K.layers.Lambda(lambda v: tf.cast(v, "float64"), dtype="float64", **shaped)
    model = K.Model({"a": x, "x": other}, number(x))
    box = nid.wrap(model, schema_of(cardinality), output="logit", epsilon=1e-300)
    ids = np.array([0, 1, cardinality - 1])
    received = box._predictor(np.stack([ids, np.zeros(3)], 1).astype(np.float64)).ravel()
    assert received.astype(np.float64).tolist() == ids.tolist()


def test_schemas_that_do_not_fit(K):
    model = nets.mapping(K)
    extra = nid.FeatureSchema([*nets.SCHEMA, nid.DenseField("y")])
    with pytest.raises(SchemaError, match="'y'.*the model has no such field"):
        nid.wrap(model, extra)
    with pytest.raises(SchemaError, match="'x'.*the schema has no such field"):
        nid.wrap(model, nid.FeatureSchema([nets.SCHEMA["a"], nets.SCHEMA["b"]]))
    whole = nid.FeatureSchema([nid.DenseField("a"), nets.SCHEMA["b"], nets.SCHEMA["x"]])
    with pytest.raises(SchemaError, match="'a'.*cut to integers"):
        nid.wrap(model, whole)
    with pytest.raises(UnsupportedError, match="not one value a row"):
        nid.wrap(one_input(K, "float32", (4,)), schema_of(9))
    with pytest.raises(SettingError, match="does not take one matrix"):
        nid.wrap(model, nets.SCHEMA, inputs="matrix")
    with pytest.raises(SettingError, match="unknown way of passing inputs"):
        nid.wrap(model, nets.SCHEMA, inputs="rows")
    with pytest.raises(UnsupportedError, match="does not declare its features"):
        nid.FeatureSchema.of(model)


def test_models_that_cannot_be_asked(K):
    with pytest.raises(ModelError, match="has not been built"):
        nid.wrap(K.Sequential([K.layers.Dense(1)]), nets.SCHEMA)
    two = K.Sequential([K.Input((3,)), K.layers.Dense(2)])
    with pytest.raises(ModelError, match="wrong shape"):
        nid.wrap(two, nets.SCHEMA, output="logit").logits(nets.frame(4))
    x = K.Input((3,))
    both = K.Model(x, [K.layers.Dense(1)(x), K.layers.Dense(1)(x)])
    with pytest.raises(ModelError, match="does not return a tensor"):
        nid.wrap(both, nets.SCHEMA, output="logit").logits(nets.frame(4))
    wide = K.Sequential([K.Input((5,)), K.layers.Dense(1)])
    with pytest.raises(SettingError, match="cannot tell how"):
        nid.wrap(wide, nets.SCHEMA)


def test_errors_of_the_model_come_with_the_rows(K):
    class Broken(K.Model):
        def call(self, inputs):
            if inputs.shape[0] != 4:
                raise ValueError("the lights went out")
            return inputs[:, :1]

    model = Broken()
    model(nets.matrix(nets.frame(4)))
    with pytest.raises(ModelError, match=r"(?s)rows 0\.\.8: .*the lights went out"):
        nid.wrap(model, nets.SCHEMA, output="logit").logits(nets.frame(9))


@pytest.mark.filterwarnings("ignore:the model's .* outputs all lie in")
@pytest.mark.parametrize("kind", nets.KINDS)
def test_copies_are_exact_and_share_nothing(K, kind):
    model = nets.KINDS[kind](K)
    call = nets.call_of(kind, nets.frame(50))
    copy = copied(model, call=lambda made: made(*call))
    assert type(copy) is type(model)
    np.testing.assert_array_equal(copy(*call), model(*call))
    for weight in copy.weights:
        weight.assign(
            tf.cast(tf.convert_to_tensor(weight), weight.dtype) + tf.ones(weight.shape, weight.dtype)
        )
    assert not np.array_equal(copy(*call), model(*call))


def test_a_planted_interaction_is_detected_end_to_end(K):
    K.utils.set_random_seed(0)
    frame = nets.frame(3000)
    deep = {name: K.Input((1,), name=name, dtype=nets.DTYPES[name]) for name in nets.SCHEMA.names}
    h = K.layers.Concatenate()(
        [*(K.layers.Flatten()(K.layers.Embedding(30, 4)(deep[name])) for name in "ab"), deep["x"]]
    )
    h = K.layers.Dense(1, activation="sigmoid")(K.layers.Dense(32, activation="relu")(h))
    model = K.Model(deep, h)
    model.compile(K.optimizers.Adam(0.02), "binary_crossentropy")
    model.fit(nets.tensors(frame), nets.labels(frame), batch_size=250, epochs=12, verbose=0)
    report = nid.detect(
        nid.wrap(model, nets.SCHEMA),
        frame,
        background=frame,
        baseline="sample",
        instances=30,
        perturbations=300,
        seed=0,
        progress=False,
    )
    assert report.interactions[0].fields == ("a", "b")
