"""The conformance suite on DeepCTR models. Needs TF_USE_LEGACY_KERAS=1."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.layers import custom_objects
from keras_conformance import K, KerasConformance

from nid_plugins.schema import SparseField
from nid_plugins.testing import IdInput


class DeepCTRConformance(KerasConformance):
    adapter = "deepctr"
    plugin = "nid_deepctr.plugin"
    frameworks = ("tensorflow", "keras", "tf_keras", "deepctr")
    modes = frozenset({"residual", "rebuild"})
    declares_schema = True
    zeroes_embeddings = True
    # Its inputs are columns; ids are int32 unless a SparseFeat says int64.
    id_inputs = (
        IdInput("columns of int64", "int64", "float32"),
        IdInput("columns of int32", "int32", "float32"),
    )
    not_carried: ClassVar = {"a fractional id": "ids are integers", "a missing id": "ids are integers"}

    def build(self, linear, deep, **options):
        raise NotImplementedError

    def columns(self, schema):
        return [
            SparseFeat(field.name, field.cardinality, 4)
            if isinstance(field, SparseField)
            else DenseFeat(field.name, 1)
            for field in schema
        ]

    def make(self, schema, scores):
        model = self.build(self.columns(schema), self.columns(schema))
        return model if scores == 1 else K.Model(model.inputs, tf.tile(model.output, [1, scores]))

    def inputs(self, frame):
        return dict(frame)

    def train(self, model, frame, label):
        if model.optimizer is None:  # a rebuilt one
            model.compile(K.optimizers.Adagrad(0.2), K.losses.BinaryCrossentropy(self.output == "logit"))
        super().train(model, frame, label)

    def exact(self, model, frame):
        return self.predict(model, frame)

    def load(self, directory):
        return K.models.load_model(directory / "model.keras", custom_objects)

    def strangers(self):
        inputs = K.Input((3,))
        yield K.Model(inputs, K.layers.Dense(1)(inputs))
        yield K.Sequential([K.layers.Dense(1)])
        yield zoo.DeepFM
        yield SparseFeat("site", 6, 4)

    def builder(self, schema):
        return self.build, self.columns(schema)


class TestDeepFM(DeepCTRConformance):
    def build(self, linear, deep):
        free = {"l2_reg_linear": 0, "l2_reg_embedding": 0}
        return zoo.DeepFM(linear, deep, dnn_hidden_units=(8,), dnn_use_bn=True, dnn_dropout=0.2, **free)


class TestAutoInt(DeepCTRConformance):
    """For regression: returns logits."""

    output = "logit"

    def build(self, linear, deep):
        free = {"l2_reg_linear": 0, "l2_reg_embedding": 0}
        return zoo.AutoInt(linear, deep, dnn_hidden_units=(8,), att_layer_num=1, task="regression", **free)


class TestAFM(DeepCTRConformance):
    """Takes no dense columns."""

    dense = False

    def build(self, linear, deep):
        return zoo.AFM(linear, deep, attention_factor=3, l2_reg_linear=0, l2_reg_embedding=0, l2_reg_att=0)
