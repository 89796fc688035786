"""DeepCTR models watched, and given crosses, while they train."""

from __future__ import annotations

import deepctr_zoo as zoo
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr.feature_column import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr.models import DeepFM
from nid_deepctr.callbacks import CrossInjector, InteractionMonitor
from nid_deepctr.reserved import reserve, tower_of

import nid_plugins as nid
from nid_plugins.errors import SchemaError, UnsupportedError

DETECT = {"detector": "least_squares", "instances": 8, "perturbations": 150}


def rows(n, seed):
    rng = np.random.default_rng(seed)
    ids = {field: rng.integers(0, size, n) for field, size in zoo.SIZES.items()}
    frame = {**ids, "price": rng.lognormal(size=n).astype(np.float32)}
    return frame, ((frame["site"] + frame["item"]) % 2).astype(np.float32)


TRAIN, VALID = rows(500, 1), rows(300, 2)


def deepfm(dropout=0.3, **options):
    # So that layers are called the same each time: in which order the penalties are added up goes by their names.
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(3)
    columns = zoo.columns()
    model = DeepFM(columns, columns, dnn_hidden_units=(8,), dnn_dropout=dropout, dnn_use_bn=True, **options)
    model.compile(tf_keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["AUC"])
    return model


def fit(model, callbacks, epochs=3, **options):
    history = model.fit(
        TRAIN[0],
        TRAIN[1],
        batch_size=64,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
        validation_data=VALID,
        **options,
    )
    return history.history


def state_of(model):
    return [*model.get_weights(), *(own.numpy() for own in model.optimizer.variables)]


def test_a_watched_training_is_the_same_to_the_last_bit():
    plain = deepfm()
    expected = fit(plain, [])
    watched = deepfm()
    monitor = nid.monitor(watched, valid=VALID[0], label=VALID[1], budget=None, detect=DETECT)
    assert isinstance(monitor, InteractionMonitor)
    assert fit(watched, [monitor]) == expected
    for one, two in zip(state_of(plain), state_of(watched), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [check.epoch for check in monitor.history] == [0, 1, 2]
    assert all(check.gains for check in monitor.history)


def test_crosses_are_filled_in_and_go_with_the_file(tmp_path):
    base = deepfm()
    model = reserve(base, crosses=4, size=100, order=2, dim=4)
    batch = zoo.tensors(model, TRAIN[0])
    np.testing.assert_array_equal(model(batch), base(zoo.tensors(base, TRAIN[0])))
    assert model.optimizer.learning_rate.numpy() == np.float32(0.02)
    injector = CrossInjector(
        None, TRAIN[0], TRAIN[1], VALID[0], VALID[1], after=2, max_crosses=2, min_count=2, detect=DETECT
    )
    path = str(tmp_path / "model.keras")
    loss = fit(model, [injector, tf_keras.callbacks.ModelCheckpoint(path)], epochs=5, shuffle=False)["loss"]
    assert injector.core.status == "injected"
    assert ("site", "item") in {cross.fields for cross in injector.core.crosses.crosses}
    assert loss[4] < 0.9 * loss[1]
    tables = nid.cross_embeddings(model)
    assert np.abs(tables["site__x__item"]).max() > 0.01
    again = tf_keras.models.load_model(path, custom_objects=zoo.OBJECTS)
    np.testing.assert_array_equal(again(batch), model(batch))
    assert tower_of(again).crosses().names == injector.core.crosses.names
    logits = nid.wrap(model).logits(VALID[0])
    np.testing.assert_array_equal(nid.wrap(again).logits(VALID[0]), logits)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_file_saved_in_the_middle_goes_on_bit_for_bit(tmp_path, stop):
    def injector():
        rows = (None, TRAIN[0], TRAIN[1], VALID[0], VALID[1])
        return CrossInjector(*rows, after=2, max_crosses=2, min_count=2, detect=DETECT)

    def fresh():
        # In which order penalties are added up is another in a model read from a file, with and without crosses.
        free = dict.fromkeys(("l2_reg_linear", "l2_reg_embedding", "l2_reg_dnn"), 0.0)
        return reserve(deepfm(dropout=0.0, **free), crosses=4, size=100, order=2, dim=4)

    whole, first = fresh(), injector()
    path = str(tmp_path / "{epoch:d}.keras")
    saving = tf_keras.callbacks.ModelCheckpoint(path)
    expected = fit(whole, [first, saving], epochs=5, shuffle=False)
    assert first.core.status == "injected"
    again = tf_keras.models.load_model(path.format(epoch=stop), custom_objects=zoo.OBJECTS)
    own = injector()
    found = fit(again, [own], epochs=5, initial_epoch=stop, shuffle=False)
    assert own.core.crosses.names == first.core.crosses.names
    assert found["val_loss"] == expected["val_loss"][stop:]
    for one, two in zip(state_of(whole), state_of(again), strict=True):
        np.testing.assert_array_equal(one, two)


def test_early_stopping_goes_back_to_weights_with_crosses_filled_in():
    model = reserve(deepfm(), crosses=4, size=100, order=2, dim=4)
    rows = (None, TRAIN[0], TRAIN[1], VALID[0], VALID[1])
    own = CrossInjector(*rows, after=1, max_crosses=2, min_count=2, detect=DETECT)
    # The first epoch's loss is the highest, and called the best.
    stopping = tf_keras.callbacks.EarlyStopping("val_loss", mode="max", patience=4, restore_best_weights=True)
    found = fit(model, [own, stopping], epochs=9)["val_loss"]
    assert len(found) == 5
    assert own.core.status == "injected"
    assert tower_of(model).crosses().names == own.core.crosses.names
    assert not any(table.any() for table in nid.cross_embeddings(model).values())
    assert model.evaluate(*VALID, batch_size=64, verbose=0)[0] == pytest.approx(max(found), rel=1e-6)


def test_of_a_multivalued_column_the_first_id_counts():
    columns = [
        SparseFeat("site", 6, 4),
        VarLenSparseFeat(SparseFeat("tags", 9, 4), maxlen=3),
        DenseFeat("price"),
    ]
    model = reserve(DeepFM(columns, columns, dnn_hidden_units=(4,)), crosses=2, size=60)
    rng = np.random.default_rng(0)
    tags = rng.integers(0, 9, (50, 3))
    frame = {"site": rng.integers(0, 6, 50), "tags": tags[:, 0], "price": rng.normal(size=50)}
    crosses = nid.fit_crosses([("site", "tags")], frame, tower_of(model).room.schema, min_count=0)
    layer = tower_of(model)
    layer.fill(crosses)
    layer.table.assign(tf.random.stateless_normal(layer.table.shape, (1, 2)))
    batch = {
        "site": tf.constant(frame["site"][:, None], tf.int32),
        "tags": tf.constant(tags, tf.int32),
        "price": tf.constant(frame["price"][:, None], tf.float32),
    }
    delta = tf_keras.Model(model.input, layer.output)(batch).numpy()[:, 0]
    table = nid.cross_embeddings(model)["site__x__tags"]
    projection = layer.projection.numpy()[: layer.dim, 0]
    ids = crosses.transform(frame)[:, 0]
    expected = np.where(ids > 0, table[ids] @ projection, 0)
    np.testing.assert_allclose(delta, expected, rtol=1e-5, atol=1e-6)


def test_what_is_refused():
    model = deepfm()
    with pytest.raises(SchemaError):
        reserve(model, nid.FeatureSchema([nid.SparseField("site", 7)]))
    target = reserve(model, crosses=1, size=10)
    with pytest.raises(UnsupportedError, match="room for crosses already"):
        reserve(target)
