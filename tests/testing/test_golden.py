"""The golden rows in other dtypes, what they can and cannot carry, and the mistakes they give away."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.schema import DenseField, FeatureSchema, SparseField
from nid_plugins.testing import IdInput
from nid_plugins.testing.golden import KINDS, carried, golden, kinds_of

FLOAT32 = IdInput("float32", "float32", "float32")


def test_the_ids_of_the_file_are_numpy_s():
    gold = golden()
    np.testing.assert_array_equal(gold.crosses.transform_matrix(gold.rows), gold.ids)
    assert {cross.exact for cross in gold.crosses.crosses} == {True, False}
    assert {len(cross.fields) for cross in gold.crosses.crosses} >= {2, 3, 7}


def test_without_dense_fields_the_crosses_of_sparse_ones_are_left():
    gold = golden(dense=False)
    assert not gold.crosses.schema.dense
    assert len(gold.crosses) == 7
    assert gold.rows.shape[1] == len(gold.crosses.schema) == 9
    np.testing.assert_array_equal(gold.crosses.transform_matrix(gold.rows), gold.ids)


def wrapped(v):
    """Read as 32-bit integers, as a graph of int32 would."""
    whole = np.where(np.isfinite(v), v, 0).astype(np.int64)
    return np.where(v == np.floor(v), whole.astype(np.int32).astype(float), v)


MISTAKES = {
    "negative ids are clipped": lambda v, size: np.where(v < 0, 0, v),
    "ids beyond the last are clipped": lambda v, size: np.minimum(v, size - 1),
    "fractions are cut off": lambda v, size: np.floor(v),
    "fractions are rounded": lambda v, size: np.rint(v),
    "missing is taken for 0": lambda v, size: np.where(np.isnan(v), 0, v),
    "ids are rounded to float32": lambda v, size: v.astype(np.float32).astype(float),
    "ids wrap round in 32 bits": lambda v, size: wrapped(v),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows_in_every_sparse_field_and_every_cross(mistake):
    gold = golden(dense=False)
    fields = list(gold.crosses.schema)
    seen = np.zeros(len(gold.crosses), dtype=bool)
    for j, field in enumerate(fields):
        rows = gold.rows.copy()
        rows[:, j] = MISTAKES[mistake](rows[:, j], field.cardinality)
        wrong = (gold.crosses.transform_matrix(rows) != gold.ids).any(axis=0)
        small = mistake == "ids are rounded to float32" and field.cardinality < 2**24
        assert wrong.any() or small, field.name
        seen |= wrong
    assert seen.all(), np.array(gold.crosses.names)[~seen]


@pytest.mark.parametrize("bin_", [0, -1])
@pytest.mark.parametrize("name", ["price", "age"])
def test_a_missing_dense_value_taken_for_another_shows(name, bin_):
    gold = golden()
    j = gold.crosses.schema.index_of(name)
    rows = gold.rows.copy()
    rows[np.isnan(rows[:, j]), j] = -np.inf if bin_ == 0 else np.inf
    wrong = (gold.crosses.transform_matrix(rows) != gold.ids).any(axis=0)
    assert wrong[[name in cross.fields for cross in gold.crosses.crosses]].all()


def test_columns_hold_what_their_dtype_can():
    schema = FeatureSchema([SparseField("a", 2**40), DenseField("x")])
    values = [2**24 + 1, -1, 1.5, np.nan, 2**31, 2**32, -(2**31)]
    rows = np.column_stack([values, np.full(len(values), 0.1)])
    for dtype, expected in {
        "int64": [2**24 + 1, -1, 0, 0, 2**31, 2**32, -(2**31)],
        "int32": [2**24 + 1, -1, 0, 0, 0, 0, -(2**31)],
        "uint32": [2**24 + 1, 0, 0, 0, 2**31, 0, 0],
        "float32": [2**24, -1, 1.5, np.nan, 2**31, 2**32, -(2**31)],
        "float64": values,
    }.items():
        columns, held = carried(rows, schema, IdInput(dtype, dtype, "float32"))
        assert columns["a"].dtype == dtype
        assert columns["x"].dtype == np.float32
        np.testing.assert_array_equal(held[:, 0], expected, dtype)
        np.testing.assert_array_equal(held[:, 1], np.float32(0.1))


@pytest.mark.parametrize(
    ("dtype", "lost"),
    [
        ("float64", set()),
        ("int64", {"a fractional id", "a missing id"}),
        ("int32", {"a fractional id", "a missing id", "an id above 2**31"}),
        ("uint32", {"a fractional id", "a missing id", "a negative id"}),
        ("float32", {"an id above 2**24", "an id above 2**31"}),
    ],
)
def test_what_a_dtype_loses(dtype, lost):
    gold = golden()
    held = carried(gold.rows, gold.crosses.schema, IdInput(dtype, dtype, "float32"))[1]
    assert set(KINDS) - kinds_of(gold.rows, held, gold.crosses.schema) == lost
