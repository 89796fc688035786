"""The layer with room for crosses: ids are NumPy's once it is filled, and until then it adds and learns nothing."""

from __future__ import annotations

import json

import keras_nets as nets
import numpy as np
import pytest
import tensorflow as tf

import nid_plugins as nid
from nid_plugins.crosses.room import Room
from nid_plugins.errors import ModelError, SettingError
from nid_plugins.testing.golden import golden

SETS = [("a", "b"), ("a", "x")]


def fitted(sets=SETS, **options):
    return nid.fit_crosses(sets, nets.frame(), nets.SCHEMA, min_count=0, bins=8, **options)


def tower(L, x=None, **options):
    room = {name: options.pop(name) for name in ("crosses", "size", "order", "bins") if name in options}
    layer = L.ReservedTower(Room(nets.SCHEMA, **{"crosses": 4, "size": 300, "bins": 8, **room}), **options)
    layer(nets.tensors(nets.frame(3), ()) if x is None else x)
    return layer


def weights_of(layer):
    return {w.name.rpartition("/")[2].partition(":")[0]: w for w in layer.weights}


@pytest.mark.parametrize("jit", [None, False, True])
def test_the_golden_file(L, jit):
    given = golden()
    crosses, rows = given.crosses, tf.constant(given.rows)
    room = Room(crosses.schema, crosses=12, size=500, order=7, bins=200)
    known = [k for k, cross in enumerate(crosses.crosses) if room.misfit(cross, crosses.edges) is None]
    assert known == [0, 1, 2, 3, 4], "the keys of the others are hashes, or fill 64 bits"
    layer = L.ReservedTower(room)
    layer(rows)
    call = layer.cross_ids if jit is None else tf.function(layer.cross_ids, jit_compile=jit)
    assert not call(rows).numpy().any()
    layer.fill(crosses.select(known[:2]))
    layer.fill(crosses.select(known[2:]))
    ids = call(rows).numpy()
    np.testing.assert_array_equal(ids[:, : len(known)], given.ids[:, known])
    assert not ids[:, len(known) :].any()
    assert (given.ids[:, known] > 0).any(axis=0).all(), "every cross is hit"


def test_odd_values_in_dense_fields(L):
    crosses = fitted([("a", "x"), ("b", "x")])
    layer = tower(L, bins=50)
    layer.fill(crosses)
    rows = {
        "a": np.arange(5),
        "b": np.arange(5) * 3.0,
        "x": np.array([np.inf, -np.inf, np.nan, 1e300, crosses.edges["x"][0]]),
    }
    rows = np.column_stack(list(rows.values()))
    np.testing.assert_array_equal(layer.cross_ids(tf.constant(rows))[:, :2], crosses.transform_matrix(rows))


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "ftrl"])
def test_free_places_add_and_learn_nothing_and_learn_at_once_when_filled(K, L, optimiser):
    frame, y = nets.frame(200), nets.labels(nets.frame(200))
    x = nets.tensors(frame, ())
    inputs = {name: K.Input((), name=name, dtype=nets.DTYPES[name]) for name in nets.SCHEMA.names}
    layer = L.ReservedTower(Room(nets.SCHEMA, crosses=4, size=300, bins=8), dim=3, hidden=(4,), l2=1e-3)
    model = K.Model(inputs, layer(inputs))
    makers = {"sgd": K.optimizers.SGD(0.1, momentum=0.9), "adam": K.optimizers.Adam(0.01)}
    makers |= {"adamw": K.optimizers.AdamW(0.1, weight_decay=0.1), "ftrl": K.optimizers.Ftrl(0.1)}
    model.compile(makers[optimiser], K.losses.BinaryCrossentropy(from_logits=True))
    before = {name: w.numpy() for name, w in weights_of(layer).items()}
    model.fit(x, y, epochs=1, batch_size=50, verbose=0)
    assert not model(x).numpy().any()
    for name, w in weights_of(layer).items():
        if optimiser in {"sgd", "adam"} or name in {"table", "wide_slot_row", "members"}:
            np.testing.assert_array_equal(w.numpy(), before[name], err_msg=name)
    layer.fill(fitted())
    assert not model(x).numpy().any(), "filling moves no output"
    np.testing.assert_array_equal(weights_of(layer)["projection"][:6], before["projection"][:6])
    model.fit(x, y, epochs=2, batch_size=50, verbose=0)
    crosses = layer.crosses()
    ids = crosses.transform(frame)
    for k, table in enumerate(nid.cross_embeddings(model).values()):
        assert table.shape == (crosses.vocabulary_sizes[k] + 1, 3)
        moved = set(np.flatnonzero(np.abs(table).max(axis=1)))
        assert moved == set(ids[:, k]) - {0}
    used = weights_of(layer)["table"].numpy()[1:601]
    assert np.count_nonzero(used) == np.count_nonzero(weights_of(layer)["table"].numpy())


def test_the_config_is_small_and_the_weights_hold_the_crosses(L):
    layer = tower(L, dim=4, hidden=(3,), dropout=0.1, seed=2, crosses=20, size=3000)
    layer.fill(fitted())
    config = json.loads(json.dumps(layer.get_config()))
    assert len(json.dumps(config)) < 1000
    again = L.ReservedTower.from_config(config)
    again(nets.tensors(nets.frame(3), ()))
    assert again.crosses() is None
    assert again.free == 20
    assert again.room == layer.room
    again.set_weights(layer.get_weights())
    assert again.free == 18
    assert again.crosses().names == fitted().names
    frame = nets.frame(100, seed=4)
    np.testing.assert_array_equal(again.crosses().transform(frame), fitted().transform(frame))
    np.testing.assert_array_equal(again.cross_ids(nets.tensors(frame, ()))[:, :2], fitted().transform(frame))


def test_mixed_precision_changes_no_id(K, L):
    layer = L.ReservedTower(Room(nets.SCHEMA, size=300, bins=8), dtype="mixed_float16")
    layer(nets.tensors(nets.frame(3), ()))
    layer.fill(fitted())
    frame = nets.frame(100, seed=4)
    np.testing.assert_array_equal(layer.cross_ids(nets.tensors(frame, ()))[:, :2], fitted().transform(frame))


def test_what_is_refused(L):
    with pytest.raises(SettingError, match="not room for crosses"):
        L.ReservedTower(fitted())
    with pytest.raises(SettingError, match="dim out of range"):
        L.ReservedTower(Room(nets.SCHEMA), dim=0)
    with pytest.raises(ModelError, match="has not been built"):
        L.ReservedTower(Room(nets.SCHEMA)).fill(fitted())
    layer = tower(L, size=20)
    before = layer.get_weights()
    with pytest.raises(SettingError, match=r"room for 20 \(size=\)"):
        layer.fill(fitted())
    for one, two in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_room_without_dense_fields(L):
    schema = nid.FeatureSchema(nets.SCHEMA.sparse)
    frame = {name: nets.frame()[name] for name in ("a", "b")}
    crosses = nid.fit_crosses([("a", "b")], frame, schema, min_count=0)
    layer = L.ReservedTower(Room(schema, crosses=2, size=400, order=2))
    x = {name: tf.constant(own) for name, own in frame.items()}
    layer(x)
    layer.fill(crosses)
    np.testing.assert_array_equal(layer.cross_ids(x)[:, 0], crosses.transform(frame)[:, 0])
    assert layer.free == 1
