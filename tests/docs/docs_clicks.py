"""What the set-ups of the pages share: a small click log in which the first two fields interact, and models of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

import nid_plugins as nid


def schema_of(**sizes: int | None) -> nid.FeatureSchema:
    """Return the fields of these names and cardinalities; None is a dense one."""
    return nid.FeatureSchema(
        nid.DenseField(name) if size is None else nid.SparseField(name, size) for name, size in sizes.items()
    )


def clicks(schema: nid.FeatureSchema, rows: int, seed: int = 0) -> pd.DataFrame:
    """Return rows with a column ``click``: likely where exactly one of the first two fields is odd.

    Sparse fields hold at most eight of their ids, whatever their cardinality, so that few rows tell of each.
    """
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            field.name: rng.integers(0, min(field.cardinality, 8), rows)
            if isinstance(field, nid.SparseField)
            else rng.normal(size=rows).astype(np.float32)
            for field in schema
        }
    )
    chance = 1 / (1 + np.exp(-logit(frame)))
    return frame.assign(click=(rng.random(rows) < chance).astype(np.int64))


def logit(frame: pd.DataFrame | dict[str, np.ndarray]) -> np.ndarray:
    """Return the true logit: the pickable black box of pages that need no framework."""
    first, second = (np.asarray(frame[name]) for name in list(frame)[:2])
    last = np.asarray(frame[list(frame)[2]])
    return 2.5 * ((first.astype(int) % 2) ^ (second.astype(int) % 2)) - 1.5 + 0.3 * last


def torch_model(schema: nid.FeatureSchema) -> object:
    """Return a fresh module of a matrix of ids and values that returns logits."""
    import torch
    from torch import nn

    class Clicks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(f.cardinality, 4) for f in schema.sparse)
            self.sparse = [schema.index_of(f.name) for f in schema.sparse]
            self.dense = [schema.index_of(f.name) for f in schema.dense]
            wide = 4 * len(self.sparse) + len(self.dense)
            self.net = nn.Sequential(nn.Linear(wide, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wide = [table(x[:, at].long()) for table, at in zip(self.tables, self.sparse, strict=True)]
            return self.net(torch.cat([*wide, x[:, self.dense]], dim=1)).squeeze(1)

    torch.manual_seed(0)
    return Clicks()


def torch_loader(schema: nid.FeatureSchema, frame: pd.DataFrame) -> object:
    """Return batches of matrix and clicks."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    matrix = torch.from_numpy(frame[list(schema.names)].to_numpy(np.float32))
    label = torch.from_numpy(frame["click"].to_numpy(np.float32))
    return DataLoader(TensorDataset(matrix, label), batch_size=128)


def keras_model(keras: object, schema: nid.FeatureSchema) -> object:
    """Return a compiled model of a dict of columns, of Keras 3 or tf_keras, that returns probabilities."""
    inputs, parts = {}, []
    for field in schema:
        sparse = isinstance(field, nid.SparseField)
        one = keras.Input((1,), dtype="int32" if sparse else "float32", name=field.name)
        inputs[field.name] = one
        parts.append(
            keras.layers.Flatten()(keras.layers.Embedding(field.cardinality, 4)(one)) if sparse else one
        )
    hidden = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy")
    return model


def columns(frame: pd.DataFrame, schema: nid.FeatureSchema) -> dict[str, np.ndarray]:
    """Return a frame as Keras and DeepCTR take it."""
    return {name: frame[name].to_numpy() for name in schema.names}
