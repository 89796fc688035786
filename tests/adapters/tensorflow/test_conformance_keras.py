"""The conformance suite on Keras models: of tf_keras where ``TF_USE_LEGACY_KERAS=1``, else of Keras 3."""

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


@K.saving.register_keras_serializable(package="conformance")
class Dictionary(K.Model):
    """A subclassed model that takes a mapping."""

    def __init__(self, cardinalities, dense, scores=1, **kwargs):
        super().__init__(**kwargs)
        self.sizes, self.numbers, self.scores = dict(cardinalities), list(dense), scores
        self.tables = [K.layers.Embedding(size, 4) for size in self.sizes.values()]
        self.drop = K.layers.Dropout(0.2)
        self.hidden = K.layers.Dense(8, activation="relu")
        self.norm = K.layers.BatchNormalization()
        self.head = K.layers.Dense(scores, activation="sigmoid")

    def call(self, inputs, training=None):
        parts = [
            table(tf.reshape(inputs[name], [-1])) for name, table in zip(self.sizes, self.tables, strict=True)
        ]
        parts += [tf.reshape(tf.cast(inputs[name], tf.float32), [-1, 1]) for name in self.numbers]
        hidden = self.norm(self.hidden(tf.concat(parts, axis=1)), training=training)
        return self.head(self.drop(hidden, training=training))

    def get_config(self):
        own = {"cardinalities": self.sizes, "dense": self.numbers, "scores": self.scores}
        return {**super().get_config(), **own}


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
    activation = "sigmoid"

    def make(self, schema, scores):
        raise NotImplementedError

    def inputs(self, frame):
        raise NotImplementedError

    def model(self, schema, seed, scores=1):
        K.utils.set_random_seed(seed)
        model = self.make(schema, scores)
        model.compile(K.optimizers.Adagrad(0.2), K.losses.BinaryCrossentropy(self.output == "logit"))
        return model

    def heads(self, parts, scores):
        hidden = K.layers.Dense(8, activation="relu")(K.layers.Concatenate()(parts))
        hidden = K.layers.Dropout(0.2)(K.layers.BatchNormalization()(hidden))
        return K.layers.Dense(scores, activation=self.activation)(hidden)

    def embedded(self, schema):
        """Return inputs by name, and what they are turned into."""
        inputs, parts = {}, []
        for field in schema:
            sparse = isinstance(field, SparseField)
            inputs[field.name] = K.Input((1,), name=field.name, dtype="int32" if sparse else "float32")
            part = inputs[field.name]
            if sparse:
                part = K.layers.Flatten()(K.layers.Embedding(field.cardinality, 4)(part))
            parts.append(part)
        return inputs, parts

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

    def strangers(self):
        yield K.layers.Dense(1)
        yield tf.Module()
        yield tf.constant([1.0])
        yield K.Model


class TestMapping(KerasConformance):
    """A functional model that takes a dict."""

    def make(self, schema, scores):
        inputs, parts = self.embedded(schema)
        return K.Model(inputs, self.heads(parts, scores))

    def inputs(self, frame):
        return {name: column[:, None] for name, column in frame.items()}


class TestList(KerasConformance):
    """A functional model that takes a list, and returns logits."""

    output = "logit"
    activation = None

    def make(self, schema, scores):
        inputs, parts = self.embedded(schema)
        return K.Model(list(inputs.values()), self.heads(parts, scores))

    def inputs(self, frame):
        return [column[:, None] for column in frame.values()]


class TestMatrix(KerasConformance):
    """A Sequential that takes a matrix."""

    def make(self, schema, scores):
        return K.Sequential(
            [
                K.Input((len(schema),)),
                K.layers.BatchNormalization(),
                K.layers.Dense(8, activation="relu"),
                K.layers.Dropout(0.2),
                K.layers.Dense(scores, activation="sigmoid"),
            ]
        )

    def inputs(self, frame):
        return np.column_stack(list(frame.values())).astype(np.float32)


class TestSubclassed(KerasConformance):
    """A subclassed model that takes a dict."""

    def make(self, schema, scores):
        sizes = {field.name: field.cardinality for field in schema.sparse}
        model = Dictionary(sizes, [field.name for field in schema.dense], scores)
        columns = {field.name: np.zeros(2, "int64" if field.name in sizes else "float32") for field in schema}
        model(self.inputs(columns))
        return model

    def inputs(self, frame):
        return {name: tf.constant(column) for name, column in frame.items()}
