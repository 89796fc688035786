"""Multi-valued columns: a field that holds one id a row, the model being asked for the sequence of that id alone."""

from __future__ import annotations

import deepctr_zoo as dz
import numpy as np
import pytest
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat, VarLenSparseFeat
from nid_deepctr.plugin import DeepCTRAdapter

from nid_plugins.blackbox import BlackBox
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import FrameError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRAdapter()
FRAME = {
    "site": dz.FRAME["site"],
    "tags": np.random.default_rng(6).integers(0, 9, dz.N),
    "price": dz.FRAME["price"],
}
KINDS = {
    "mean": {},
    "sum": {"combiner": "sum"},
    "max": {"combiner": "max"},
    "length": {"length_name": "count"},
    "weight": {"weight_name": "share", "weight_norm": False},
    "norm": {"weight_name": "share"},
    "both": {"weight_name": "share", "length_name": "count", "combiner": "sum"},
}


def columns(kind):
    return [
        SparseFeat("site", 6, 4),
        VarLenSparseFeat(SparseFeat("tags", 9, 4), 3, **KINDS[kind]),
        DenseFeat("price"),
    ]


def model_of(kind):
    cols = columns(kind)
    return dz.trained(zoo.WDL(cols, cols, **dz.DEEP), batch_of(kind, FRAME["tags"]), steps=1)


def batch_of(kind, ids, site=None, price=None):
    first = np.stack([ids, 0 * ids, 0 * ids], axis=1)
    batch = {
        "site": FRAME["site"] if site is None else site,
        "tags": first,
        "price": FRAME["price"] if price is None else price,
    }
    if "length_name" in KINDS[kind]:
        batch["count"] = (ids != 0).astype(np.int32)
    if "weight_name" in KINDS[kind]:
        batch["share"] = np.ones_like(first, np.float32)
    return batch


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_and_what_the_model_is_asked(kind):
    model = model_of(kind)
    schema = ADAPTER.schema(model)
    oov = None if kind == "max" else 0
    assert schema == FeatureSchema([SparseField("site", 6), SparseField("tags", 9, oov), DenseField("price")])
    assert schema == ADAPTER.schema_of_columns(columns(kind))
    box = BlackBox(ADAPTER.predictor(model, schema), schema, adapter="x", batch_size=256, epsilon=1e-7)
    present = FRAME["tags"] != 0 if kind == "max" else slice(None)
    got = 1 / (1 + np.exp(-box.logits(FRAME)))
    expected = dz.scores(model, batch_of(kind, FRAME["tags"]))[:, 0]
    np.testing.assert_allclose(got[present], expected[present], rtol=1e-5, atol=1e-6)


def test_a_frame_of_sequences_is_refused():
    model = model_of("mean")
    schema = ADAPTER.schema(model)
    box = BlackBox(ADAPTER.predictor(model, schema), schema, adapter="x", batch_size=256, epsilon=1e-7)
    with pytest.raises(FrameError, match=r"'tags'.*1-D.*\(200, 3\)"):
        box.logits({**FRAME, "tags": batch_of("mean", FRAME["tags"])["tags"]})


@pytest.mark.parametrize("kind", ["mean", "both"])
def test_crosses_read_the_first_id_and_the_model_its_whole_sequence(kind):
    model = model_of(kind)
    crosses = fit_crosses([("site", "tags")], FRAME, ADAPTER.schema(model), min_count=1)
    target = ADAPTER.inject(model, crosses, mode="residual")
    batch = batch_of(kind, FRAME["tags"])
    batch["tags"][:, 1] = 5
    if "count" in batch:
        batch["count"] = batch["count"] * 0 + 2
    np.testing.assert_array_equal(dz.scores(target, batch), dz.scores(model, batch))
    dz.trained(target, batch, steps=1, noise=0)
    moved = dz.scores(target, batch) != dz.scores(target.get_layer(model.name), batch)
    known = crosses.transform(FRAME)[:, 0] > 0
    assert not moved[~known].any()
    assert moved[known].mean() > 0.9
    assert ADAPTER.schema(target) == ADAPTER.schema(model)
    box = BlackBox(
        ADAPTER.predictor(target, crosses.schema), crosses.schema, adapter="x", batch_size=256, epsilon=1e-7
    )
    alone = dz.scores(target, batch_of(kind, FRAME["tags"]))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-box.logits(FRAME))), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "max", "both"])
def test_a_zeroed_sequence_is_pooled_to_zero_and_an_empty_one_that_is_on_stays_empty(kind):
    model = model_of(kind)
    schema = ADAPTER.schema(model)
    predictor = ADAPTER.predictor(model, schema)
    on = np.array([[True, False, True], [True, True, True]])
    got = predictor.zeroed(np.array([2.0, 4.0, 0.5]), on)[:, 0]
    site, price = np.array([2]), np.array([0.5], np.float32)
    whole = dz.scores(model, batch_of(kind, np.array([4]), site, price))[0, 0]
    np.testing.assert_allclose(got[1], whole, rtol=1e-5)
    for layer in model.layers:
        if layer.name.endswith("seq_emb_tags"):
            rows = layer.embeddings.numpy()
            rows[4] = 0
            layer.embeddings.assign(rows)
    np.testing.assert_allclose(
        got[0], dz.scores(model, batch_of(kind, np.array([4]), site, price))[0, 0], rtol=1e-5
    )
    if kind != "max":  # of an empty sequence the maximum is -1e9
        empty = predictor.zeroed(np.array([2.0, 0.0, 0.5]), on)[:, 0]
        alone = dz.scores(model, batch_of(kind, np.array([0]), site, price))[0, 0]
        np.testing.assert_allclose(empty, alone, rtol=1e-5)


def test_histories_that_are_not_pooled_are_refused():
    item, hist = (
        SparseFeat("item", 12, 4),
        VarLenSparseFeat(SparseFeat("hist_item", 12, 4, embedding_name="item"), 3),
    )
    din = zoo.DIN(
        [SparseFeat("site", 6, 4), item, hist], ["item"], dnn_hidden_units=(8,), att_hidden_size=(4,)
    )
    with pytest.raises(UnsupportedError, match=r"'hist_item': columns of histories"):
        ADAPTER.schema(din)
