"""The conformance suite on Keras models: of tf_keras where ``TF_USE_LEGACY_KERAS=1``, else of Keras 3."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras_conformance import K, KerasConformance

from nid_plugins.schema import SparseField


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


class Functional(KerasConformance):
    activation = "sigmoid"

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


class TestMapping(Functional):
    """A functional model that takes a dict."""

    def make(self, schema, scores):
        inputs, parts = self.embedded(schema)
        return K.Model(inputs, self.heads(parts, scores))

    def inputs(self, frame):
        return {name: column[:, None] for name, column in frame.items()}


class TestList(Functional):
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
