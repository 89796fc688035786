"""Cross ids in a TensorFlow graph are NumPy's, to the last row of the golden file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from nid_plugins.crosses import Cross, CrossFeatures
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField
from nid_plugins.testing import golden as file

EXPECTED = file.golden().ids


@pytest.fixture(scope="module")
def golden() -> CrossFeatures:
    return file.golden().crosses


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return file.golden().rows


@pytest.mark.parametrize("jit", [None, False, True])
def test_the_golden_file_from_a_matrix(L, golden, rows, jit):
    layer = L.CrossIds(golden)
    call = layer if jit is None else tf.function(layer.__call__, jit_compile=jit)
    ids = call(tf.constant(rows))
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids.numpy(), EXPECTED)
    assert (EXPECTED > 0).any(axis=0).all(), "every cross is hit"


@pytest.mark.parametrize("jit", [False, True])
def test_the_golden_file_from_columns_of_integers(L, golden, rows, jit):
    sparse = [isinstance(field, SparseField) for field in golden.schema]
    part = rows[:, sparse]
    rows = rows[(np.isfinite(part) & (part == np.floor(part))).all(axis=1)]
    assert len(rows) > 20
    with np.errstate(over="ignore"):
        columns = {
            field.name: tf.constant(rows[:, j], tf.int64 if isinstance(field, SparseField) else tf.float32)
            for j, field in enumerate(golden.schema)
        }
    layer = L.CrossIds(golden)
    ids = tf.function(layer.__call__, jit_compile=jit)(columns)
    np.testing.assert_array_equal(ids.numpy(), golden.transform_matrix(rows))


@pytest.fixture
def small() -> CrossFeatures:
    schema = FeatureSchema(
        [SparseField("a", 5), DenseField("x"), SparseField("b", 4), DenseField("y"), DenseField("z")]
    )
    edges = {
        "x": np.array([-1.0, 0.1, 3.0], np.float32),
        "y": np.array([0.0], np.float32),
        "z": np.array([], np.float32),
    }
    return CrossFeatures(
        schema,
        [
            Cross("a__x__b", ("a", "b"), (5, 4), True, np.arange(20, dtype=np.int64)[::3].copy()),
            Cross("three", ("a", "x", "y"), (5, 4, 2), True, np.arange(40, dtype=np.int64)),
            Cross("two", ("x", "z"), (4, 1), True, np.array([1, 3], np.int64)),
        ],
        edges,
    )


ODD = np.array(
    [
        [0, 0.1, 0, 0, 0],
        [np.nan, 0.1, 0, 0, 0],
        [0, np.nan, 0, 0, 0],
        [1.5, 0.1, 0, 0, 0],
        [5, 0.1, 4, 0, 0],
        [-1, 0.1, -1, -0.0, 0],
        [4, np.inf, 3, np.inf, np.inf],
        [4, -np.inf, 3, -1, np.nan],
        [1e300, 1e300, 0, 0, 0],
        [-1e300, 0, 9.3e18, 0, 0],
        [-0.5, 0, 0.5, 0, 0],
    ]
)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_missing_fractional_and_out_of_range_values_give_id_0(L, small, jit, dtype):
    with np.errstate(over="ignore"):
        rows = ODD.astype(dtype)
    ids = tf.function(L.CrossIds(small).__call__, jit_compile=jit)(tf.constant(rows)).numpy()
    np.testing.assert_array_equal(ids, small.transform_matrix(rows.astype(np.float64)))
    assert ids[0, 0] == 1
    assert ids[[1, 3, 4, 5, 8, 9, 10], 0].tolist() == [0] * 7


def test_a_dense_value_is_rounded_to_float32_before_it_is_binned(L, small):
    layer = L.CrossIds(small)
    rows = np.array([[0, 0.1, 0, 0, 0]])
    assert layer(tf.constant(rows)).numpy().tolist() == layer(tf.constant(rows, tf.float32)).numpy().tolist()


def test_columns_of_mixed_dtypes_keep_large_ids(L):
    big = 2**24 + 1
    schema = FeatureSchema([SparseField("a", big + 1), SparseField("b", 3)])
    crosses = CrossFeatures(
        schema, [Cross("ab", ("a", "b"), (big + 1, 3), True, np.array([big * 3 + 2], np.int64))], {}
    )
    layer = L.CrossIds(crosses)
    wide = {"a": tf.constant([big, big - 1]), "b": tf.constant([2.0, 2.0])}
    assert layer(wide).numpy().tolist() == [[1], [0]]
    assert layer({**wide, "b": tf.constant([[2], [2]], tf.uint8)}).numpy().tolist() == [[1], [0]]


def test_no_rows(L, small):
    assert L.CrossIds(small)(tf.zeros((0, 5))).shape == (0, 3)


def test_bad_columns_are_named(L, small):
    columns = {name: tf.zeros(3) for name in small.schema.names}
    layer = L.CrossIds(small)
    with pytest.raises(FrameError, match="lacks a member"):
        layer.cross_ids({k: v for k, v in columns.items() if k != "b"})
    with pytest.raises(FrameError, match=r"'a'.*\(3, 2\)"):
        layer.cross_ids({**columns, "a": tf.zeros((3, 2))})
    with pytest.raises(FrameError, match="must be a number"):
        layer.cross_ids({**columns, "a": tf.constant(["x", "y", "z"])})
    with pytest.raises(FrameError, match="at least 5"):
        layer.cross_ids(tf.zeros((3, 2)))


def test_columns_elsewhere_in_the_matrix(L, small):
    rows = np.random.default_rng(3).integers(0, 4, size=(50, 5)).astype(np.float64)
    at = {"a": 4, "b": 0, "x": 1, "y": 2, "z": 3}
    moved = np.empty_like(rows)
    for name, column in at.items():
        moved[:, column] = rows[:, small.schema.index_of(name)]
    np.testing.assert_array_equal(L.CrossIds(small, at)(tf.constant(moved)), small.transform_matrix(rows))


def test_the_config_makes_the_layer_and_the_weights_fill_it(L, golden, rows):
    layer = L.CrossIds(golden)
    layer(tf.constant(rows))
    again = L.CrossIds.from_config(json.loads(json.dumps(layer.get_config())))
    blank = again(tf.constant(rows)).numpy()
    assert not np.array_equal(blank, EXPECTED), "the vocabulary is not in the config"
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(tf.constant(rows)), EXPECTED)
    assert not layer.trainable_weights


@pytest.mark.parametrize("spec", [{}, {"schema": 3}, 7, None, [("a", "b")]])
def test_what_is_not_crosses_is_refused(L, spec):
    with pytest.raises(SettingError, match="not the specification of crosses"):
        L.CrossIds(spec)
