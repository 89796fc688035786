"""What conformance tests of Keras models share: how models are trained, looked at and saved."""

from __future__ import annotations

import functools
import importlib
import os
from typing import ClassVar

import numpy as np
import tensorflow as tf
from nid_keras.flavour import layers_for
from tensorflow.python.eager import context

from nid_plugins.schema import SparseField
from nid_plugins.testing import AdapterConformance, IdInput

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
K = importlib.import_module("tf_keras" if LEGACY else "keras")


@functools.cache
def graph_of(crosses, way):
    """Return the graph of ids for a way of input, traced once for batches of any size."""
    layer = layers_for(K).CrossIds(crosses)

    def ids(*columns):
        if way.name.startswith("matrix"):
            return layer(tf.stack(columns, axis=1))
        return layer(dict(zip(crosses.schema.names, columns, strict=True)))

    dtypes = [way.sparse if isinstance(field, SparseField) else way.dense for field in crosses.schema]
    return tf.function(ids, input_signature=[tf.TensorSpec([None], dtype) for dtype in dtypes])


def deepctr_model():
    from deepctr.feature_column import SparseFeat
    from deepctr.models import WDL

    columns = [SparseFeat("site", 6, 4), SparseFeat("item", 12, 4)]
    return WDL(columns, columns, dnn_hidden_units=(4,))


class KerasConformance(AdapterConformance):
    adapter = "keras"
    plugin = "nid_keras.plugin"
    frameworks = ("tensorflow", "keras", "tf_keras")
    id_inputs = (
        IdInput("columns of int64", "int64", "float32"),
        IdInput("columns of int32", "int32", "float32"),
        IdInput("matrix of float32", "float32", "float32"),
        IdInput("matrix of float64", "float64", "float64"),
    )
    not_carried: ClassVar = {}

    def make(self, schema, scores):
        raise NotImplementedError

    def inputs(self, frame):
        raise NotImplementedError

    def model(self, schema, seed, scores=1):
        K.utils.set_random_seed(seed)
        model = self.make(schema, scores)
        model.compile(K.optimizers.Adagrad(0.2), K.losses.BinaryCrossentropy(self.output == "logit"))
        return model

    def predict(self, model, frame):
        return model.predict(self.inputs(frame), batch_size=128, verbose=0)

    def exact(self, model, frame):
        inputs = self.inputs(frame)
        called = model(tf.nest.map_structure(tf.convert_to_tensor, inputs), training=False).numpy()
        if not LEGACY:
            return np.concatenate([called, self.predict(model, frame)])
        # The graph of tf_keras's predict ties a counter to the output, which keeps TensorFlow from fusing the head's
        # sigmoid as it does in every other graph of the model: predict differs from these in the last bit.
        traced = tf.function(functools.partial(model, training=False))
        return np.concatenate([called, traced(tf.nest.map_structure(tf.convert_to_tensor, inputs)).numpy()])

    def train(self, model, frame, label):
        model.train_on_batch(self.inputs(frame), label[:, None])

    def state(self, model):
        optimiser = model.optimizer.variables
        slots = optimiser() if callable(optimiser) else optimiser
        return {
            "weights": [np.asarray(variable) for variable in model.variables],
            "trainable": [layer.trainable for layer in model.layers],
            "optimiser": [np.asarray(variable) for variable in slots],
            "learning rate": float(model.optimizer.learning_rate),
            "class": type(model),
        }

    def random_state(self):
        seeds = [context.context()._rng]
        if LEGACY:
            seeds.append(getattr(K.src.backend._SEED_GENERATOR, "generator", None))
        return [own.getstate() for own in seeds if own is not None]

    def save(self, model, directory):
        model.save(directory / "model.keras")

    def load(self, directory):
        return K.models.load_model(directory / "model.keras")

    def two_scores(self, schema):
        return self.model(schema, 1, scores=2)

    def cross_ids(self, crosses, columns, way):
        (chosen,) = [own for own in self.id_inputs if own.name == way]
        return graph_of(crosses, chosen)(*columns.values()).numpy()

    def manager(self):
        manager = super().manager()
        for name in ("keras", "deepctr"):  # as if both were installed: they share a class
            if name not in manager.adapters():
                manager.register(importlib.import_module(f"nid_{name}.plugin"), name)
        return manager

    def strangers(self):
        if LEGACY:
            yield deepctr_model()
        yield K.layers.Dense(1)
        yield tf.Module()
        yield tf.constant([1.0])
        yield K.Model
