"""Minifm, a small framework of its own: click models as sums of layers, trained by Adagrad, in NumPy.

It stands for any framework nid-plugins has never heard of, and knows nothing of nid-plugins itself. It has what real
ones have: a train and an eval mode, dropout that draws from a global generator, an optimiser with a state, saving.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng()
"""What dropout draws from."""


class Layer:
    """A term of the logit.

    Attributes:
        weights: Name to array, trained in place.
    """

    def __init__(self, **config):
        self.config = config
        self.weights = {}

    def forward(self, columns, training):
        """Return the term, shape (n,), for a dict of columns of shape (n,)."""
        raise NotImplementedError

    def backward(self, slope):
        """Return the gradient of each weight, given the loss's slope (n,) by the term that :meth:`forward` returned."""
        raise NotImplementedError

    def save(self, directory):
        """Write what :meth:`load` needs beside the weights."""
        (directory / "config.json").write_text(json.dumps(self.config), encoding="utf-8")

    @classmethod
    def load(cls, directory):
        """Return the layer :meth:`save` wrote."""
        return cls(**json.loads((directory / "config.json").read_text(encoding="utf-8")))


class Table(Layer):
    """A weight for each id of a field.

    Args:
        field: Its name.
        cardinality: Number of ids.
    """

    def __init__(self, field, cardinality):
        super().__init__(field=field, cardinality=cardinality)
        self.weights["table"] = np.zeros(cardinality)

    def forward(self, columns, training):
        self._ids = columns[self.config["field"]].astype(np.int64)
        return self.weights["table"][self._ids]

    def backward(self, slope):
        return {"table": np.bincount(self._ids, slope, len(self.weights["table"]))}


class Line(Layer):
    """A slope and an intercept for a field of numbers."""

    def __init__(self, field):
        super().__init__(field=field)
        self.weights["line"] = np.zeros(2)

    def forward(self, columns, training):
        self._values = columns[self.config["field"]]
        return self.weights["line"][0] * self._values + self.weights["line"][1]

    def backward(self, slope):
        return {"line": np.array([slope @ self._values, slope.sum()])}


class Product(Layer):
    """The inner product of two fields' embeddings, as in a factorisation machine, with dropout."""

    def __init__(self, first, second, dim=3, seed=0, dropout=0.1):
        super().__init__(first=first, second=second, dim=dim, seed=seed, dropout=dropout)
        draw = np.random.default_rng(seed)
        for side in (first, second):
            self.weights[side[0]] = draw.normal(0.0, 0.3, (side[1], dim))

    def forward(self, columns, training):
        self._ids = [columns[self.config[side][0]].astype(np.int64) for side in ("first", "second")]
        self._kept = np.ones(len(self._ids[0]))
        if training:
            rate = self.config["dropout"]
            self._kept = (rng.random(len(self._kept)) >= rate) / (1.0 - rate)
        first, second = self._embeddings()
        return self._kept * (first * second).sum(axis=1)

    def backward(self, slope):
        first, second = self._embeddings()
        gradients = {name: np.zeros_like(table) for name, table in self.weights.items()}
        weight = (slope * self._kept)[:, None]
        for name, ids, other in zip(gradients, self._ids, (second, first), strict=True):
            np.add.at(gradients[name], ids, weight * other)
        return gradients

    def _embeddings(self):
        return [table[ids] for table, ids in zip(self.weights.values(), self._ids, strict=True)]


class Model:
    """The click probability as the sigmoid of the layers' sum.

    Args:
        fields: Name to number of ids, or to None for a field of numbers.
        layers: Its terms.

    Attributes:
        training: Whether dropout is at work.
        squares: The optimiser's state: sums of squared gradients.
    """

    def __init__(self, fields, layers):
        self.fields = dict(fields)
        self.layers = list(layers)
        self.training = True
        self.squares = {}

    def logit(self, columns):
        """Return the logit of each row of a dict of columns, shape (n,)."""
        return sum(layer.forward(columns, self.training) for layer in self.layers)

    def predict(self, columns):
        """Return the click probability of each row, shape (n,). Leaves the model in eval mode."""
        self.training = False
        return 1.0 / (1.0 + np.exp(-self.logit(columns)))

    def step(self, columns, clicks, rate=0.3):
        """Take one step of Adagrad."""
        self.training = True
        probabilities = 1.0 / (1.0 + np.exp(-self.logit(columns)))
        for i, layer in enumerate(self.layers):
            for name, gradient in layer.backward((probabilities - clicks) / len(clicks)).items():
                squares = self.squares.setdefault((i, name), np.zeros_like(gradient))
                squares += gradient**2
                layer.weights[name] -= rate * gradient / (np.sqrt(squares) + 1e-9)

    def save(self, directory):
        """Write the model into a directory."""
        kinds = []
        for i, layer in enumerate(self.layers):
            place = Path(directory) / str(i)
            place.mkdir()
            layer.save(place)
            np.savez(place / "weights.npz", **layer.weights)
            kinds.append([type(layer).__module__, type(layer).__qualname__])
        content = {"fields": self.fields, "layers": kinds}
        (Path(directory) / "model.json").write_text(json.dumps(content), encoding="utf-8")


def load(directory):
    """Return the model :meth:`Model.save` wrote; its optimiser starts afresh."""
    content = json.loads((Path(directory) / "model.json").read_text(encoding="utf-8"))
    layers = []
    for i, (module, kind) in enumerate(content["layers"]):
        layer = getattr(importlib.import_module(module), kind).load(Path(directory) / str(i))
        with np.load(Path(directory) / str(i) / "weights.npz") as weights:
            layer.weights = dict(weights)
        layers.append(layer)
    return Model(content["fields"], layers)
