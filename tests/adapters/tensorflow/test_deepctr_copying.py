"""Copies of DeepCTR's models are exact, and files of them load as they were, whatever a layer's config leaves out."""

from __future__ import annotations

import deepctr_zoo as dz
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr import models as zoo
from deepctr.feature_column import SparseFeat
from nid_deepctr.copying import twin
from nid_deepctr.saving import left_out, saveable
from nid_keras.copying import copied

import nid_plugins as nid
from nid_plugins.errors import UnsupportedError


def copy_of(model):
    return copied(model, lambda: twin(model))


# Every model is copied in test_deepctr_inject.py.
@pytest.mark.parametrize("name", ["AutoInt", "DIFM", "EDCN", "FGCNN"])
def test_a_copy_is_exact_and_its_own(name):
    model = dz.built(name)
    frame = dz.frame_of(name)
    expected = dz.scores(model, frame)
    before = dz.state_of(model)
    copy = copy_of(model)
    dz.assert_same_state(before, dz.state_of(model))
    assert type(copy) is type(model)
    assert copy.name == model.name
    assert [w.name for w in copy.weights] == [w.name for w in model.weights]
    assert len(copy.losses) == len(model.losses)  # the regularisers
    np.testing.assert_array_equal(dz.scores(copy, frame), expected)
    assert not {id(layer) for layer in copy._flatten_layers()} & {
        id(layer) for layer in model._flatten_layers()
    }
    for weight in copy.weights:
        weight.assign(tf.zeros_like(weight))
    np.testing.assert_array_equal(dz.scores(model, frame), expected)


@pytest.mark.parametrize("name", ["DIFM", "EDCN"])
def test_what_deepctr_leaves_out_of_a_config_would_make_another_model(name):
    # If DeepCTR mends this, the repair may go.
    model = dz.built(name)
    frame = dz.frame_of(name)
    with tf_keras.utils.custom_object_scope(dz.OBJECTS):
        plain = tf_keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    assert np.abs(dz.scores(plain, frame) - dz.scores(model, frame)).max() > 1e-4
    assert any(left_out(layer, type(layer).from_config(layer.get_config())) for layer in model.layers[1:])
    repaired = copy_of(model)
    assert not any(
        left_out(layer, type(layer).from_config(layer.get_config()))
        for layer in repaired.layers
        if type(layer).__module__.startswith("deepctr")
    )


def test_a_model_that_holds_such_layers_and_copies_itself_by_their_config_is_refused():
    class Holding(tf_keras.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, inputs: dict):
            return self.inner(inputs)

        def get_config(self):
            return {"inner": self.inner}

        @classmethod
        def from_config(cls, config):
            with tf_keras.utils.custom_object_scope(dz.OBJECTS):
                return cls(tf_keras.models.clone_model(config["inner"]))

    model = Holding(dz.built("DIFM"))
    columns = {tensor.name: tf.zeros((2, *tensor.shape[1:]), tensor.dtype) for tensor in model.inner.inputs}
    model(columns)
    with pytest.raises(UnsupportedError, match="does not return what the model does"):
        nid.inject(model, dz.crosses_of("DIFM"), output="logit")


def test_a_repaired_config_is_left_as_it_is_and_copied_again():
    model = dz.built("DIFM")
    frame = dz.frame_of("DIFM")
    once = copy_of(model)
    assert saveable(once) is once
    np.testing.assert_array_equal(dz.scores(copy_of(copy_of(once)), frame), dz.scores(model, frame))


def test_flags_initialisers_of_the_users_own_and_shared_tables():
    class Own(tf_keras.initializers.Initializer):
        def __call__(self, shape, dtype=None, **kwargs):
            return tf.ones(shape, dtype)

    columns = [
        SparseFeat("site", 12, 4, embeddings_initializer=Own(), trainable=False),
        SparseFeat("item", 12, 4, embedding_name="shared"),
        SparseFeat("hour", 12, 4, embedding_name="shared"),
    ]
    model = dz.trained(zoo.DeepFM(columns, columns, dnn_use_bn=True, dnn_activation="dice", **dz.DEEP))
    frozen = next(layer for layer in model.layers if "FM" in type(layer).__name__)
    frozen.trainable = False
    copy = copy_of(model)
    np.testing.assert_array_equal(dz.scores(copy, dz.FRAME), dz.scores(model, dz.FRAME))
    flags = [[layer.trainable for layer in one._flatten_layers()] for one in (model, copy)]
    assert flags[0] == flags[1]
    assert not all(flags[0])
    assert [w.name for w in copy.trainable_weights] == [w.name for w in model.trainable_weights]
    tables = [layer for layer in copy.layers if layer.name == "sparse_emb_shared"]
    assert len(tables) == 1
    assert len(tables[0].inbound_nodes) == 2


def test_a_model_inside_a_model():
    inner = dz.built("DIFM")
    inputs = [tf_keras.Input(t.shape[1:], name=t.name, dtype=t.dtype) for t in inner.inputs]
    outer = tf_keras.Model(inputs, tf_keras.layers.Dense(1, "sigmoid")(inner(inputs)))
    copy = copy_of(outer)
    np.testing.assert_array_equal(dz.scores(copy, dz.FRAME), dz.scores(outer, dz.FRAME))
