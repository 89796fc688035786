"""Crosses injected into Keras models: nothing changes at first, everything can be learned, saved and read back."""

from __future__ import annotations

import contextlib
import io
import os
import warnings

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf

import nid_plugins as nid
from nid_plugins.errors import ModelError, NidWarning, SettingError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore:the model's .* outputs .*all lie in")


# Of several columns tf_keras takes the second for the mode: such models are refused there.
LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
KINDS = [kind for kind in nets.KINDS if kind != "columnwise" or not LEGACY]


def test_a_subclassed_model_of_several_columns(K):
    model = nets.columnwise(K)
    with pytest.raises(UnsupportedError, match="functional") if LEGACY else contextlib.nullcontext():
        nid.inject(model, nets.crosses())


def loss_of(K, kind):
    return K.losses.BinaryCrossentropy(from_logits=not nets.PROBABILITY[kind])


def step(K, model, call, y, kind, rate=0.1):
    """One step of plain gradient descent on everything trainable."""
    with tf.GradientTape() as tape:
        loss = loss_of(K, kind)(y, model(*call, training=True)) + sum(model.losses)
    variables = [
        getattr(v, "value", v) if not callable(getattr(v, "value", None)) else v
        for v in model.trainable_variables
    ]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(rate * tf.convert_to_tensor(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_output_is_the_models_to_the_last_bit(K, kind):
    model = nets.KINDS[kind](K)
    call = nets.call_of(kind, nets.frame(200))
    before = model.get_weights()
    target = nid.inject(model, nets.crosses(), dim=4)
    assert isinstance(target, K.Model)
    np.testing.assert_array_equal(target(*call), model(*call))
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not {id(v) for v in model.weights} & {id(v) for v in target.weights}
    ours = nid.wrap(target, nets.SCHEMA).logits(nets.frame(200))
    np.testing.assert_array_equal(ours, nid.wrap(model, nets.SCHEMA).logits(nets.frame(200)))


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_moves_the_embeddings_of_the_batch_and_no_others(K, kind):
    frame = nets.frame(40, seed=2)
    target = nid.inject(nets.KINDS[kind](K), nets.crosses(), dim=4)
    step(K, target, nets.call_of(kind, frame), nets.labels(frame), kind)
    ids = nets.crosses().transform(frame)
    for k, table in enumerate(nid.cross_embeddings(target).values()):
        moved = set(np.flatnonzero(np.abs(table).max(axis=1)))
        assert moved == set(ids[:, k]) - {0}


@pytest.mark.parametrize("kind", ["mapping", "sequential", "subclassed"])
def test_fit_learns_what_only_the_cross_tells(K, kind):
    frame = nets.frame(600)
    target = nid.inject(nets.KINDS[kind](K), nets.crosses(), dim=4)
    target.compile(K.optimizers.Adam(0.05), loss_of(K, kind))
    (x,), y = nets.call_of(kind, frame), nets.labels(frame)
    before = target.evaluate(x, y, verbose=0)
    target.fit(x, y, batch_size=100, epochs=8, verbose=0)
    assert target.evaluate(x, y, verbose=0) < min(before, 0.6)


def test_a_frozen_base_stays_as_it_is_in_inference_mode(K):
    model = nets.mapping(K)
    frame = nets.frame(100)
    call = nets.call_of("mapping", frame)
    target = nid.inject(model, nets.crosses(), frozen=True)
    np.testing.assert_array_equal(target(*call, training=True), model(*call))
    target.compile(K.optimizers.Adam(0.05), "binary_crossentropy")
    target.fit(*call, nets.labels(frame), epochs=2, verbose=0)
    base = target.get_layer(model.name)
    for one, two in zip(model.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(table.any() for table in nid.cross_embeddings(target).values())
    assert model.trainable
    assert all(layer.trainable for layer in model.layers)


def test_a_compiled_model_gives_a_compiled_target(K):
    model = nets.mapping(K)
    model.compile(K.optimizers.Adagrad(0.07), "binary_crossentropy", metrics=["AUC"])
    frame = nets.frame(100)
    model.fit(*nets.call_of("mapping", frame), nets.labels(frame), epochs=1, verbose=0)
    slots = [
        np.array(v) for v in (o.numpy() if hasattr(o, "numpy") else o for o in _variables(model.optimizer))
    ]
    target = nid.inject(model, nets.crosses())
    assert type(target.optimizer) is type(model.optimizer)
    assert float(target.optimizer.learning_rate) == pytest.approx(0.07)
    assert target.optimizer is not model.optimizer
    history = target.fit(*nets.call_of("mapping", frame), nets.labels(frame), epochs=1, verbose=0).history
    assert set(history) >= {"loss"}
    after = [
        np.array(v) for v in (o.numpy() if hasattr(o, "numpy") else o for o in _variables(model.optimizer))
    ]
    for one, two in zip(slots, after, strict=True):
        np.testing.assert_array_equal(one, two)


def _variables(optimizer):
    return optimizer.variables() if callable(optimizer.variables) else optimizer.variables


def test_compile_settings_that_cannot_be_copied_are_told(K):
    model = nets.mapping(K)

    class Odd(K.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.abs(y_true - y_pred)

    model.compile("sgd", Odd())
    with (
        pytest.warns(NidWarning, match="call compile")
        if not _deserialises(K, Odd)
        else contextlib.nullcontext()
    ):
        nid.inject(model, nets.crosses())


def _deserialises(K, loss):
    with contextlib.suppress(Exception):
        K.saving.deserialize_keras_object(K.saving.serialize_keras_object(loss()))
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_target_is_saved_and_read_back_exactly(K, kind, tmp_path):
    frame = nets.frame(60)
    call = nets.call_of(kind, frame)
    target = nid.inject(nets.KINDS[kind](K), nets.crosses(), dim=3, hidden=(4,), dropout=0.1, l2=1e-4)
    for seed in range(3):
        part = nets.frame(60, seed)
        step(K, target, nets.call_of(kind, part), nets.labels(part), kind)
    target.save(tmp_path / "m.keras")
    again = K.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(*call), target(*call))
    for name, table in nid.cross_embeddings(target).items():
        np.testing.assert_array_equal(nid.cross_embeddings(again)[name], table)
    np.testing.assert_array_equal(
        nid.wrap(again, nets.SCHEMA).logits(frame), nid.wrap(target, nets.SCHEMA).logits(frame)
    )


def test_weights_and_h5_files(K, tmp_path):
    frame = nets.frame(60)
    call = nets.call_of("mapping", frame)
    target = nid.inject(nets.mapping(K), nets.crosses(), dim=3)
    step(K, target, call, nets.labels(frame), "mapping")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target.save(tmp_path / "m.h5")
    np.testing.assert_array_equal(K.models.load_model(tmp_path / "m.h5")(*call), target(*call))
    target.save_weights(tmp_path / "m.weights.h5")
    other = nid.inject(nets.mapping(K), nets.crosses(), dim=3)
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other(*call), target(*call))


@pytest.mark.parametrize("kind", ["mapping", "listed", "sequential", "subclassed"])
def test_the_export_takes_the_original_raw_inputs(K, kind, tmp_path):
    frame = nets.frame(60)
    call = nets.call_of(kind, frame)
    target = nid.inject(nets.KINDS[kind](K), nets.crosses(), dim=3)
    step(K, target, call, nets.labels(frame), kind)
    with contextlib.redirect_stdout(io.StringIO()):
        target.export(str(tmp_path / "served"))
    signature = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    if kind == "sequential":
        given = {next(iter(specs)): call[0]}
    else:
        assert set(specs) == set(nets.SCHEMA.names)
        given = nets.tensors(frame, () if kind == "subclassed" else (1,))
        # A model that declares no inputs takes ids of any width.
        wide = {**nets.DTYPES, "a": "int64"} if kind == "subclassed" else nets.DTYPES
        assert {name: spec.dtype.name for name, spec in specs.items()} == wide
        given = {name: tf.cast(tensor, wide[name]) for name, tensor in given.items()}
    served = next(iter(signature(**given).values()))
    # Which kernels are fused differs from graph to graph, and with it the last bit.
    np.testing.assert_allclose(served, target(*call), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_it_trains_and_predicts_under_xla_and_mixed_precision(K, jit):
    before = getattr(K.mixed_precision, "global_policy", lambda: "float32")()
    K.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = nets.mapping(K)
        frame = nets.frame(200)
        call = nets.call_of("mapping", frame)
        target = nid.inject(model, nets.crosses(), dim=4)
        np.testing.assert_array_equal(target(*call), model(*call))
        target.compile(K.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=jit)
        losses = target.fit(*call, nets.labels(frame), batch_size=50, epochs=4, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert all(table.any() for table in nid.cross_embeddings(target).values())
    finally:
        K.mixed_precision.set_global_policy(before)


def test_carried_embeddings_start_where_they_were(K):
    crosses = nets.crosses()
    rng = np.random.default_rng(5)
    given = {
        name: np.concatenate([np.zeros((1, 4)), rng.normal(size=(size, 4))]).astype(np.float32)
        for name, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    }
    model = nets.mapping(K)
    call = nets.call_of("mapping", nets.frame(50))
    target = nid.inject(model, crosses, dim=4, embeddings=given, train_embeddings=False)
    np.testing.assert_array_equal(target(*call), model(*call))
    for name, table in nid.cross_embeddings(target).items():
        np.testing.assert_array_equal(table, given[name])
    step(K, target, call, nets.labels(nets.frame(50)), "mapping")
    assert not np.array_equal(target(*call), model(*call)), "the projection learns"
    for name, table in nid.cross_embeddings(target).items():
        np.testing.assert_array_equal(table, given[name])


def test_inputs_of_several_fields_want_extract(K):
    ids, x = K.Input((2,), dtype="int32", name="ids"), K.Input((1,), name="dense")
    deep = K.layers.Flatten()(K.layers.Embedding(30, 3)(ids))
    model = K.Model([ids, x], K.layers.Dense(1)(K.layers.Concatenate()([deep, x])))

    def inputs(columns):
        return ([np.stack([columns["a"], columns["b"]], 1), columns["x"][:, None]],), {}

    def extract(tensors):
        return {"a": tensors[0][:, 0], "b": tensors[0][:, 1], "x": tensors[1]}

    with pytest.raises(SettingError, match="extract= is needed"):
        nid.inject(model, nets.crosses(), inputs=inputs)
    target = nid.inject(model, nets.crosses(), inputs=inputs, extract=extract)
    frame = nets.frame(80)
    call = [
        tf.constant(np.stack([frame["a"], frame["b"]], 1), tf.int32),
        tf.constant(frame["x"][:, None], tf.float32),
    ]
    np.testing.assert_array_equal(target(call), model(call))
    step(K, target, (call,), nets.labels(frame), "sequential")
    assert np.abs(next(iter(nid.cross_embeddings(target).values()))).max() > 0
    with pytest.raises(SettingError, match="extract is not callable"):
        nid.inject(model, nets.crosses(), inputs=inputs, extract=3)


def odd_model(K):
    class Scale(K.layers.Layer):
        def __init__(self, secret):
            super().__init__()
            self.secret = secret

        def call(self, x):
            return x * self.secret[0]

        def get_config(self):
            raise NotImplementedError("what is in this layer cannot be written down")

    model = K.Sequential([K.Input((3,)), Scale(np.array([2.0], np.float32)), K.layers.Dense(1)])
    model(nets.matrix(nets.frame(4)))
    return model


def test_a_model_without_a_config_wants_fresh(K):
    model = odd_model(K)
    with pytest.raises(UnsupportedError, match="cannot be copied.*fresh="):
        nid.inject(model, nets.crosses())
    target = nid.inject(model, nets.crosses(), fresh=lambda: odd_model(K))
    call = nets.call_of("sequential", nets.frame(30))
    np.testing.assert_array_equal(target(*call), model(*call))
    with pytest.raises(SettingError, match="not a new model of the same architecture"):
        nid.inject(model, nets.crosses(), fresh=lambda: nets.sequential(K))
    with pytest.raises(SettingError, match="not a new model"):
        nid.inject(model, nets.crosses(), fresh=lambda: model)
    with pytest.raises(SettingError, match="fresh is not callable"):
        nid.inject(model, nets.crosses(), fresh=3)


def test_more_crosses_are_injected_into_an_injected_model(K):
    model = nets.mapping(K)
    first = nid.inject(model, nets.crosses().select([0]))
    both = nid.inject(first, nets.crosses().select([1]))
    call = nets.call_of("mapping", nets.frame(50))
    np.testing.assert_array_equal(both(*call), model(*call))
    assert set(nid.cross_embeddings(both)) == set(nets.crosses().names)
    with pytest.raises(UnsupportedError, match="has these crosses already"):
        nid.inject(first, nets.crosses())


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"mode": "rebuild", "columns": [1]}, (SettingError, UnsupportedError), "rebuild|columns|adapter"),
        ({"width": 3}, SettingError, "unknown option of inject"),
        ({"output": "class"}, SettingError, "unknown output"),
        ({"dim": -1}, SettingError, "dim out of range"),
        ({"frozen": "yes"}, SettingError, "frozen"),
        ({"inputs": "matrix"}, SettingError, "does not take one matrix"),
    ],
)
def test_bad_options(K, options, error, problem):
    with pytest.raises(error, match=problem):
        nid.inject(nets.mapping(K), nets.crosses(), **options)


def test_models_that_do_not_return_one_score(K):
    with pytest.raises(ModelError, match="does not return one score a row"):
        nid.inject(K.Sequential([K.Input((3,)), K.layers.Dense(2)]), nets.crosses())
    with pytest.raises(ModelError, match="has not been built"):
        nid.inject(K.Sequential([K.layers.Dense(1)]), nets.crosses())
    with pytest.raises(UnsupportedError, match="no injected crosses"):
        nid.cross_embeddings(nets.mapping(K))
