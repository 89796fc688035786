"""The models of the four frameworks, small and alike: fields in, probability out, with one way to train them.

One process runs one framework: TensorFlow's two Kerases exclude each other, and nothing but files may be shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    import nid_plugins as nid


class DeepCTRTorch:
    """AutoInt of DeepCTR-Torch."""

    output = "probability"

    def model(self, schema: nid.FeatureSchema) -> Any:
        import torch
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import AutoInt

        columns = [
            SparseFeat(f.name, f.cardinality, 8) if isinstance(f, SparseField) else DenseFeat(f.name)
            for f in schema
        ]
        model = AutoInt(columns, columns, att_layer_num=1, dnn_hidden_units=(32,), init_std=0.1, seed=3)
        model.compile(torch.optim.Adam(model.parameters(), lr=0.01), "binary_crossentropy")
        return model

    def fit(self, model: Any, frame: Any, label: Any, epochs: int) -> None:
        model.fit(dict(frame), label, batch_size=200, epochs=epochs, verbose=0)

    def trainable(self, target: Any) -> Any:
        return target

    def tower(self, target: Any) -> Any:
        return target.cross_tower

    def ids(self, target: Any, rows: Any) -> Any:
        import torch

        return self.tower(target).ids(torch.from_numpy(rows.astype(np.float32))).numpy()

    def set_projection(self, target: Any, values: Any) -> None:
        import torch

        with torch.no_grad():
            self.tower(target).projection.weight.copy_(torch.from_numpy(values)[None])


class Torch(DeepCTRTorch):
    """A multi-layer perceptron in plain PyTorch, which takes a matrix."""

    output = "logit"

    def model(self, schema: nid.FeatureSchema) -> Any:
        import torch
        from torch import nn

        class MLP(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(3)
                self.sparse = [(j, f.cardinality) for j, f in enumerate(schema) if isinstance(f, SparseField)]
                self.dense = [j for j, f in enumerate(schema) if not isinstance(f, SparseField)]
                self.tables = nn.ModuleList([nn.Embedding(size, 8) for _, size in self.sparse])
                wide = 8 * len(self.sparse) + len(self.dense)
                self.deep = nn.Sequential(nn.Linear(wide, 32), nn.ReLU(), nn.Linear(32, 1))

            def forward(self, x):
                parts = [own(x[:, j].long()) for own, (j, _) in zip(self.tables, self.sparse, strict=True)]
                return self.deep(torch.cat([*parts, x[:, self.dense]], dim=1))

        return MLP()

    def fit(self, model: Any, frame: Any, label: Any, epochs: int) -> None:
        import torch

        x = torch.from_numpy(np.column_stack(list(frame.values())).astype(np.float32))
        y = torch.from_numpy(label)[:, None]
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(epochs):
            for start in range(0, len(y), 200):
                optimiser.zero_grad()
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    model(x[start : start + 200]), y[start : start + 200]
                )
                loss.backward()
                optimiser.step()

    def tower(self, target: Any) -> Any:
        return target.tower


class Keras3:
    """A functional Keras 3 model that takes a dict by name."""

    output = "probability"

    def model(self, schema: nid.FeatureSchema) -> Any:
        import keras

        keras.utils.set_random_seed(3)
        inputs, parts = {}, []
        for field in schema:
            sparse = isinstance(field, SparseField)
            inputs[field.name] = keras.Input((1,), dtype="int32" if sparse else "float32", name=field.name)
            parts.append(
                keras.layers.Flatten()(keras.layers.Embedding(field.cardinality, 8)(inputs[field.name]))
                if sparse
                else inputs[field.name]
            )
        deep = keras.layers.Dense(32, "relu")(keras.layers.Concatenate()(parts))
        model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(deep))
        model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
        return model

    def fit(self, model: Any, frame: Any, label: Any, epochs: int) -> None:
        model.fit(dict(frame), label, batch_size=200, epochs=epochs, verbose=0)

    def tower(self, target: Any) -> Any:
        return next(layer for layer in target.layers if hasattr(layer, "projection"))

    def ids(self, target: Any, rows: Any) -> Any:
        return np.asarray(self.tower(target).cross_ids(rows.astype(np.float32)))

    def set_projection(self, target: Any, values: Any) -> None:
        self.tower(target).projection.assign(values[:, None])


class DeepCTR(Keras3):
    """DeepFM of DeepCTR, on tf_keras."""

    def model(self, schema: nid.FeatureSchema) -> Any:
        import tf_keras
        from deepctr.feature_column import DenseFeat, SparseFeat
        from deepctr.models import DeepFM

        columns = [
            SparseFeat(f.name, f.cardinality, 8) if isinstance(f, SparseField) else DenseFeat(f.name, 1)
            for f in schema
        ]
        tf_keras.utils.set_random_seed(3)
        model = DeepFM(columns, columns, dnn_hidden_units=(32,), seed=3)
        model.compile(tf_keras.optimizers.Adam(0.01), "binary_crossentropy")
        return model


FRAMEWORKS = {"deepctr_torch": DeepCTRTorch(), "torch": Torch(), "keras": Keras3(), "deepctr": DeepCTR()}
