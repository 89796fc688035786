"""The models of :mod:`benchmarks.injected_cost`: one DeepFM in each framework, ready to predict and to make steps.

Each builder returns the model, and a function that makes two calls of a model and its batches: prediction and step of
training (Adam, binary cross-entropy). Both are what serving and training run, without the data loading around them:
compiled functions on tensors in TensorFlow, modules on tensors in PyTorch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Frame = Mapping[str, np.ndarray]
    Calls = Callable[[Any, Frame, np.ndarray], tuple[Callable[[], object], Callable[[], object]]]

DIM = 16
HIDDEN = (256, 128)


@dataclass(frozen=True)
class Bench:
    """A framework's base model, and how to call it and what is injected into it.

    Attributes:
        model: The base, untrained.
        calls: Model, batch and labels to two functions without arguments: predict, and make a step.
        options: What ``nid.inject`` needs to be told.
    """

    model: Any
    calls: Calls
    options: dict[str, Any]


def names_of(schema: FeatureSchema, kind: type) -> list[str]:
    """Return the names of the fields of a kind."""
    return [field.name for field in schema if isinstance(field, kind)]


def _torch_calls(arguments: Callable[[Frame], Any]) -> Calls:
    import torch
    from torch.nn.functional import binary_cross_entropy

    def calls(
        model: Any, frame: Frame, labels: np.ndarray
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        batch, y = arguments(frame), torch.from_numpy(labels.astype(np.float32))
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

        def predict() -> object:
            model.eval()
            with torch.inference_mode():
                return model(batch)

        def step() -> object:
            model.train()
            optimiser.zero_grad(set_to_none=True)
            loss = binary_cross_entropy(model(batch).reshape(-1), y)
            loss.backward()
            optimiser.step()
            return loss

        return predict, step

    return calls


def deepctr_torch(schema: FeatureSchema) -> Bench:
    """Return DeepCTR-Torch's own DeepFM, which takes one float matrix."""
    import torch
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    columns = [
        SparseFeat(f.name, f.cardinality, embedding_dim=DIM)
        if isinstance(f, SparseField)
        else DenseFeat(f.name, 1)
        for f in schema
    ]
    model = DeepFM(columns, columns, dnn_hidden_units=HIDDEN, l2_reg_linear=0.0, l2_reg_embedding=0.0)

    def arguments(frame: Frame) -> torch.Tensor:
        return torch.from_numpy(np.column_stack([frame[n] for n in schema.names]).astype(np.float32))

    return Bench(model, _torch_calls(arguments), {})


def torch_module(schema: FeatureSchema) -> Bench:
    """Return a plain module that takes a dict of columns and keeps all embeddings in one table, the fast way to write it."""
    import torch
    from torch import nn

    sparse, dense = names_of(schema, SparseField), names_of(schema, DenseField)
    sizes = [schema[name].cardinality for name in sparse]

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("starts", torch.tensor(np.cumsum([0, *sizes[:-1]])))
            self.table = nn.Embedding(sum(sizes), DIM)
            self.bias = nn.Embedding(sum(sizes), 1)
            self.linear = nn.Linear(len(dense), 1)
            widths = [len(sparse) * DIM + len(dense), *HIDDEN]
            layers: list[nn.Module] = []
            for into, out in zip(widths, HIDDEN, strict=False):
                layers += [nn.Linear(into, out), nn.ReLU()]
            self.deep = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))

        def forward(self, columns: dict[str, torch.Tensor]) -> torch.Tensor:
            ids = torch.stack([columns[name] for name in sparse], dim=1) + self.starts
            numbers = torch.stack([columns[name] for name in dense], dim=1)
            e = self.table(ids)
            pairs = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1, keepdim=True)
            wide = self.bias(ids).sum(1) + self.linear(numbers)
            return torch.sigmoid(wide + pairs + self.deep(torch.cat([e.flatten(1), numbers], 1)))

    def arguments(frame: Frame) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(frame[name].astype(np.int64 if name in sparse else np.float32))
            for name in schema.names
        }

    options = {"inputs": "mapping", "output": "probability"}
    return Bench(Plain(), _torch_calls(arguments), options)


def _tensorflow_calls(keras: Any, schema: FeatureSchema) -> Calls:
    import tensorflow as tf

    sparse = set(names_of(schema, SparseField))

    def calls(
        model: Any, frame: Frame, labels: np.ndarray
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        batch = {
            n: tf.constant(frame[n].astype(np.int32 if n in sparse else np.float32)[:, None])
            for n in schema.names
        }
        y = tf.constant(labels.astype(np.float32)[:, None])
        optimiser = keras.optimizers.Adam(1e-4)
        optimiser.build(model.trainable_variables)

        @tf.function
        def predict(batch: Any) -> Any:
            return model(batch, training=False)

        @tf.function
        def step(batch: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                p = model(batch, training=True)
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(y, p))
            variables = model.trainable_variables
            optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return lambda: predict(batch).numpy(), lambda: step(batch, y).numpy()

    return calls


def keras(schema: FeatureSchema) -> Bench:
    """Return a functional model of Keras 3 with an input and an embedding a field."""
    import keras

    inputs = {
        f.name: keras.Input((1,), name=f.name, dtype="int32" if isinstance(f, SparseField) else "float32")
        for f in schema
    }
    sparse, dense = names_of(schema, SparseField), names_of(schema, DenseField)
    layers = keras.layers
    e = layers.Concatenate(axis=1)(
        [layers.Embedding(schema[name].cardinality, DIM)(inputs[name]) for name in sparse]
    )
    first = layers.Concatenate(axis=1)(
        [layers.Embedding(schema[name].cardinality, 1)(inputs[name]) for name in sparse]
    )
    numbers = layers.Concatenate(axis=1)([inputs[name] for name in dense])
    ops = keras.ops
    pairs = 0.5 * ops.sum(
        ops.square(ops.sum(e, axis=1)) - ops.sum(ops.square(e), axis=1), axis=1, keepdims=True
    )
    deep = layers.Concatenate(axis=1)([layers.Flatten()(e), numbers])
    for width in HIDDEN:
        deep = layers.Dense(width, activation="relu")(deep)
    logit = layers.Add()([ops.sum(first, axis=1), layers.Dense(1)(numbers), pairs, layers.Dense(1)(deep)])
    model = keras.Model(inputs, layers.Activation("sigmoid")(logit))
    return Bench(model, _tensorflow_calls(keras, schema), {})


def deepctr(schema: FeatureSchema) -> Bench:
    """Return DeepCTR's DeepFM on tf_keras. The process must not have imported TensorFlow yet."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras
    from deepctr.feature_column import DenseFeat, SparseFeat
    from deepctr.models import DeepFM

    columns = [
        SparseFeat(f.name, f.cardinality, embedding_dim=DIM)
        if isinstance(f, SparseField)
        else DenseFeat(f.name, 1)
        for f in schema
    ]
    model = DeepFM(columns, columns, dnn_hidden_units=HIDDEN, l2_reg_linear=0.0, l2_reg_embedding=0.0)
    return Bench(model, _tensorflow_calls(tf_keras, schema), {})


FRAMEWORKS: dict[str, Callable[[FeatureSchema], Bench]] = {
    "deepctr-torch": deepctr_torch,
    "torch": torch_module,
    "keras": keras,
    "deepctr": deepctr,
}
