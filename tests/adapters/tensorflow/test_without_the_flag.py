"""DeepCTR without TF_USE_LEGACY_KERAS=1: one sentence says what to set and when. Runs in the process of Keras 3."""

from __future__ import annotations

import os

import numpy as np
import pytest
from nid_deepctr.plugin import DeepCTRAdapter

import nid_plugins as nid
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

pytestmark = pytest.mark.skipif(
    os.environ.get("TF_USE_LEGACY_KERAS") == "1",
    reason="with the flag DeepCTR works; see test_deepctr_model.py",
)
ADAPTER = DeepCTRAdapter()
SENTENCE = (
    r"TF_USE_LEGACY_KERAS=1 before TensorFlow is first imported.*pip install \"tf-keras==\d+\.\d+\.\*\""
)
SCHEMA = FeatureSchema([SparseField("site", 6), SparseField("item", 12), DenseField("price")])


@pytest.fixture(scope="module")
def columns():
    from deepctr.feature_column import DenseFeat, SparseFeat

    return [SparseFeat("site", 6, 4), SparseFeat("item", 12, 4), DenseFeat("price")]


@pytest.fixture(scope="module")
def crosses():
    rng = np.random.default_rng(0)
    frame = {"site": rng.integers(0, 6, 99), "item": rng.integers(0, 12, 99), "price": rng.random(99)}
    return fit_crosses([("site", "item")], frame, SCHEMA, min_count=1)


def test_the_one_model_that_can_be_built_at_all(columns, crosses):
    from deepctr.models import PNN

    model = PNN(columns, dnn_hidden_units=(4,))
    assert ADAPTER.claims(model)
    for ask in (
        lambda: ADAPTER.schema(model),
        lambda: ADAPTER.predictor(model, SCHEMA),
        lambda: ADAPTER.inject(model, crosses, mode="residual"),
        lambda: ADAPTER.cross_embeddings(model),
    ):
        with pytest.raises(UnsupportedError, match=SENTENCE):
            ask()


def test_rebuilding_says_so_before_the_builder_fails(columns, crosses):
    from deepctr.models import DeepFM

    with pytest.raises(ValueError, match="add_weight"):
        DeepFM(columns, columns)
    with pytest.raises(UnsupportedError, match=SENTENCE):
        ADAPTER.inject(DeepFM, crosses, mode="rebuild", columns=(columns, columns))


def test_columns_are_read_all_the_same(columns):
    assert ADAPTER.claims_columns(columns)
    assert ADAPTER.schema_of_columns(columns) == SCHEMA


def test_models_of_keras_3_alone_are_not_claimed(K):
    inputs = K.Input((3,))
    assert not ADAPTER.claims(K.Model(inputs, K.layers.Dense(1)(inputs)))
    assert nid.adapter.class_paths(K.Model(inputs, inputs))[0] in ADAPTER.classes
