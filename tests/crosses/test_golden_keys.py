"""The golden file: made by the slow reference, matched by NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nid_plugins import testing
from nid_plugins.crosses import Cross, CrossFeatures
from nid_plugins.crosses.keys import cross_keys, dense_ids, sparse_ids
from nid_plugins.schema import FeatureSchema, SparseField

GOLDEN = json.loads((Path(testing.__file__).parent / "golden_keys.json").read_text(encoding="utf-8"))


@pytest.fixture
def rows():
    return np.array([[np.nan if v is None else v for v in row] for row in GOLDEN["rows"]], dtype=np.float64)


def edges_of(name):
    return np.array(GOLDEN["edges"][name], dtype=np.float32)


def member_columns(schema, rows):
    return {
        field.name: sparse_ids(rows[:, j], field.cardinality)
        if isinstance(field, SparseField)
        else dense_ids(rows[:, j], edges_of(field.name))
        for j, field in enumerate(schema)
    }


def test_the_file_is_what_the_slow_reference_makes(slow):
    assert slow.as_text(slow.build()) == slow.GOLDEN_FILE.read_text(encoding="utf-8")


def test_it_covers_what_it_is_for():
    rows, crosses = GOLDEN["rows"], GOLDEN["crosses"]
    sparse = {v for row in rows for v in row[:9] if v is not None}
    assert {2**24, 2**24 + 1, 2**31, 2**31 - 1, -1, 2.5} <= sparse
    assert any(v is None for row in rows for v in row)
    assert {c["exact"] for c in crosses} == {True, False}
    for cross in crosses:
        assert 0 in cross["expected_ids"]
        assert max(cross["expected_ids"]) == len(cross["vocabulary"])
        unseen = [
            k
            for k, i in zip(cross["expected_keys"], cross["expected_ids"], strict=True)
            if k is not None and not i
        ]
        assert unseen, cross["name"]
    # Rounding matters: some value is below an edge as a float64 and not as a float32.
    j = [f["name"] for f in GOLDEN["schema"]["fields"]].index("price")
    naive = [None if r[j] is None else sum(e <= r[j] for e in GOLDEN["edges"]["price"]) for r in rows]
    assert naive != [ids[j] for ids in GOLDEN["expected_member_ids"]]


def test_member_ids(rows):
    schema = FeatureSchema.from_dict(GOLDEN["schema"])
    columns = member_columns(schema, rows)
    expected = [[-1 if i is None else i for i in ids] for ids in GOLDEN["expected_member_ids"]]
    assert np.column_stack([columns[name] for name in schema.names]).tolist() == expected


@pytest.mark.parametrize("cross", GOLDEN["crosses"], ids=lambda c: c["name"])
def test_keys(cross, rows):
    columns = member_columns(FeatureSchema.from_dict(GOLDEN["schema"]), rows)
    keys, valid = cross_keys([columns[name] for name in cross["fields"]], cross["sizes"])
    assert [int(k) if ok else None for k, ok in zip(keys, valid, strict=True)] == cross["expected_keys"]


def test_cross_ids(rows):
    schema = FeatureSchema.from_dict(GOLDEN["schema"])
    crosses = CrossFeatures(
        schema,
        [
            Cross(
                c["name"],
                tuple(c["fields"]),
                tuple(c["sizes"]),
                c["exact"],
                np.array(c["vocabulary"], dtype=np.int64),
            )
            for c in GOLDEN["crosses"]
        ],
        {name: edges_of(name) for name in GOLDEN["edges"]},
    )
    expected = np.column_stack([c["expected_ids"] for c in GOLDEN["crosses"]])
    assert np.array_equal(crosses.transform_matrix(rows), expected)
    # One row at a time takes bisection where many rows take the table.
    assert np.array_equal(np.concatenate([crosses.transform_matrix(row[None]) for row in rows]), expected)
