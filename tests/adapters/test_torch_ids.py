"""Cross ids in a PyTorch graph are NumPy's, to the last row of the golden file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nid_torch.ids import CrossIds

from nid_plugins.crosses import Cross, CrossFeatures
from nid_plugins.errors import FrameError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField
from nid_plugins.testing.golden import golden


def test_the_golden_file_from_a_matrix():
    gold = golden()
    crosses, rows, expected = gold.crosses, gold.rows, gold.ids
    assert (crosses.transform_matrix(rows) == expected).all()  # the file is what we think it is
    ids = CrossIds(crosses)(torch.from_numpy(rows))
    assert ids.dtype == torch.int32
    np.testing.assert_array_equal(ids.numpy(), expected)
    kinds = {cross.exact for cross in crosses.crosses}
    assert kinds == {True, False}, "the file covers exact and mixed keys"
    assert (expected > 0).any(axis=0).all(), "every cross is hit"


def test_the_golden_file_from_columns_of_integers():
    crosses, rows = golden().crosses, golden().rows
    whole = (np.isfinite(rows) & (rows == np.floor(rows)))[
        :, [isinstance(f, SparseField) for f in crosses.schema]
    ]
    rows = rows[whole.all(axis=1)]
    with np.errstate(over="ignore"):
        columns = {
            field.name: torch.from_numpy(
                rows[:, j].astype(np.int64 if isinstance(field, SparseField) else np.float32)
            )
            for j, field in enumerate(crosses.schema)
        }
    assert len(rows) > 20
    np.testing.assert_array_equal(CrossIds(crosses)(columns).numpy(), crosses.transform_matrix(rows))


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
    every = np.arange(5 * 4, dtype=np.int64)
    return CrossFeatures(
        schema,
        [
            Cross("a__x__b", ("a", "b"), (5, 4), True, every[::3].copy()),
            Cross("three", ("a", "x", "y"), (5, 4, 2), True, np.arange(40, dtype=np.int64)),
            Cross("two", ("x", "z"), (4, 1), True, np.array([1, 3], np.int64)),
        ],
        edges,
    )


def test_missing_fractional_and_out_of_range_values_give_id_0(small):
    rows = np.array(
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
        ]
    )
    expected = small.transform_matrix(rows)
    np.testing.assert_array_equal(CrossIds(small)(torch.from_numpy(rows)).numpy(), expected)
    assert expected[0, 0] == 1
    assert expected[[1, 3, 4, 5], 0].tolist() == [0, 0, 0, 0]
    assert expected[2].tolist() == [1, 0, 0]


def test_a_dense_value_is_rounded_to_float32_before_it_is_binned(small):
    # 0.1 in float64 lies below the float32 edge made from it.
    rows = np.array([[0, 0.1, 0, 0, 0]])
    double = CrossIds(small)(torch.from_numpy(rows))
    single = CrossIds(small)(torch.from_numpy(rows.astype(np.float32)))
    assert double.tolist() == single.tolist() == small.transform_matrix(rows).tolist()


@pytest.mark.parametrize("cast", ["half", "double", "bfloat16"])
def test_casting_the_module_moves_no_edge(small, cast):
    rows = np.random.default_rng(0).normal(size=(200, 5))
    rows[:, [0, 2]] = np.random.default_rng(1).integers(0, 4, size=(200, 2))
    layer = getattr(CrossIds(small), cast)()
    np.testing.assert_array_equal(layer(torch.from_numpy(rows)).numpy(), small.transform_matrix(rows))


def test_columns_of_mixed_dtypes_keep_large_ids():
    big = 2**24 + 1
    schema = FeatureSchema([SparseField("a", big + 1), SparseField("b", 3)])
    crosses = CrossFeatures(
        schema, [Cross("ab", ("a", "b"), (big + 1, 3), True, np.array([big * 3 + 2], np.int64))], {}
    )
    layer = CrossIds(crosses)
    columns = {"a": torch.tensor([big, big - 1]), "b": torch.tensor([2.0, 2.0])}
    assert layer(columns).tolist() == [[1], [0]]
    assert layer({**columns, "b": torch.tensor([[2], [2]], dtype=torch.uint8)}).tolist() == [[1], [0]]


def test_no_rows(small):
    assert CrossIds(small)(torch.zeros(0, 5)).shape == (0, 3)


def test_bad_columns_are_named(small):
    columns = {name: torch.zeros(3) for name in small.schema.names}
    with pytest.raises(FrameError, match="'b'.*lacks"):
        CrossIds(small)({k: v for k, v in columns.items() if k != "b"})
    with pytest.raises(FrameError, match=r"'a'.*\(3, 2\)"):
        CrossIds(small)({**columns, "a": torch.zeros(3, 2)})


def test_columns_elsewhere_in_the_matrix(small):
    rows = np.random.default_rng(3).integers(0, 4, size=(50, 5)).astype(np.float64)
    at = {"a": 4, "b": 0, "x": 1, "y": 2, "z": 3}
    moved = np.empty_like(rows)
    for name, column in at.items():
        moved[:, column] = rows[:, small.schema.index_of(name)]
    ids = CrossIds(small, at)(torch.from_numpy(moved))
    np.testing.assert_array_equal(ids.numpy(), small.transform_matrix(rows))


def test_the_state_of_other_crosses_is_refused(small):
    other = CrossFeatures(
        small.schema,
        [Cross(c.name + "_", c.fields, c.sizes, c.exact, c.keys) for c in small.crosses],
        small.edges,
    )
    with pytest.raises(RuntimeError, match="saved with other crosses"):
        CrossIds(other).load_state_dict(CrossIds(small).state_dict())


def test_a_loaded_vocabulary_is_used(small):
    moved = CrossFeatures(
        small.schema,
        [
            Cross(c.name, c.fields, c.sizes, c.exact, (c.keys + 1) if k == 0 else c.keys)
            for k, c in enumerate(small.crosses)
        ],
        small.edges,
    )
    layer = CrossIds(small)
    layer.load_state_dict(CrossIds(moved).state_dict())
    rows = np.random.default_rng(4).integers(0, 4, size=(60, 5)).astype(np.float64)
    np.testing.assert_array_equal(layer(torch.from_numpy(rows)).numpy(), moved.transform_matrix(rows))
