"""A small framework of its own: logistic regression on ids, one table of weights a field, in NumPy.

It stands for any framework nid-plugins has never heard of, and knows nothing of nid-plugins itself.
"""

from __future__ import annotations

import numpy as np


class LogisticTables:
    """Click probability as the sigmoid of a bias and one weight an id.

    Args:
        cardinalities: Field name to number of ids.
    """

    def __init__(self, cardinalities):
        self.cardinalities = dict(cardinalities)
        self.bias = 0.0
        self.weights = {name: np.zeros(size) for name, size in self.cardinalities.items()}

    def logit(self, columns):
        """Return the logit of each row of a dict of id columns, shape (n,)."""
        return self.bias + sum(table[columns[name]] for name, table in self.weights.items())

    def predict(self, columns):
        """Return the click probability of each row, shape (n,)."""
        return 1.0 / (1.0 + np.exp(-self.logit(columns)))

    def fit(self, columns, clicks, *, rounds=20, l2=1.0):
        """Fit by rounds of one Newton step a table, the others held still."""
        self.bias = float(np.log(clicks.mean() / (1.0 - clicks.mean())))
        for _ in range(rounds):
            for name, table in self.weights.items():
                newton_step(table, columns[name], clicks, self.predict(columns), l2)
        return self


def newton_step(table, ids, clicks, probabilities, l2):
    """Move a table of weights towards its best value, in place."""
    slope = np.bincount(ids, clicks - probabilities, len(table)) - l2 * table
    curve = np.bincount(ids, probabilities * (1.0 - probabilities), len(table)) + l2
    table += slope / curve
