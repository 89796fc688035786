"""Residual injection into DeepCTR's models: exact at first, trained from the same inputs, the source left alone."""

from __future__ import annotations

import deepctr_zoo as dz
import nid_deepctr.plugin
import nid_keras.plugin
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat, VarLenSparseFeat
from nid_deepctr.layers import CrossTower
from nid_deepctr.plugin import DeepCTRAdapter

import nid_plugins as nid
from nid_plugins.crosses import fit_crosses
from nid_plugins.errors import SchemaError, SettingError, UnsupportedError
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRAdapter()


def injected(model, crosses, **options):
    return ADAPTER.inject(model, crosses, mode="residual", **options)


def tower_of(target):
    return next(layer for layer in target.layers if isinstance(layer, CrossTower))


@pytest.mark.parametrize("name", dz.BUILDERS)
def test_every_model_starts_exact_and_one_step_moves_the_crosses(name):
    model, frame, crosses = dz.built(name), dz.frame_of(name), dz.crosses_of(name)
    expected = dz.scores(model, frame)
    before = dz.state_of(model)
    target = injected(model, crosses)
    np.testing.assert_array_equal(dz.scores(target, frame), expected)
    assert target.input_names == model.input_names
    assert [(t.shape, t.dtype) for t in target.inputs] == [(t.shape, t.dtype) for t in model.inputs]
    dz.trained(target, frame, steps=1, noise=0)
    assert (dz.scores(target, frame) != expected).mean() > 0.9
    learned = ADAPTER.cross_embeddings(target)
    assert {k: v.shape for k, v in learned.items()} == {
        k: (size + 1, 8) for k, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    }
    assert all(np.abs(v[1:]).max() > 0 and not v[0].any() for v in learned.values())
    np.testing.assert_array_equal(dz.scores(model, frame), expected)
    dz.assert_same_state(before, dz.state_of(model))


def test_through_the_front_door_the_whole_way_round():
    manager = PluginManager(builtins={}, entry_points=False, environ={})
    for plugin in (nid_deepctr.plugin, nid_keras.plugin):  # the order does not matter: DeepCTR's is nearer
        manager.register(plugin, plugin.__name__)
    model, crosses = dz.built("WDL"), dz.crosses_of()
    with use_manager(manager):
        target = nid.inject(model, crosses, dim=3)
        assert manager.adapter_for(model) is manager.adapter_for(target) is manager.adapters()["deepctr"]
        assert nid.cross_embeddings(target)["site__x__item"].shape[1] == 3
        assert nid.FeatureSchema.of(target) == dz.SCHEMA
        box = nid.wrap(target)
        assert (box.adapter, box.output) == ("deepctr", "probability")
        np.testing.assert_allclose(
            box.logits(dz.FRAME), nid.wrap(model).logits(dz.FRAME), rtol=1e-5, atol=1e-6
        )
        plain = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(3,))])
        assert manager.adapter_for(plain).name == "keras"


def test_a_compiled_model_gives_a_compiled_target_that_fits_from_the_original_dict():
    cols = dz.columns()
    model = zoo.DeepFM(cols, cols, **dz.DEEP)
    model.compile("adam", "binary_crossentropy", metrics=["AUC"])
    model.fit(dict(dz.FRAME), dz.LABEL, batch_size=50, epochs=1, verbose=0)
    before = [w.numpy() for w in (*model.weights, *model.optimizer.variables)]
    target = injected(model, dz.crosses_of())
    first = target.predict(dict(dz.FRAME), verbose=0)
    np.testing.assert_array_equal(first, model.predict(dict(dz.FRAME), verbose=0))
    history = target.fit(dict(dz.FRAME), dz.LABEL, batch_size=50, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert target.evaluate(dict(dz.FRAME), dz.LABEL, verbose=0)[1] > 0.6
    for weight, then in zip((*model.weights, *model.optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), then)


def test_a_frozen_base_stays_as_it_is():
    model = dz.built("DeepFM")
    target = injected(model, dz.crosses_of(), frozen=True)
    assert {w.name for w in target.trainable_weights} == {w.name for w in tower_of(target).trainable_weights}
    assert ADAPTER.claims(target)
    assert ADAPTER.schema(target) == dz.SCHEMA
    dz.trained(target)
    base = target.get_layer(model.name).base
    np.testing.assert_array_equal(dz.scores(base, dz.FRAME), dz.scores(model, dz.FRAME))
    assert model.trainable
    assert len(model.trainable_weights) == len(model.weights)


@pytest.mark.parametrize(
    ("name", "suffix"), [("DeepFM", ".keras"), ("DIFM", ".keras"), ("FGCNN", ".keras"), ("EDCN", ".h5")]
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_hold_the_target_also_where_deepctrs_own_do_not(name, suffix, tmp_path):
    frame = dz.frame_of(name)
    target = dz.trained(injected(dz.built(name), dz.crosses_of(name)), frame, steps=1)
    path = tmp_path / f"target{suffix}"
    target.save(path)
    options = {"safe_mode": False} if suffix == ".keras" else {}
    loaded = tf_keras.models.load_model(path, custom_objects=dz.OBJECTS, **options)
    np.testing.assert_array_equal(dz.scores(loaded, frame), dz.scores(target, frame))
    assert ADAPTER.claims(loaded)
    before, after = ADAPTER.cross_embeddings(target), ADAPTER.cross_embeddings(loaded)
    assert all(np.array_equal(before[k], after[k]) for k in before)
    dz.trained(loaded, frame, steps=1)  # and can be trained on


def test_a_saved_model_takes_the_original_raw_inputs(tmp_path):
    target = dz.trained(injected(dz.built("DeepFM"), dz.crosses_of()), steps=1)
    target.export(str(tmp_path / "served"))
    served = tf.saved_model.load(str(tmp_path / "served"))
    signature = served.signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == set(dz.SCHEMA.names)
    out = signature(**dz.tensors(target, dz.FRAME))
    np.testing.assert_allclose(next(iter(out.values())), dz.scores(target, dz.FRAME), rtol=1e-6)


def test_crosses_of_plain_columns_in_a_model_with_columns_of_other_kinds():
    item, hist = (
        SparseFeat("item", 12, 4),
        VarLenSparseFeat(SparseFeat("hist_item", 12, 4, embedding_name="item"), 3),
    )
    columns = [
        SparseFeat("site", 6, 4),
        item,
        DenseFeat("vector", 2),
        SparseFeat("tag", 9, 4, use_hash=True),
        hist,
    ]
    model = zoo.DIN(columns, ["item"], dnn_hidden_units=(8,), att_hidden_size=(4,))
    frame = {k: dz.FRAME[k] for k in ("site", "item")}
    schema = FeatureSchema([SparseField("site", 6), SparseField("item", 12)])
    crosses = fit_crosses([("site", "item")], frame, schema, min_count=1)
    rng = np.random.default_rng(2)
    batch = {
        "site": frame["site"],
        "item": frame["item"],
        "vector": rng.normal(size=(dz.N, 2)),
        "tag": rng.integers(0, 99, dz.N),
        "hist_item": rng.integers(0, 12, (dz.N, 3)),
    }
    target = injected(model, crosses)
    np.testing.assert_array_equal(dz.scores(target, batch), dz.scores(model, batch))
    dz.trained(target, batch)
    assert ADAPTER.cross_embeddings(target)["site__x__item"].any()
    for name, wrong in (
        ("tag", SparseField("tag", 9)),
        ("vector", DenseField("vector")),
        ("hist_item", SparseField("hist_item", 12)),
    ):
        other = FeatureSchema([SparseField("site", 6), wrong])
        bad = fit_crosses([("site", name)], {"site": frame["site"], name: frame["site"]}, other, min_count=1)
        with pytest.raises(UnsupportedError, match=f"'{name}'"):
            injected(model, bad)
    with pytest.raises(UnsupportedError, match="vector|hash"):
        ADAPTER.schema(model)


def test_what_the_users_own_head_on_a_deepctr_model_returns():
    model = dz.built("DeepFM")
    logit = tf_keras.Model(model.inputs, tf_keras.layers.Dense(1, name="head")(model.layers[-2].output))
    target = injected(logit, dz.crosses_of())
    np.testing.assert_array_equal(dz.scores(target, dz.FRAME), dz.scores(logit, dz.FRAME))
    assert ADAPTER.predictor(target, dz.SCHEMA).output == "logit"


def test_a_model_of_deepctrs_layers_that_takes_a_matrix():
    from deepctr.layers.core import DNN, PredictionLayer

    matrix = tf_keras.Input((2,))
    model = tf_keras.Model(matrix, PredictionLayer()(tf_keras.layers.Dense(1)(DNN((4,))(matrix))))
    schema = FeatureSchema([SparseField("site", 6), DenseField("price")])
    frame = {k: dz.FRAME[k] for k in schema.names}
    crosses = fit_crosses([("site", "price")], frame, schema, bins=4, min_count=1)
    target = injected(model, crosses)
    x = np.column_stack(list(frame.values())).astype(np.float32)
    np.testing.assert_array_equal(target(x), model(x))
    with pytest.raises(UnsupportedError, match="vector"):
        ADAPTER.schema(model)
    assert ADAPTER.predictor(target, schema)(x.astype(np.float64)).shape == (dz.N, 1)


def test_what_does_not_fit_is_named():
    model, crosses = dz.built("DeepFM"), dz.crosses_of()
    with pytest.raises(UnsupportedError, match="already"):
        injected(injected(model, crosses), crosses)
    two = tf_keras.Model(model.inputs, [model.outputs[0], model.layers[-2].output])
    with pytest.raises(UnsupportedError, match="multi-task"):
        injected(two, crosses)
    frame = {**dz.FRAME, "other": dz.FRAME["site"]}
    elsewhere = fit_crosses([("other", "item")], frame, FeatureSchema([*dz.SCHEMA, SparseField("other", 6)]))
    with pytest.raises(SchemaError, match="'other'"):
        injected(model, elsewhere)
    wide = fit_crosses(
        [("site", "item")], dz.FRAME, FeatureSchema([SparseField("site", 6), SparseField("item", 99)])
    )
    with pytest.raises(SchemaError, match="'item'"):
        injected(model, wide)
    dense = fit_crosses(
        [("site", "price")],
        {"site": dz.FRAME["site"], "price": dz.FRAME["item"]},
        FeatureSchema([SparseField("site", 6), SparseField("price", 99)]),
    )
    with pytest.raises(SchemaError, match="'price'"):
        injected(model, dense)
    with pytest.raises(SettingError, match="unknown option"):
        injected(model, crosses, dimension=3)
    with pytest.raises(UnsupportedError, match="no injected crosses"):
        ADAPTER.cross_embeddings(model)
