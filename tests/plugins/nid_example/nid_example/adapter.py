"""The adapter for logistic tables: schema, prediction, injection."""

from __future__ import annotations

import numpy as np

from nid_example.model import LogisticTables, newton_step
from nid_plugins import Adapter, FeatureSchema, Predictor, SettingError, SparseField, UnsupportedError


class ExampleAdapter(Adapter):
    """Recognises :class:`nid_example.model.LogisticTables` and what is derived from it."""

    name = "example"
    classes = ("nid_example.model.LogisticTables",)

    def schema(self, model):
        """The model says itself which fields it has."""
        return FeatureSchema(SparseField(name, size) for name, size in model.cardinalities.items())

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        """Predict logits. There is one way to pass inputs, so any other that is asked for is refused."""
        if inputs not in {"auto", "mapping"}:
            raise SettingError(
                "logistic tables take a mapping", received=repr(inputs), expected='"auto" or "mapping"'
            )
        if output not in {"auto", "logit"}:
            raise SettingError(
                "this adapter reads the logit off the model",
                received=repr(output),
                expected='"auto" or "logit"',
            )
        return _TablesPredictor(model, schema)

    def inject(self, model, crosses, *, mode, **options):
        """Return a copy with one more table a cross, all zeros: the first output is the model's own."""
        if mode != "residual":
            raise UnsupportedError(
                "logistic tables are not rebuilt", received=f"mode={mode!r}", expected='"residual"'
            )
        if options:
            raise SettingError("no such option", received=sorted(options), expected="none")
        return CrossedTables(model, crosses)

    def cross_embeddings(self, model):
        """Return each cross's table as embeddings of dimension 1."""
        if not isinstance(model, CrossedTables):
            return super().cross_embeddings(model)
        return {name: table[:, None].astype(np.float32) for name, table in model.tables.items()}


class _TablesPredictor(Predictor):
    output = "logit"

    def __init__(self, model, schema):
        self._model = model
        self._names = schema.names

    def __call__(self, rows):
        return self._model.logit({name: rows[:, j].astype(np.int64) for j, name in enumerate(self._names)})


class CrossedTables(LogisticTables):
    """Logistic tables with one more table a cross, which alone is trained.

    Args:
        base: The model crosses are added to; its tables are copied.
        crosses: A :class:`nid_plugins.CrossFeatures`.
    """

    def __init__(self, base, crosses):
        super().__init__(base.cardinalities)
        self.bias = base.bias
        self.weights = {name: table.copy() for name, table in base.weights.items()}
        self.crosses = crosses
        self.tables = {
            name: np.zeros(size + 1)
            for name, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
        }

    def logit(self, columns):
        """Return the base's logit and the crosses' weights."""
        return self._with_crosses(columns, self.crosses.transform(columns))

    def _with_crosses(self, columns, ids):
        logit = super().logit(columns)
        for k, table in enumerate(self.tables.values()):
            logit = logit + table[ids[:, k]]
        return logit

    def fit(self, columns, clicks, *, rounds=20, l2=1.0):
        """Fit the crosses' tables; row 0, for combinations outside the vocabulary, stays zero."""
        ids = self.crosses.transform(columns)
        for _ in range(rounds):
            for k, table in enumerate(self.tables.values()):
                probabilities = 1.0 / (1.0 + np.exp(-self._with_crosses(columns, ids)))
                newton_step(table, ids[:, k], clicks, probabilities, l2)
                table[0] = 0.0
        return self
