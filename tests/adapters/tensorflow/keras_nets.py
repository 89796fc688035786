"""Small Keras models of every kind, for the Keras of this process, and what they are tried on."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

import nid_plugins as nid

SCHEMA = nid.FeatureSchema([nid.SparseField("a", 20), nid.SparseField("b", 30), nid.DenseField("x")])
DTYPES = {"a": "int32", "b": "int64", "x": "float32"}


def frame(n: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.integers(0, 20, n), "b": rng.integers(0, 30, n), "x": rng.normal(size=n)}


def labels(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Clicks where exactly one of the two ids is even: nothing but the cross tells."""
    return ((columns["a"] % 2 == 0) ^ (columns["b"] % 2 == 0)).astype(np.float32)[:, None]


@functools.lru_cache(maxsize=1)
def crosses() -> nid.CrossFeatures:
    return nid.fit_crosses([("a", "b"), ("a", "x")], frame(), SCHEMA, min_count=0, bins=8)


def matrix(columns: dict[str, np.ndarray]) -> tf.Tensor:
    return tf.constant(np.stack([columns[name] for name in SCHEMA.names], axis=1).astype(np.float32))


def tensors(columns: dict[str, np.ndarray], shape: tuple[int, ...] = (1,)) -> dict[str, tf.Tensor]:
    return {k: tf.constant(v.reshape(-1, *shape), DTYPES[k]) for k, v in columns.items()}


def _head(K: Any, inputs: dict[str, Any], activation: Any) -> Any:
    l2 = K.regularizers.L2(1e-4)
    deep = [
        K.layers.Flatten()(K.layers.Embedding(size, 4, embeddings_regularizer=l2)(inputs[name]))
        for name, size in (("a", 20), ("b", 30))
    ]
    h = K.layers.BatchNormalization()(K.layers.Concatenate()([*deep, inputs["x"]]))
    h = K.layers.Dropout(0.3)(K.layers.Dense(8, activation="relu")(h))
    return K.layers.Dense(1, activation=activation)(h)


def mapping(K: Any, activation: Any = "sigmoid") -> Any:
    inputs = {name: K.Input((1,), name=name, dtype=DTYPES[name]) for name in SCHEMA.names}
    return K.Model(inputs, _head(K, inputs, activation))


def listed(K: Any, activation: Any = "sigmoid") -> Any:
    inputs = {name: K.Input((1,), name=name, dtype=DTYPES[name]) for name in ("x", "a", "b")}
    return K.Model(list(inputs.values()), _head(K, inputs, activation))


def positional(K: Any) -> Any:
    inputs = {name: K.Input((1,), dtype=DTYPES[name]) for name in SCHEMA.names}
    return K.Model(list(inputs.values()), _head(K, inputs, "sigmoid"))


def sequential(K: Any) -> Any:
    return K.Sequential([K.Input((3,)), K.layers.Dense(8, activation="relu"), K.layers.Dense(1)])


@functools.lru_cache(maxsize=2)
def classes(K: Any) -> tuple[type, type]:
    """Return two subclassed models: one takes a mapping, one a column after the other."""

    @K.saving.register_keras_serializable(package="tests")
    class Mapped(K.Model):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.table = K.layers.Embedding(20, 4)
            self.head = K.layers.Dense(1, activation="sigmoid")

        def call(self, inputs: dict[str, Any]) -> Any:
            found = self.table(tf.cast(inputs["a"], "int32"))
            return self.head(tf.concat([found, tf.cast(inputs["x"], found.dtype)[:, None]], axis=1))

    @K.saving.register_keras_serializable(package="tests")
    class Columns(K.Model):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.table = K.layers.Embedding(20, 4)
            self.head = K.layers.Dense(1)

        def call(self, a: Any, b: Any, x: Any, training: Any = None) -> Any:
            found = self.table(tf.cast(a, "int32")) * tf.cast(b, "float32")[:, None]
            return self.head(tf.concat([found, tf.cast(x, found.dtype)[:, None]], axis=1))

    return Mapped, Columns


def subclassed(K: Any) -> Any:
    model = classes(K)[0]()
    model(tensors(frame(4), ()))
    return model


def columnwise(K: Any) -> Any:
    model = classes(K)[1]()
    model(*tensors(frame(4), ()).values())
    return model


def call_of(kind: str, columns: dict[str, np.ndarray]) -> tuple[Any, ...]:
    """Return the arguments a model of a kind takes."""
    if kind == "sequential":
        return (matrix(columns),)
    if kind == "listed":
        return ([tensors(columns)[name] for name in ("x", "a", "b")],)
    if kind == "positional":
        return (list(tensors(columns).values()),)
    if kind == "subclassed":
        return (tensors(columns, ()),)
    if kind == "columnwise":
        return tuple(tensors(columns, ()).values())
    return (tensors(columns),)


KINDS = {
    "mapping": mapping,
    "listed": listed,
    "positional": positional,
    "sequential": sequential,
    "subclassed": subclassed,
    "columnwise": columnwise,
}
PROBABILITY = {
    "mapping": True,
    "listed": True,
    "positional": True,
    "sequential": False,
    "subclassed": True,
    "columnwise": False,
}
