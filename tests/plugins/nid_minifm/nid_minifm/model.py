"""A model of minifm as a function of rows."""

from __future__ import annotations

import contextlib

from nid_plugins import DenseField, FeatureSchema, Predictor, SettingError, SparseField
from nid_plugins.adapting import check_schema


def schema_of(model):
    """Return the fields a model names."""
    return FeatureSchema(
        DenseField(name) if size is None else SparseField(name, size) for name, size in model.fields.items()
    )


class MinifmPredictor(Predictor):
    """Gives the model a dict of columns and returns its logits."""

    output = "logit"

    def __init__(self, model, schema, inputs, output):
        if inputs not in ("auto", "mapping"):
            raise SettingError("minifm takes a mapping", received=repr(inputs), expected='inputs="auto"')
        if output not in ("auto", "logit"):
            raise SettingError("the logit is read off", received=repr(output), expected='output="auto"')
        check_schema(schema, schema_of(model))
        self._model = model
        self._names = schema.names

    def __call__(self, rows):
        with in_eval_mode(self._model):
            return self._model.logit({name: rows[:, j] for j, name in enumerate(self._names)})


@contextlib.contextmanager
def in_eval_mode(model):
    """Switch dropout off for a while."""
    before = model.training
    model.training = False
    try:
        yield
    finally:
        model.training = before
