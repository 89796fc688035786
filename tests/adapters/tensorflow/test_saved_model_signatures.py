"""Signatures of a SavedModel: which one and which output, variables as before, what is wrong told in our words."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.errors import (
    ArtefactError,
    ModelError,
    SchemaError,
    SettingError,
    UnsupportedError,
)
from nid_plugins.plugins import get_manager
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

tf = pytest.importorskip("tensorflow")

from nid_keras.saved_model import SavedModelPredictor, Signature, writes  # noqa: E402 - needs TensorFlow

if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
    import tf_keras as keras
else:
    import keras

SITE = tf.TensorSpec([None], tf.int64, name="site")
PRICE = tf.TensorSpec([None, 1], tf.float32, name="price")
ITEM = tf.TensorSpec([None], tf.int32, name="item")
HOUR = tf.TensorSpec([None], tf.int64, name="hour")


TWO = FeatureSchema([SparseField("site", 6), DenseField("price")])


class Scores(tf.Module):
    """A model written by hand, with two signatures and two outputs in one of them."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(tf.random.stateless_normal([6, 12], [1, 2]))
        self.calls = tf.Variable(0, trainable=False)
        self.noise = tf.random.Generator.from_seed(5)

    @tf.function(input_signature=[SITE, PRICE, ITEM, HOUR])
    def both(self, site, price, item, hour):
        logit = tf.gather_nd(self.table, tf.stack([site, tf.cast(item, tf.int64)], 1)) + price[:, 0]
        return {"logit": logit, "ctr": tf.sigmoid(logit)}

    @tf.function(input_signature=[SITE, PRICE])
    def counting(self, site, price):
        with tf.control_dependencies([self.calls.assign_add(1)]):
            known = tf.gather(self.table[:, 0], site)  # fails at an id that has no row
        return known + price[:, 0] + self.noise.normal([]) + tf.cast(self.calls, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float64)])
    def matrix(self, x):
        return x @ tf.constant([[1.0], [2.0], [-1.0], [0.5]], tf.float64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="site")])
    def text(self, site):
        return tf.strings.to_number(site)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with the signatures of Scores."""
    module = Scores()
    path = tmp_path_factory.mktemp("models") / "scores"
    signatures = {name: getattr(module, name) for name in ("both", "counting", "matrix", "text")}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


@pytest.fixture
def scores(folder):
    return tf.saved_model.load(str(folder))


def test_a_signature_outlives_what_it_was_taken_from(log, folder):
    box = nid.wrap(Signature(folder, name="both", output="logit"), log.schema, output="logit")
    alone = nid.wrap(
        Signature(tf.saved_model.load(str(folder)).signatures["both"], output="logit"),
        log.schema,
        output="logit",
    )
    np.testing.assert_array_equal(alone.logits(log.frame), box.logits(log.frame))
    assert box.logits(log.frame).std() > 0


def test_signatures_and_outputs_are_named_where_there_are_several(log, folder, scores):
    with pytest.raises(SettingError, match=r"several signatures.*\['both', 'counting', 'matrix', 'text'\]"):
        nid.wrap(folder, log.schema)
    with pytest.raises(SettingError, match="no such signature"):
        nid.wrap(Signature(folder, name="serve"), log.schema)
    with pytest.raises(SettingError, match="no such signature"):
        nid.wrap(Signature(folder, name=["both"]), log.schema)
    with pytest.raises(SettingError, match=r"several outputs.*'ctr: float32 \(None,\)', 'logit: float32"):
        nid.wrap(scores.signatures["both"], log.schema)
    with pytest.raises(SettingError, match="no such output"):
        nid.wrap(Signature(scores, "both", "ctcvr"), log.schema)
    with pytest.raises(SettingError, match="chosen already"):
        nid.wrap(Signature(scores.signatures["both"], "both"), log.schema)
    with pytest.raises(UnsupportedError, match="not a SavedModel"):
        nid.wrap(Signature(17), log.schema)
    ctr = nid.wrap(Signature(folder, "both", "ctr"), log.schema, output="probability").logits(log.frame)
    raw = nid.wrap(Signature(folder, "both", "logit"), log.schema, output="logit").logits(log.frame)
    near = np.abs(raw) < 6  # a float32 probability near 1 has few digits left
    np.testing.assert_allclose(ctr[near], raw[near], atol=1e-4)
    assert near.sum() > 1000


def test_a_matrix_and_a_callable(log, scores):
    box = nid.wrap(scores.signatures["matrix"], log.schema, output="logit")
    expected = log.rows @ [1, 2, -1, 0.5]
    np.testing.assert_allclose(box.logits(log.frame), np.clip(expected, -16.118, 16.118), atol=1e-3)
    box = nid.wrap(
        scores.signatures["text"],
        FeatureSchema([SparseField("id", 6)]),
        inputs=lambda columns: ((), {"site": [str(i) for i in columns["id"]]}),
        output="logit",
    )
    np.testing.assert_array_equal(box.logits({"id": log.frame["site"]}), log.frame["site"])


def test_variables_the_signature_writes_are_as_before(log, scores):
    signature = scores.signatures["counting"]
    assert writes(signature)
    assert not writes(scores.signatures["both"])
    before = [variable.numpy() for variable in signature.variables]
    box = nid.wrap(signature, TWO, output="logit", batch_size=500)
    first = box.logits(log.frame)
    for variable, value in zip(signature.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(box.logits(log.frame), first)
    # The model as it is used elsewhere goes on counting from where it was.
    single = {"site": tf.zeros([1], tf.int64), "price": tf.zeros([1, 1])}
    ours = SavedModelPredictor(signature, TWO)(np.zeros((1, 2)))
    np.testing.assert_array_equal(ours, signature(**single)["output_0"])


def test_variables_are_restored_when_the_call_fails(scores):
    signature = scores.signatures["counting"]
    before = [variable.numpy() for variable in signature.variables]
    box = nid.wrap(signature, FeatureSchema([SparseField("site", 60), DenseField("price")]), output="logit")
    with pytest.raises(ModelError, match=r"on rows 0\.\.1"):
        box.logits({"site": [1, 50], "price": [0.5, 1.0]})
    for variable, value in zip(signature.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_ids_that_do_not_fit_are_refused_by_field(scores):
    def fields(**cardinality):
        sizes = {"site": 6, "item": 12, "hour": 4} | cardinality
        return FeatureSchema(
            [DenseField("price"), *(SparseField(name, size) for name, size in sizes.items())]
        )

    ctr = Signature(scores, "both", "ctr")
    nid.wrap(ctr, fields(site=2**40), output="probability")
    with pytest.raises(SchemaError, match="at most 2147483648") as caught:
        nid.wrap(ctr, fields(item=2**31 + 1), output="probability")
    assert caught.value.field == "item"
    with pytest.raises(SchemaError, match="other than numbers"):
        nid.wrap(scores.signatures["text"], FeatureSchema([SparseField("site", 6)]), output="logit")
    with pytest.raises(SettingError, match=r"no field for \['hour', 'item'\]"):
        nid.wrap(ctr, TWO, output="probability")


def test_damaged_folders_are_typed_errors(log, folder, tmp_path):
    def copy(name):
        return Path(shutil.copytree(folder, tmp_path / name))

    broken = copy("broken")
    (broken / "saved_model.pb").write_bytes(b"\x00not a model")
    lost = copy("lost")
    shutil.rmtree(lost / "variables")
    short = copy("short")
    data = short / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:20])
    for damaged in (broken, lost, short):
        with pytest.raises(ArtefactError, match="cannot be loaded"):
            nid.wrap(Signature(damaged, "both", "ctr"), log.schema)
        with pytest.raises(ArtefactError, match="cannot be loaded"):
            nid.wrap(str(damaged), log.schema)


def test_paths_beside_a_saved_model_say_where_it_is(log, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "served" / "9")
    shutil.copytree(folder, tmp_path / "served" / "10")
    with pytest.raises(ArtefactError, match=r"versions \['9', '10'\].*Pass one: .*10"):
        nid.wrap(tmp_path / "served", log.schema)
    with pytest.raises(ArtefactError, match=r"versions \['9', '10'\]"):
        nid.wrap(Signature(tmp_path / "served", "both"), log.schema)
    with pytest.raises(ArtefactError, match="there is no SavedModel"):
        nid.wrap(Signature(tmp_path / "absent"), log.schema)
    with pytest.raises(ArtefactError, match="its file, not its folder"):
        nid.wrap(str(folder / "saved_model.pb"), log.schema)
    (tmp_path / "served" / "9" / "saved_model.pb").unlink()
    with pytest.raises(ArtefactError, match=r"without saved_model\.pb"):
        nid.wrap(tmp_path / "served" / "9", log.schema)


def test_other_paths_text_and_trackables_are_not_claimed(tmp_path, scores):
    (tmp_path / "1").mkdir()
    others = [
        str(tmp_path),
        tmp_path,
        tmp_path / "absent",
        "",
        "no/such",
        "a\0b",
        "x" * 5000,
        keras.Sequential(),
    ]
    others += [tf.Module(), tf.Variable(1.0), scores.both]
    for other in others:
        found = get_manager().find_adapter(other)
        assert found is None or found.name != "saved_model", other


def test_a_model_without_signatures(log, tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "bare"))
    with pytest.raises(SettingError, match="no signatures"):
        nid.wrap(tmp_path / "bare", log.schema)


def test_outputs_that_are_no_scores_are_told(log, tmp_path):
    module = tf.Module()
    module.classes = tf.function(lambda price: tf.repeat(price, 2, axis=1), input_signature=[PRICE])
    module.text = tf.function(tf.strings.as_string, input_signature=[PRICE])
    module.half = tf.function(lambda price: tf.cast(price, tf.bfloat16), input_signature=[PRICE])
    signatures = {name: getattr(module, name) for name in ("classes", "text", "half")}
    tf.saved_model.save(module, str(tmp_path / "odd"), signatures=signatures)
    one = FeatureSchema([DenseField("price")])
    rows = {"price": [0.5, 2.0]}
    with pytest.raises(ModelError, match="wrong shape"):
        nid.wrap(Signature(tmp_path / "odd", "classes"), one, output="logit").logits(rows)
    with pytest.raises(ModelError, match="not numeric"):
        nid.wrap(Signature(tmp_path / "odd", "text"), one, output="logit").logits(rows)
    np.testing.assert_array_equal(
        nid.wrap(Signature(tmp_path / "odd", "half"), one, output="logit").logits(rows), [0.5, 2.0]
    )
