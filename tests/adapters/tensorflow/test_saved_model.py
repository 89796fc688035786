"""A SavedModel as a source: no Python code of its model, nothing in it changed, errors of our own."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import (
    NidWarning,
    SettingError,
    UnsupportedError,
)
from nid_plugins.schema import FeatureSchema

tf = pytest.importorskip("tensorflow")

from nid_keras.saved_model import Signature  # noqa: E402 - needs TensorFlow

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
if LEGACY:
    import tf_keras as keras
else:
    import keras


class PairBump(keras.layers.Layer):
    """A layer of the user's own: a weight for each pair of site and item."""

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(6 * 12, 1), initializer="zeros")

    def call(self, inputs):
        site, item = inputs
        return tf.gather(self.table[:, 0], tf.cast(site, tf.int32) * 12 + tf.cast(item, tf.int32))


def keras_model(log, epochs=0):
    """Return a model that takes a dict; trained, it has learned the interaction of site and item in the log."""
    keras.utils.set_random_seed(1)
    inputs = {
        "site": keras.Input((1,), dtype="int64", name="site"),
        "price": keras.Input((1,), dtype="float32", name="price"),
        "item": keras.Input((1,), dtype="int32", name="item"),
        "hour": keras.Input((1,), dtype="int32", name="hour"),
    }
    hour = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(inputs["hour"]))
    price = keras.layers.BatchNormalization()(keras.layers.Dropout(0.1)(inputs["price"]))
    rest = keras.layers.Dense(1)(keras.layers.Concatenate()([price, hour]))
    score = keras.layers.Add()([rest, PairBump()([inputs["site"], inputs["item"]])])
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(score))
    if epochs:
        model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
        model.fit(
            {name: log.frame[name] for name in inputs}, log.label, batch_size=100, epochs=epochs, verbose=0
        )
    return model


@pytest.fixture(scope="session")
def exported(log, tmp_path_factory):
    """The trained model's folder, and what the model itself says of the log."""
    model = keras_model(log, epochs=6)
    folder = tmp_path_factory.mktemp("models") / "exported"
    model.export(str(folder), verbose=False) if not LEGACY else model.export(str(folder))
    return folder, model.predict(dict(log.frame), verbose=0)


def logit(p):
    return np.log(p) - np.log1p(-p)


def test_folder_text_path_object_and_signature_say_what_the_model_says(log, exported):
    folder, expected = exported
    loaded = tf.saved_model.load(str(folder))
    for source in (str(folder), folder, loaded, loaded.signatures["serving_default"], Signature(folder)):
        box = nid.wrap(source, log.schema, output="probability", batch_size=500)
        assert box.adapter == "saved_model"
        np.testing.assert_allclose(box.logits(log.frame), logit(expected[:, 0].astype(float)), atol=1e-5)


def test_output_is_judged_by_its_values_when_not_told(log, exported):
    box = nid.wrap(exported[0], log.schema)
    with pytest.warns(NidWarning, match="read as probabilities"):
        box.logits(log.frame)
    assert box.output == "probability"


@pytest.mark.skipif(LEGACY, reason="Keras 3 has these ways of exporting")
def test_other_ways_of_keras_3(log, tmp_path):
    model = keras_model(log)
    expected = model.predict(dict(log.frame), verbose=0)[:, 0]
    keras.Model(list(model.input.values()), model.output).export(str(tmp_path / "list"), verbose=False)
    box = nid.wrap(tmp_path / "list", log.schema, output="probability")
    np.testing.assert_allclose(box.logits(log.frame), logit(expected.astype(float)), atol=1e-5)
    # TensorFlow's own function numbers the inputs, in the order of the sorted names.
    tf.saved_model.save(model, str(tmp_path / "saved"))
    with pytest.raises(SettingError, match=r"'inputs', 'inputs_1', 'inputs_2', 'inputs_3'"):
        nid.wrap(tmp_path / "saved", log.schema)
    ordered = FeatureSchema(sorted(log.schema, key=lambda field: field.name))
    box = nid.wrap(tmp_path / "saved", ordered, inputs="positional", output="probability")
    np.testing.assert_allclose(box.logits(log.frame), logit(expected.astype(float)), atol=1e-5)
    sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
    sequential.export(str(tmp_path / "matrix"), verbose=False)
    expected = sequential.predict(log.rows.astype(np.float32), verbose=0)[:, 0]
    box = nid.wrap(tmp_path / "matrix", log.schema, output="logit")
    np.testing.assert_allclose(box.logits(log.frame), expected, atol=1e-6)


@pytest.mark.skipif(not LEGACY, reason="only tf_keras writes SavedModels by save()")
def test_tf_keras_save(log, tmp_path):
    model = keras_model(log)
    expected = model.predict(dict(log.frame), verbose=0)[:, 0]
    model.save(str(tmp_path / "saved"), save_format="tf")
    box = nid.wrap(tmp_path / "saved", log.schema, output="probability")
    np.testing.assert_allclose(box.logits(log.frame), logit(expected.astype(float)), atol=1e-5)


@pytest.mark.skipif(not LEGACY, reason="DeepCTR runs on tf_keras")
@pytest.mark.parametrize("way", ["export", "save"])
def test_deepctr(log, tmp_path, way):
    columns_of = pytest.importorskip("deepctr.feature_column")
    from deepctr.models import DeepFM

    columns = [columns_of.SparseFeat(field.name, field.cardinality, 4) for field in log.schema.sparse]
    columns.append(columns_of.DenseFeat("price", 1))
    model = DeepFM(columns, columns, dnn_hidden_units=(8,), dnn_dropout=0.3)
    model.compile("adam", "binary_crossentropy")
    model.fit(dict(log.frame), log.label, batch_size=300, verbose=0)
    expected = model.predict(dict(log.frame), verbose=0)[:, 0]
    if way == "export":
        model.export(str(tmp_path / "deepfm"))
    else:
        model.save(str(tmp_path / "deepfm"), save_format="tf")
    box = nid.wrap(tmp_path / "deepfm", log.schema, output="probability")
    np.testing.assert_allclose(box.logits(log.frame), logit(expected.astype(float)), atol=1e-5)


@pytest.mark.skipif(LEGACY, reason="TensorFlow 1's format has nothing to do with the flag")
def test_what_tensorflow_1_wrote(log, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        site, price = v1.placeholder(tf.int64, [None]), v1.placeholder(tf.float32, [None])
        weight = v1.get_variable("weight", [6], initializer=v1.zeros_initializer(), use_resource=False)
        out = tf.gather(weight, site) + price
        session.run(v1.global_variables_initializer())
        session.run(weight.assign(np.arange(6.0)))
        v1.saved_model.simple_save(
            session, str(tmp_path / "old"), {"site": site, "price": price}, {"out": out}
        )
    loaded = tf.saved_model.load(str(tmp_path / "old"))
    schema = FeatureSchema([log.schema["site"], log.schema["price"]])
    for source in (tmp_path / "old", loaded, loaded.signatures["serving_default"]):
        box = nid.wrap(source, schema, output="logit")
        np.testing.assert_allclose(
            box.logits(log.frame), np.clip(log.frame["site"] + log.frame["price"], -20, 16.118), atol=1e-3
        )


def test_a_process_without_the_model_s_code_finds_the_planted_interaction(log, exported, tmp_path):
    def mode(name):
        return np.bincount(log.frame[name]).argmax()

    np.savez(tmp_path / "frame.npz", **log.frame)
    script = """
import sys
sys.modules["keras"] = sys.modules["tf_keras"] = None  # neither can be imported
import numpy as np
import nid_plugins as nid

frame = dict(np.load(sys.argv[2]))
fields = [nid.SparseField("site", 6), nid.DenseField("price"), nid.SparseField("item", 12), nid.SparseField("hour", 4)]
box = nid.wrap(sys.argv[1], nid.FeatureSchema(fields), output="probability")
rows = {name: column[:12] for name, column in frame.items()}
report = nid.detect(box, rows, background=frame, perturbations=600, detector="least_squares", seed=0)
print([(*sorted(found.fields), found.count) for found in report.interactions])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported[0]), str(tmp_path / "frame.npz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # In the other rows one of the two has its baseline value already, so that there is nothing to switch off.
    moved = sum((log.frame["site"][:12] != mode("site")) & (log.frame["item"][:12] != mode("item")))
    assert ast.literal_eval(done.stdout.strip()) == [("item", "site", moved)]


def test_random_state_and_weights_are_left_alone(log, exported):
    tf.random.set_seed(3)
    expected = tf.random.uniform([2]).numpy()
    tf.random.set_seed(3)
    states = random.getstate(), np.random.get_state()[1].copy()
    loaded = tf.saved_model.load(str(exported[0]))
    before = [variable.numpy() for variable in loaded.variables]
    nid.wrap(exported[0], log.schema, output="probability").logits(log.frame)
    nid.wrap(loaded, log.schema, output="probability").logits(log.frame)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    np.testing.assert_array_equal(tf.random.uniform([2]).numpy(), expected)
    assert len(before) > 3
    for variable, value in zip(loaded.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_neither_schema_nor_injection(log, exported):
    with pytest.raises(UnsupportedError, match="FeatureSchema.infer"):
        FeatureSchema.of(exported[0])
    with pytest.raises(UnsupportedError, match="how many ids"):
        nid.wrap(str(exported[0]))
    for source in (exported[0], tf.saved_model.load(str(exported[0]))):
        with pytest.raises(UnsupportedError, match="Inject into the Keras model"):
            nid.inject(source, log.crosses)
