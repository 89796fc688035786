"""The paper's way with DeepCTR: crosses as further columns of a fresh model, which takes the inputs without them."""

from __future__ import annotations

import dataclasses
import random

import deepctr_zoo as dz
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat, VarLenSparseFeat
from nid_deepctr.plugin import DeepCTRAdapter

import nid_plugins as nid
from nid_plugins.blackbox import BlackBox
from nid_plugins.crosses import CrossFeatures, fit_crosses
from nid_plugins.errors import ModelError, SchemaError, SettingError, UnsupportedError
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

ADAPTER = DeepCTRAdapter()
CROSSES = dz.crosses_of()


def rebuilt(builder="WDL", crosses=CROSSES, columns=None, **options):
    name = builder if isinstance(builder, str) else ""
    builder = dz.BUILDERS.get(name, builder)
    columns = dz.columns(name) if columns is None else columns
    return ADAPTER.inject(builder, crosses, mode="rebuild", columns=columns, **options)


def table(target, name, part=""):
    inner = next(layer for layer in target.layers if isinstance(layer, tf_keras.Model))
    return inner.get_layer(f"{part}sparse_emb_{name}").embeddings


@pytest.mark.parametrize("name", dz.BUILDERS)
def test_every_model_takes_the_original_inputs_and_trains_the_crosses(name):
    crosses, frame = dz.crosses_of(name), dz.frame_of(name)
    target = dz.trained(rebuilt(name, crosses), frame)
    # The same as the plain model fed with NumPy's cross ids.
    added = [
        SparseFeat(n, size + 1, 4) for n, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    ]
    plain = dz.BUILDERS[name]([*dz.columns(name), *added], [*dz.columns(name), *added])
    inner = next(layer for layer in target.layers if isinstance(layer, tf_keras.Model))
    plain.set_weights(inner.get_weights())
    ids = dict(zip(crosses.names, crosses.transform(frame).T, strict=True))
    np.testing.assert_array_equal(dz.scores(target, frame), dz.scores(plain, {**frame, **ids}))
    assert target.input_names == [column.name for column in dz.columns(name)]
    assert len(target.losses) == len(plain.losses)
    before = ADAPTER.cross_embeddings(target)
    assert {k: v.shape[0] for k, v in before.items()} == {
        k: size + 1 for k, size in zip(crosses.names, crosses.vocabulary_sizes, strict=True)
    }
    dz.trained(target, frame, steps=1, noise=0)
    assert all((ADAPTER.cross_embeddings(target)[k] != v).any() for k, v in before.items())


def test_fit_evaluate_and_predict_take_the_original_dict():
    target = rebuilt(dz.two(zoo.WDL, dnn_hidden_units=()), columns=(dz.columns(), dz.columns()))
    assert not target._is_compiled
    target.compile(tf_keras.optimizers.legacy.Adam(0.05), "binary_crossentropy", metrics=["AUC"])
    x = dict(dz.FRAME)
    target.fit(x, dz.LABEL, batch_size=50, epochs=15, verbose=0, validation_data=(x, dz.LABEL))
    assert target.evaluate(x, dz.LABEL, verbose=0)[1] > 0.8  # site and item interact; no linear model sees it
    assert target.predict(x, verbose=0).shape == (dz.N, 1)
    listed = [dz.FRAME[name] for name in target.input_names]
    np.testing.assert_array_equal(target.predict(listed, verbose=0), target.predict(x, verbose=0))


def test_given_embeddings_are_where_the_deep_part_starts_and_not_in_the_config():
    given = {"site__x__item": np.random.default_rng(0).normal(size=(CROSSES.vocabulary_sizes[0] + 1, 3))}
    for name in ("ONN", "FGCNN", "WDL"):
        target = rebuilt(name, embedding_dim=3, embeddings=given, columns=dz.columns(name, dim=3))
        learned = ADAPTER.cross_embeddings(target)
        np.testing.assert_array_equal(learned["site__x__item"], given["site__x__item"].astype(np.float32))
        assert np.abs(learned["hour__x__device"]).max() < 0.01
    assert not table(target, "site__x__item", "linear0").numpy().any()
    assert "GivenEmbeddings" not in target.to_json()
    fgcnn = rebuilt("FGCNN", embedding_dim=3, embeddings=given, columns=dz.columns(dim=3))
    np.testing.assert_array_equal(
        table(fgcnn, "site__x__item", "fg"), given["site__x__item"].astype(np.float32)
    )


@pytest.mark.parametrize(
    ("name", "suffix"), [("WDL", ".keras"), ("DIFM", ".h5"), ("EDCN", ".keras"), ("FGCNN", ".keras")]
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_hold_the_target(name, suffix, tmp_path):
    frame = dz.frame_of(name)
    target = dz.trained(rebuilt(name, dz.crosses_of(name)), frame, steps=1)
    path = tmp_path / f"target{suffix}"
    target.save(path)
    options = {"safe_mode": False} if suffix == ".keras" else {}
    loaded = tf_keras.models.load_model(path, custom_objects=dz.OBJECTS, **options)
    np.testing.assert_array_equal(dz.scores(loaded, frame), dz.scores(target, frame))
    before, after = ADAPTER.cross_embeddings(target), ADAPTER.cross_embeddings(loaded)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert ADAPTER.claims(loaded)
    dz.trained(loaded, frame, steps=1)


def test_a_saved_model_takes_the_original_raw_inputs(tmp_path):
    target = dz.trained(rebuilt("DeepFM"), steps=1)
    target.export(str(tmp_path / "served"))
    signature = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == set(dz.SCHEMA.names)
    out = next(iter(signature(**dz.tensors(target, dz.FRAME)).values()))
    np.testing.assert_allclose(out, dz.scores(target, dz.FRAME), rtol=1e-6)


def test_the_target_is_a_black_box_of_the_original_fields_and_takes_more_crosses():
    target = dz.trained(rebuilt(crosses=CROSSES.select([0])))
    schema = ADAPTER.schema(target)
    assert schema == dz.SCHEMA
    box = BlackBox(ADAPTER.predictor(target, schema), schema, adapter="x", batch_size=256, epsilon=1e-7)
    assert box.output == "probability"
    assert box.logits(dz.FRAME).shape == dz.LABEL.shape
    expected = dz.scores(target, dz.FRAME)
    both = ADAPTER.inject(target, CROSSES.select([1, 2]), mode="residual")
    np.testing.assert_array_equal(dz.scores(both, dz.FRAME), expected)
    assert ADAPTER.cross_embeddings(both).keys() == set(CROSSES.names)
    again = ADAPTER.inject(both, fit_crosses([("site", "hour")], dz.FRAME, dz.SCHEMA), mode="residual")
    np.testing.assert_array_equal(dz.scores(again, dz.FRAME), expected)
    assert len(ADAPTER.cross_embeddings(again)) == 4


def test_random_state_is_what_it_was_whatever_the_builder_does():
    def builder(linear, deep):
        tf_keras.utils.set_random_seed(3)
        model = dz.BUILDERS["WDL"](linear, deep)
        np.random.random()
        return model

    def draws():
        seeded = tf_keras.initializers.GlorotUniform()((2, 2)).numpy()
        return [random.random(), np.random.random(), float(tf.random.uniform(())), *seeded.ravel()]  # noqa: S311

    tf_keras.utils.set_random_seed(7)
    expected = draws()
    tf_keras.utils.set_random_seed(7)
    rebuilt(builder)
    assert draws() == expected


def test_through_the_front_door():
    import nid_deepctr.plugin

    manager = PluginManager(builtins={}, entry_points=False, environ={})
    manager.register(nid_deepctr.plugin, "deepctr")
    cols = dz.columns()
    with use_manager(manager):
        assert nid.FeatureSchema.of((cols, cols)) == dz.SCHEMA
        target = nid.inject(
            dz.BUILDERS["WDL"], CROSSES, mode="rebuild", columns=(cols, cols), embedding_dim=2
        )
        assert nid.cross_embeddings(target)["site__x__item"].shape[1] == 2
        assert nid.wrap(target).adapter == "deepctr"
        with pytest.raises(SettingError, match="unknown option"):
            nid.inject(dz.BUILDERS["WDL"], CROSSES, mode="rebuild", columns=cols, dim=3)
    assert not ADAPTER.claims_columns([*cols, object()])
    assert not ADAPTER.claims_columns([])


def test_names_that_tensorflow_forbids_and_names_that_are_taken():
    frame = {"site": dz.FRAME["site"], "price.usd": dz.FRAME["price"]}
    schema = FeatureSchema([SparseField("site", 6), DenseField("price.usd")])
    crosses = fit_crosses([("site", "price.usd")], frame, schema, bins=4)
    spaced = CrossFeatures(schema, [dataclasses.replace(crosses.crosses[0], name="a (b)/c")], crosses.edges)
    target = rebuilt("WDL", spaced, [SparseFeat("site", 6, 4), DenseFeat("price.usd")])
    assert ADAPTER.cross_embeddings(target).keys() == set(spaced.names)
    assert dz.scores(target, frame).shape == (dz.N, 1)
    clash = [*dz.columns(), SparseFeat("more", 4, 4, embedding_name="site__x__item")]
    with pytest.raises(SettingError, match="name of a column"):
        rebuilt("WDL", columns=clash)


def test_the_order_of_the_models_input_is_that_without_the_crosses():
    linear = [SparseFeat("hour", 4, 4), SparseFeat("item", 12, 4)]
    target = rebuilt("DeepFM", columns=(linear, dz.columns()))
    assert target.input_names == ["hour", "item", "site", "price", "device"]
    assert ADAPTER.schema(target).names == tuple(target.input_names)


def test_shared_tables_and_the_first_id_of_a_multi_valued_column():
    hist = VarLenSparseFeat(SparseFeat("hist", 12, 4, embedding_name="item"), 3, length_name="len")
    cols = [SparseFeat("site", 6, 4), SparseFeat("item", 12, 4), hist]
    frame = {"site": dz.FRAME["site"], "item": dz.FRAME["item"], "hist": dz.FRAME["item"][::-1].copy()}
    crosses = fit_crosses([("site", "hist")], frame, ADAPTER.schema_of_columns(cols), min_count=1)
    target = rebuilt("DeepFM", crosses, cols)
    rng = np.random.default_rng(4)
    batch = {**frame, "hist": rng.integers(0, 12, (dz.N, 3)), "len": rng.integers(0, 4, dz.N)}
    batch["hist"][:, 0] = frame["hist"]
    ids = target.get_layer("cross_ids")
    seen = tf_keras.Model(target.inputs, ids.output)(dz.tensors(target, batch))
    np.testing.assert_array_equal(seen, crosses.transform(frame))
    dz.trained(target, batch)
    assert ADAPTER.schema(target) == ADAPTER.schema_of_columns(cols)


def test_what_does_not_fit_is_named():
    with pytest.raises(ModelError, match="leaves crosses out"):
        rebuilt(lambda a, b: zoo.WDL(dz.columns(), dz.columns(), dnn_hidden_units=(4,)))
    with pytest.raises(ModelError, match="builder raised AttributeError"):
        rebuilt(lambda a, b: a.nothing)
    with pytest.raises(ModelError, match="does not return a fresh DeepCTR model"):
        rebuilt(lambda a, b: tf_keras.Sequential())
    with pytest.raises(ModelError, match="does not return a fresh DeepCTR model"):
        rebuilt(lambda a, b: rebuilt())
    with pytest.raises(UnsupportedError, match="multi-task"):
        rebuilt(lambda a, b: zoo.ESMM(b, tower_dnn_hidden_units=(4,)))
    with pytest.raises(SettingError, match="no deep sparse column"):
        rebuilt(columns=(dz.columns(), [DenseFeat("price")]))
    with pytest.raises(SettingError, match="embedding_dim"):
        rebuilt(embedding_dim=0)
    with pytest.raises(SettingError, match="neither a list"):
        rebuilt(columns=[dz.columns(), 3])
    with pytest.raises(SchemaError, match="'hour'"):
        rebuilt(columns=[column for column in dz.columns() if column.name != "hour"])
    with pytest.raises(SchemaError, match="'item'"):
        rebuilt(columns=[SparseFeat("item", 4, 4), *(c for c in dz.columns() if c.name != "item")])
    with pytest.raises(UnsupportedError, match="'item'.*hash"):
        rebuilt(
            columns=[SparseFeat("item", 12, 4, use_hash=True), *(c for c in dz.columns() if c.name != "item")]
        )
    values = np.ones((CROSSES.vocabulary_sizes[0] + 1, 4))
    with pytest.raises(SettingError, match="linear part only"):
        rebuilt(
            lambda a, b: zoo.WDL(a, dz.columns(), dnn_hidden_units=(4,)), embeddings={"site__x__item": values}
        )
    narrow = dz.columns(dim=2)
    with pytest.raises(SettingError, match="fresh model's table"):
        rebuilt(
            lambda a, b: zoo.WDL(
                a,
                [*narrow, *(c._replace(embedding_dim=2) for c in b[-len(CROSSES) :])],
                dnn_hidden_units=(4,),
            ),
            embeddings={"site__x__item": values},
        )
