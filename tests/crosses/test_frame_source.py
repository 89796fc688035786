"""Frames in memory: the results that sorting and bisecting a float64 matrix gives, whatever types and gaps the columns have."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nid_plugins as nid
from nid_plugins import DenseField, FeatureSchema, FrameError, NidWarning, SettingError, SparseField
from nid_plugins.crosses import frame_source, threads
from nid_plugins.crosses.bins import quantile_edges
from nid_plugins.crosses.features import size_of
from nid_plugins.crosses.keys import cross_keys, is_exact
from nid_plugins.crosses.members import MemberIds, bisected
from nid_plugins.crosses.vocabulary import Cross, check_min_count
from nid_plugins.frames import read_matrix

SIZES = (3, 40, 70_000, 10**7, 2**31, 2**50, 2**53)
SETS = [("s0", "s1"), ("s0", "d0"), ("s1", "s2", "d1"), ("d0", "d1"), ("s2", "d2")]


def fitted_by_sorting(sets, frame, schema, *, bins, min_count):
    """Crosses as they are defined: keys of all rows, sorted and counted."""
    rows = read_matrix(frame, schema, missing=True)
    threshold = check_min_count(min_count, len(rows))
    edges = {
        field.name: quantile_edges(rows[:, schema.index_of(field.name)], bins, field=field.name)
        for field in schema.dense
        if any(field.name in fields for fields in sets)
    }
    members = MemberIds(rows, schema, edges)
    crosses = []
    for given_fields in sets:
        fields = tuple(sorted(given_fields, key=schema.index_of))
        sizes = tuple(size_of(schema, name, edges) for name in fields)
        keys, valid = cross_keys([members[name] for name in fields], sizes)
        found, counts = np.unique(keys[valid], return_counts=True)
        if (counts > threshold).any():
            crosses.append(
                Cross("__x__".join(fields), fields, sizes, is_exact(sizes), found[counts > threshold])
            )
    return nid.CrossFeatures(schema, crosses, edges)


def sparse_column(rng, n, size, kind):
    ids = (rng.zipf(1.4, n) * int(rng.choice([1, 7919]))) % size
    if kind == "gaps":
        return np.where(rng.random(n) < 0.2, np.nan, ids.astype(np.float64))
    if kind == "narrow":
        return ids.astype(np.min_scalar_type(size - 1))
    return ids.astype(kind)


def dense_column(rng, n, kind):
    values = rng.normal(size=n)
    return {
        "float32": values.astype(np.float32),
        "amounts": np.round(np.exp(values), 2),
        "gaps": np.where(rng.random(n) < 0.3, np.nan, 1000 + values * 1e-4),
        "zeros": rng.choice([0.0, -0.0, 1.0, -1e-45], n),
        "huge": values * 10.0 ** rng.integers(-46, 300, n),
        "int64": rng.integers(-(2**62), 2**62, n),
        "bool": rng.random(n) < 0.3,
    }[kind]


def frame_of(rng, n, sizes, sparse_kinds, dense_kinds):
    frame = {
        f"s{i}": sparse_column(rng, n, size, kind)
        for i, (size, kind) in enumerate(zip(sizes, sparse_kinds, strict=True))
    }
    return frame | {f"d{i}": dense_column(rng, n, kind) for i, kind in enumerate(dense_kinds)}


def assert_same(found, expected):
    assert found.names == expected.names
    for one, other in zip(found.crosses, expected.crosses, strict=True):
        assert (one.fields, one.sizes, one.exact) == (other.fields, other.sizes, other.exact)
        assert np.array_equal(one.keys, other.keys)
    for name, edges in expected.edges.items():
        assert np.array_equal(found.edges[name], edges)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_frame(data):
    n = data.draw(st.sampled_from([1, 7, 200, 3000]))
    sizes = data.draw(st.lists(st.sampled_from(SIZES), min_size=3, max_size=3))
    sparse_kinds = data.draw(
        st.lists(st.sampled_from(["int64", "uint64", "narrow", "gaps"]), min_size=3, max_size=3)
    )
    dense_kinds = data.draw(
        st.lists(
            st.sampled_from(["float32", "amounts", "gaps", "zeros", "huge", "int64", "bool"]),
            min_size=3,
            max_size=3,
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    frame = frame_of(rng, n, sizes, sparse_kinds, dense_kinds)
    schema = FeatureSchema(
        [
            *(SparseField(f"s{i}", size) for i, size in enumerate(sizes)),
            *(DenseField(f"d{i}") for i in range(3)),
        ]
    )
    options = {
        "bins": data.draw(st.sampled_from([1, 2, 10, 500])),
        "min_count": data.draw(st.sampled_from([0, 1, 3.5])),
    }
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", NidWarning)
        try:
            expected = fitted_by_sorting(SETS, frame, schema, **options)
        except SettingError:
            with pytest.raises(SettingError, match="no combination of any cross"):
                nid.fit_crosses(SETS, frame, schema, **options)
            return
        patch.setattr(frame_source, "BLOCK", 64)
        patch.setattr(frame_source, "SHARED_BLOCK", 80)
        patch.setattr(threads, "ROWS_A_THREAD", 100)
        found = nid.fit_crosses(SETS, frame, schema, threads=data.draw(st.sampled_from([1, 3])), **options)
        assert_same(found, expected)
        other = {name: column[rng.permutation(n)].astype(np.float64) for name, column in frame.items()}
        for name, size in zip(("s0", "s1", "s2"), sizes, strict=True):
            other[name][rng.random(n) < 0.1] = rng.choice([-1.0, float(size), 2.0**60, np.nan])
        found._looked_up = 10**6  # enough for tables to be made
        for rows in (frame, other):
            matrix = read_matrix(rows, schema, missing=True, known_only=False)
            by_definition = bisected(matrix, expected)
            assert np.array_equal(found.transform(rows), by_definition)
            assert np.array_equal(found.transform_matrix(matrix), by_definition)


SCHEMA = FeatureSchema([SparseField("s0", 10), SparseField("s1", 2**50), DenseField("d0")])
PAIRS = [("s0", "s1"), ("s0", "d0")]


def small(n=300):
    rng = np.random.default_rng(3)
    return {
        "s0": rng.integers(0, 10, n),
        "s1": rng.integers(0, 5, n),
        "d0": rng.normal(size=n).astype(np.float32),
    }


def with_tables(frame):
    crosses = nid.fit_crosses(PAIRS, frame, SCHEMA, min_count=1)
    crosses._looked_up = 10**6
    return crosses


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", "<i8", ">u4", ">f4", ">f8"])
def test_the_order_of_bytes_does_not_matter(dtype):
    crosses = with_tables(small())
    frame = small() | {"s0": np.tile([0, 3, 512, 1024, 9], 60)}
    swapped = frame | {"s0": frame["s0"].astype(dtype), "s1": frame["s1"].astype(dtype)}
    expected = bisected(read_matrix(frame, SCHEMA, known_only=False), crosses)
    assert expected[1::5].any()
    assert not expected[2::5].any()
    assert np.array_equal(crosses.transform(swapped), expected)
    own = small() | {"s0": small()["s0"].astype(dtype)}
    assert_same(
        nid.fit_crosses(PAIRS, own, SCHEMA, min_count=1), nid.fit_crosses(PAIRS, small(), SCHEMA, min_count=1)
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_a_negative_id_is_no_id_in_a_field_of_more_ids_than_the_type_holds(dtype):
    crosses = with_tables(small())
    frame = small() | {"s1": np.tile(np.array([-1, 2, -128], dtype), 100)}
    found = crosses.transform(frame)[:, 0]
    assert not found[0::3].any()
    assert found[1::3].any()
    assert not found[2::3].any()
    with pytest.raises(FrameError, match="out of range"):
        nid.fit_crosses(PAIRS, frame, SCHEMA)


def test_columns_that_are_views_with_steps():
    frame = pd.DataFrame(small()).astype(np.float32).to_numpy()  # one block, row by row
    table = pd.DataFrame(frame, columns=SCHEMA.names)
    crosses = nid.fit_crosses(PAIRS, small(), SCHEMA, min_count=1)
    assert_same(nid.fit_crosses(PAIRS, table, SCHEMA, min_count=1), crosses)
    assert np.array_equal(with_tables(table).transform(table), crosses.transform(small()))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("s0", 10, "out of range"),
        ("s0", 0.5, "whole numbers"),
        ("s1", np.inf, "not finite"),
        ("d0", -np.inf, "not finite"),
        ("s1", "x", "not numeric"),
    ],
)
def test_what_is_wrong_is_said_as_for_any_frame(name, value, message):
    frame = {key: list(column) for key, column in small().items()}
    frame[name][7] = value
    if value == "x":
        frame[name] = [str(one) for one in frame[name]]
    with pytest.raises(FrameError, match=message) as caught:
        nid.fit_crosses([("s0", "s1")], frame, SCHEMA)
    assert caught.value.field == name
    with pytest.raises(FrameError) as expected:
        read_matrix(frame, SCHEMA, what="training frame", missing=True)
    assert str(caught.value) == str(expected.value)
    crosses = with_tables(small())
    if message != "out of range":
        with pytest.raises(FrameError, match=message):
            crosses.transform(frame)


def test_tables_are_made_when_they_pay_and_not_pickled():
    crosses = nid.fit_crosses(PAIRS, small(), SCHEMA, min_count=1)
    first = crosses.transform(small())
    assert "_compiled" not in vars(crosses)
    many = {name: np.tile(column, 40) for name, column in small().items()}
    assert np.array_equal(crosses.transform(many), np.tile(first, (40, 1)))
    assert "_compiled" in vars(crosses)
    again = pickle.loads(pickle.dumps(crosses))
    assert "_compiled" not in vars(again)
    assert np.array_equal(again.transform(small()), first)
    earlier = {name: value for name, value in vars(crosses).items() if name != "_looked_up"}
    old = nid.CrossFeatures.__new__(nid.CrossFeatures)
    old.__dict__ |= earlier
    assert np.array_equal(old.transform(small()), first)
