"""A layer of minifm for crosses."""

from __future__ import annotations

import numpy as np
from minifm import Layer

from nid_plugins import CrossFeatures


class CrossTower(Layer):
    """The term ``w . e``, with ``e`` the embeddings of a row's crosses side by side.

    Args:
        crosses: A :class:`nid_plugins.CrossFeatures`.
        options: A :class:`nid_plugins.adapting.TowerOptions`.
    """

    def __init__(self, crosses, options):
        super().__init__()
        self.crosses = crosses
        draw = np.random.default_rng(options.seed)
        for name, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True):
            given = options.embeddings.get(name)
            # One of the two factors starts at zero, so that the term is 0; the other does not, so that it learns.
            table, w = np.zeros((size + 1, options.dim)), draw.normal(0.0, options.dim**-0.5, options.dim)
            if given is not None:
                table[1:], w = given[1:], np.zeros(options.dim)
            self.weights[f"table of {name}"], self.weights[f"w of {name}"] = table, w

    def ids(self, columns):
        """Return the cross ids of a dict of columns, shape (n, K)."""
        n = len(next(iter(columns.values())))
        rows = np.zeros((n, len(self.crosses.schema)))
        for name in {name for cross in self.crosses.crosses for name in cross.fields}:
            rows[:, self.crosses.schema.index_of(name)] = columns[name]
        return self.crosses.transform_matrix(rows)

    def forward(self, columns, training):
        self._ids = self.ids(columns)
        return sum(self._embedded(k) @ self.weights[f"w of {name}"] for k, name in self._crosses())

    def backward(self, slope):
        gradients = {name: np.zeros_like(own) for name, own in self.weights.items()}
        for k, name in self._crosses():
            known = slope * (self._ids[:, k] > 0)  # row 0, for all other combinations, stays zero
            np.add.at(
                gradients[f"table of {name}"], self._ids[:, k], np.outer(known, self.weights[f"w of {name}"])
            )
            gradients[f"w of {name}"] += slope @ self._embedded(k)
        return gradients

    def embeddings(self):
        """Return a copy of each cross's table, float32."""
        return {name: self.weights[f"table of {name}"].astype(np.float32) for name in self.crosses.names}

    def save(self, directory):
        self.crosses.save(directory / "crosses")

    @classmethod
    def load(cls, directory):
        layer = cls.__new__(cls)
        Layer.__init__(layer)
        layer.crosses = CrossFeatures.load(directory / "crosses")
        return layer

    def _crosses(self):
        return enumerate(self.crosses.names)

    def _embedded(self, k):
        return self.weights[f"table of {self.crosses.names[k]}"][self._ids[:, k]]
