"""The black box of a model with an adapter: what its output is where only its values can tell, and what it cannot do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.plugins import PluginManager, use_manager

SCHEMA = nid.FeatureSchema([nid.SparseField("site", 5), nid.DenseField("price")])
FRAME = {"site": np.array([0, 4, 2]), "price": np.array([0.5, -1.0, 2.0])}


class Model:
    def __init__(self, scores):
        self.scores = np.array(scores)


class ModelAdapter(nid.Adapter):
    name = "tests"
    classes = (f"{Model.__module__}.Model",)

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        return ModelPredictor(model, output)


class ModelPredictor(nid.Predictor):
    def __init__(self, model, output):
        self.model, self.output = model, output

    def __call__(self, rows):
        return self.model.scores[: len(rows)]


class Plugin:
    @nid.hookimpl
    def nid_register_adapters(self, register):
        register(ModelAdapter())


@pytest.fixture
def adapted():
    with use_manager(PluginManager(builtins={}, entry_points=False, environ={})):
        nid.get_manager().register(Plugin(), "tests")
        yield


def test_auto_output_outside_the_unit_interval_is_logits(adapted):
    box = nid.wrap(Model([0.2, 0.4, -3.0]), SCHEMA)
    assert box.output == "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(box.logits(FRAME), [0.2, 0.4, -3.0])
    assert (box.output, box.adapter) == ("logit", "tests")


def test_auto_output_inside_it_is_probabilities_with_a_warning_once(adapted):
    model = Model([0.2, 0.4, 0.9])
    box = nid.wrap(model, SCHEMA)
    with pytest.warns(
        nid.NidWarning, match='3 first outputs all lie in .* pass output="probability" or output="logit"'
    ):
        logits = box.logits(FRAME)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), [0.2, 0.4, 0.9])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        box.logits(FRAME)
    model.scores = np.array([0.2, 1.4, 0.9])  # the guess was wrong: said, not silently changed
    with pytest.raises(nid.ModelError, match="not probabilities"):
        box.logits(FRAME)


def test_what_the_caller_says_is_not_guessed(adapted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            nid.wrap(Model([0.2, 0.4, 0.9]), SCHEMA, output="logit").logits(FRAME), [0.2, 0.4, 0.9]
        )


def test_no_rows_decide_nothing(adapted):
    box = nid.wrap(Model([0.2]), SCHEMA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert box.logits_of(np.empty((0, 2))).shape == (0,)
    assert box.output == "auto"


def test_embeddings_cannot_be_zeroed_where_the_adapter_does_not_say_how(adapted):
    for box in (nid.wrap(Model([0.5]), SCHEMA), nid.wrap(lambda c: c["price"], SCHEMA, output="logit")):
        with pytest.raises(nid.UnsupportedError, match="cannot be zeroed field by field.*Use baseline="):
            box.logits_zeroed(np.zeros(2), np.ones((1, 2), dtype=bool))


def test_a_framework_that_declares_no_features_wants_a_schema(adapted):
    with pytest.raises(nid.UnsupportedError, match="does not declare its features; received: Model"):
        nid.wrap(Model([0.5]))
