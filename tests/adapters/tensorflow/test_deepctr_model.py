"""DeepCTR's models as black boxes: claimed, their schema read off the graph, queried, and left as they were."""

from __future__ import annotations

import deepctr_zoo as dz
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.layers.core import DNN, PredictionLayer
from nid_deepctr.copying import twin
from nid_deepctr.plugin import DeepCTRAdapter
from nid_keras.copying import copied

import nid_plugins as nid
from nid_plugins.blackbox import BlackBox
from nid_plugins.errors import FrameError, SchemaError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRAdapter()


def box_of(model, schema=None, **options):
    schema = ADAPTER.schema(model) if schema is None else schema
    return BlackBox(
        ADAPTER.predictor(model, schema, **options), schema, adapter="x", batch_size=64, epsilon=1e-7
    )


def logit(p):
    p = np.clip(np.asarray(p, np.float64).ravel(), 1e-7, 1 - 1e-7)
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize("name", dz.BUILDERS)
def test_the_graph_says_what_the_columns_said(name):
    model = dz.built(name)
    assert ADAPTER.claims(model)
    schema = ADAPTER.schema(model)
    assert schema == ADAPTER.schema_of_columns((dz.columns(name), dz.columns(name)))
    assert schema.names == tuple(dict.fromkeys(model.input_names))


@pytest.mark.parametrize("name", ["DCN", "MLR", "AFM", "FLEN"])
def test_logits_are_those_of_the_model_whatever_the_order_of_the_fields(name):
    model = dz.built(name)
    before = dz.state_of(model)
    schema = ADAPTER.schema(model)
    reversed_ = FeatureSchema(list(schema)[::-1])
    expected = logit(dz.scores(model, dz.frame_of(name)))
    for own in (schema, reversed_):
        box = box_of(model, own)
        assert box.output == "probability"
        np.testing.assert_allclose(box.logits(dz.frame_of(name)), expected, rtol=1e-5, atol=1e-6)
    dz.assert_same_state(before, dz.state_of(model))


def test_what_a_model_returns_is_told_by_its_task():
    cols = dz.columns()
    small = {"dnn_hidden_units": (4,)}
    assert box_of(zoo.DeepFM(cols, cols, task="regression", **small)).output == "logit"
    assert box_of(zoo.MLR(cols, region_num=2, task="regression")).output == "logit"
    assert box_of(zoo.MLR(cols, cols, region_num=2, bias_feature_columns=cols)).output == "probability"
    own = zoo.DeepFM(cols, cols, **small)
    several = zoo.DeepFM(cols, cols, task="multiclass", **small)
    assert box_of(several).output == "auto"
    assert box_of(several, output="logit").output == "logit"
    doubled = tf_keras.Model(own.inputs, own.outputs[0] * 2.0)
    assert box_of(doubled).output == "auto"


def test_columns_that_share_a_table_and_columns_only_one_part_has():
    linear = [SparseFeat("hour", 4, 4), SparseFeat("item", 12, 4)]
    deep = [SparseFeat("site", 12, 4, embedding_name="item"), SparseFeat("item", 12, 4), DenseFeat("price")]
    model = dz.trained(zoo.WDL(linear, deep, **dz.DEEP))
    schema = ADAPTER.schema(model)
    assert schema == FeatureSchema(
        [SparseField("hour", 4), SparseField("item", 12), SparseField("site", 12), DenseField("price")]
    )
    assert schema == nid.FeatureSchema(ADAPTER.schema_of_columns((linear, deep)))
    frame = {k: dz.FRAME[k] for k in schema.names}
    np.testing.assert_allclose(
        box_of(model).logits(frame), logit(dz.scores(model, frame)), rtol=1e-5, atol=1e-6
    )


def test_columns_that_have_no_counterpart_are_named():
    site = SparseFeat("site", 6, 4)
    for bad, what in (
        (DenseFeat("vector", 3), "vectors"),
        (SparseFeat("tag", 9, 4, use_hash=True), "hash"),
        (SparseFeat("word", 9, 4, use_hash=True, dtype="string"), "hash"),
    ):
        with pytest.raises(UnsupportedError, match=f"'{bad.name}'.*{what}"):
            ADAPTER.schema_of_columns([site, bad])
        with pytest.raises(UnsupportedError, match=f"'{bad.name}'.*{what}"):
            ADAPTER.schema(zoo.WDL([site, bad], [site, bad], dnn_hidden_units=(4,)))
    with pytest.raises(UnsupportedError, match="file"):
        ADAPTER.schema_of_columns([site, SparseFeat("path", 9, 4, vocabulary_path="words.csv")])
    with pytest.raises(SchemaError, match="two columns of this name differ"):
        ADAPTER.schema_of_columns(([site], [SparseFeat("site", 7, 4)]))
    with pytest.raises(SchemaError, match="'item'.*shares the embedding"):
        ADAPTER.schema_of_columns([site, SparseFeat("item", 9, 4, embedding_name="site")])


def test_models_that_take_histories_or_return_several_scores_are_refused():
    tasks = zoo.SharedBottom(dz.columns(), bottom_dnn_hidden_units=(4,), tower_dnn_hidden_units=(4,))
    for ask in (lambda: ADAPTER.schema(tasks), lambda: ADAPTER.predictor(tasks, dz.SCHEMA)):
        with pytest.raises(UnsupportedError, match="multi-task"):
            ask()
    one = tf_keras.Model(tasks.inputs, tasks.outputs[0])
    assert ADAPTER.schema(one) == dz.SCHEMA
    assert box_of(one).output == "probability"


def test_ids_that_floats_would_round_are_refused():
    tag = SparseFeat("tag", 2**24 + 1, 1, dtype="float32")
    inputs = [tf_keras.Input((1,), name=name, dtype="float32") for name in ("tag", "site")]
    tables = [tf_keras.layers.Embedding(size, 1) for size in (tag.vocabulary_size, 6)]
    tables[0].build((None, 1))
    model = tf_keras.Model(inputs, PredictionLayer()(tables[0](inputs[0]) + tables[1](inputs[1])))
    with pytest.raises(SchemaError, match="'tag'.*rounded"):
        ADAPTER.schema(model)


def test_bad_frames_and_schemas_are_ours_to_name():
    model = dz.built("WDL")
    box = box_of(model)
    for name, values in (("site", dz.FRAME["site"] + 1), ("item", None), ("price", np.full(dz.N, np.nan))):
        frame = {k: v for k, v in dz.FRAME.items() if k != name} | ({} if values is None else {name: values})
        with pytest.raises(FrameError, match=f"'?{name}'?"):
            box.logits(frame)
    for fields in (
        list(dz.SCHEMA)[1:],
        [*dz.SCHEMA, SparseField("more", 3)],
        [SparseField("site", 7), *list(dz.SCHEMA)[1:]],
    ):
        with pytest.raises(SchemaError, match="site|more"):
            ADAPTER.predictor(model, FeatureSchema(fields))


def test_detection_finds_a_planted_interaction():
    cols = dz.columns()
    model = zoo.DeepFM(cols, cols, **dz.DEEP)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:  # main effects only ...
        weight.assign(rng.normal(scale=0.05, size=weight.shape).astype(np.float32))
    inputs = {t.name: t for t in model.inputs}
    both = tf.cast((inputs["site"] + inputs["item"]) % 2, tf.float32) * 3.0  # ... and one interaction
    planted = tf_keras.Model(model.inputs, tf_keras.layers.Add()([model.layers[-2].output, both]))
    box = box_of(planted, dz.SCHEMA, output="logit")
    report = nid.detect(box, dz.FRAME, detector="least_squares", instances=20, perturbations=200, seed=0)
    assert report.interactions[0].fields == ("site", "item")


def zeroed(model, row, on):
    schema = ADAPTER.schema(model)
    values = np.array([row[name] for name in schema.names], np.float64)
    return ADAPTER.predictor(model, schema).zeroed(values, on)


@pytest.mark.parametrize("name", ["DeepFM", "xDeepFM", "ONN", "FGCNN"])
def test_zeroed_embeddings_are_those_of_tables_with_zeroed_rows(name):
    model = dz.built(name)
    before = dz.state_of(model)
    names = ADAPTER.schema(model).names
    on = np.random.default_rng(1).random((6, len(names))) < 0.5
    on[0], on[1] = True, False
    row = {name: values[3] for name, values in dz.FRAME.items()}
    got = zeroed(model, row, on)
    dz.assert_same_state(before, dz.state_of(model))
    for mask, out in zip(on, got, strict=True):
        copy = copied(model, lambda: twin(model))
        for layer in copy.layers:  # every table is of one field only
            field = next((n for n in names if f"emb_{n}" in layer.name), None)
            if field is not None and not mask[names.index(field)]:
                rows = layer.embeddings.numpy()
                rows[int(row[field])] = 0
                layer.embeddings.assign(rows)
        frame = {n: [row[n] if mask[names.index(n)] or n != "price" else 0.0] for n in names}
        np.testing.assert_allclose(out, dz.scores(copy, frame)[0], rtol=1e-5, atol=1e-6)


def test_a_shared_table_is_zero_for_the_off_field_only_and_weights_are_read_anew():
    site, item = (tf_keras.Input((1,), name=name, dtype="int32") for name in ("site", "item"))
    table = tf_keras.layers.Embedding(12, 4)
    both = tf_keras.layers.Flatten()(tf_keras.layers.Concatenate()([table(site), table(item)]))
    head = tf_keras.Sequential([DNN((4,)), tf_keras.layers.Dense(1), PredictionLayer()])
    model = dz.trained(tf_keras.Model([site, item], head(both)))
    predictor = ADAPTER.predictor(model, ADAPTER.schema(model))

    def by_hand():
        return head(np.concatenate([table.embeddings[3], np.zeros(4)])[None].astype(np.float32)).numpy()

    row, on = np.array([3.0, 3.0]), np.array([[True, False]])
    np.testing.assert_allclose(predictor.zeroed(row, on), by_hand(), rtol=1e-5)
    dz.trained(model)
    np.testing.assert_allclose(predictor.zeroed(row, on), by_hand(), rtol=1e-5)


def test_where_embeddings_cannot_be_zeroed_it_is_said():
    model = dz.built("WDL")
    target = ADAPTER.inject(model, dz.crosses_of(), mode="residual")
    inputs = [tf_keras.Input((1,), name=t.name, dtype=t.dtype) for t in model.inputs]
    derived = tf_keras.layers.Embedding(3, 1, name="half_the_site")(inputs[0] // 2)
    derived = tf_keras.Model(inputs, model(inputs) + tf.reshape(derived, (-1, 1)))
    matrix = lambda columns: (({k: v[:, None] for k, v in columns.items()},), {})  # noqa: E731
    for own, inputs, why in (
        (target, "auto", "injected crosses"),
        (derived, "auto", "half_the_site"),
        (model, matrix, "zeroed field by field"),
    ):
        predictor = ADAPTER.predictor(own, dz.SCHEMA, inputs=inputs, output="probability")
        assert predictor(np.zeros((2, len(dz.SCHEMA)))).shape == (2, 1)
        with pytest.raises(UnsupportedError, match=why):
            predictor.zeroed(np.zeros(len(dz.SCHEMA)), np.ones((1, len(dz.SCHEMA)), bool))
