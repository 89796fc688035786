"""Cross ids of one row: those of transform, for anything a row may hold."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nid_plugins as nid
from nid_plugins import CrossFeatures, DenseField, FeatureSchema, FrameError, SparseField
from nid_plugins.crosses import Cross
from nid_plugins.crosses.keys import dense_ids
from nid_plugins.crosses.row import RowLookup, thresholds_of
from nid_plugins.testing.golden import golden

SCHEMA = FeatureSchema(
    [
        SparseField("a", 30),
        DenseField("p"),
        SparseField("u", 10**9),
        SparseField("w", 2**50),
        SparseField("unused", 9),
        DenseField("q"),
    ]
)
SETS = [("a", "p", "u"), ("a", "u"), ("a", "p"), ("u", "w"), ("p", "q"), ("w", "q", "p"), ("a", "q")]


def frame(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a": np.minimum(rng.zipf(1.4, n), 30) - 1,
        "p": np.round(rng.lognormal(size=n), 1),
        "u": rng.zipf(1.4, n) * 7919 % 10**9,
        "w": rng.zipf(1.6, n) * 999_983 % 2**50,
        "unused": rng.integers(0, 9, n),
        "q": rng.normal(size=n),
    }


@pytest.fixture(scope="module")
def crosses():
    made = nid.fit_crosses(SETS, frame(), SCHEMA, bins=6, min_count=6)
    assert len(made) == len(SETS)
    assert {cross.exact for cross in made.crosses} == {True, False}
    return made


def rows_of(columns):
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_golden_rows():
    found = golden()
    names = found.crosses.schema.names
    used = {name for cross in found.crosses.crosses for name in cross.fields}
    fractional = 0
    for row, ids in zip(found.rows.tolist(), found.ids.tolist(), strict=True):
        whole = all(
            np.isnan(v) or v == int(v)
            for name, v in zip(names, row, strict=True)
            if name in used and isinstance(found.crosses.schema[name], SparseField)
        )
        if whole:
            assert found.crosses.row(row) == ids
            assert found.crosses.row(dict(zip(names, row, strict=True))) == ids
        else:
            fractional += 1
            with pytest.raises(FrameError, match="whole numbers"):
                found.crosses.row(row)
    assert 0 < fractional < len(found.rows) / 2


def test_rows_of_a_frame_in_all_forms(crosses):
    columns = frame(300, seed=1)
    expected = crosses.transform(columns).tolist()
    assert any(any(row) for row in expected)
    table = pd.DataFrame(columns)
    for i, row in enumerate(rows_of(columns)):
        values = list(row.values())
        for form in (
            row,
            values,
            tuple(values),
            np.array(values),
            table.iloc[i],
            table.iloc[i].astype(object),
        ):
            assert crosses.row(form) == expected[i]
        plain = {name: value.item() for name, value in row.items()}
        assert crosses.row(plain) == expected[i]
        assert crosses.row(plain | {"more": "text"}) == expected[i]
        assert all(type(one) is int for one in crosses.row(plain))


cells = {
    "a": st.none() | st.integers(-3, 33) | st.sampled_from([0.0, 4.0, -1.0, 30.0, 1e18, np.nan, True]),
    "p": st.none() | st.floats(allow_infinity=False) | st.integers(-(10**20), 10**20),
    "u": st.none() | st.sampled_from([7919, 15838, 7919.0, 10**9, 2**60, -(2**70)]) | st.integers(0, 10**9),
    "w": st.none() | st.sampled_from([999_983, 1_999_966, 2**50, 2**53 + 1]) | st.integers(0, 2**50),
    "unused": st.just(1),
    "q": st.none() | st.floats(-3, 3) | st.floats(-3, 3, width=32).map(np.float32),
}


@settings(max_examples=300, deadline=None)
@given(row=st.fixed_dictionaries(cells))
def test_any_row(crosses, row):
    columns = {
        name: np.array([np.nan if value is None else float(value)], dtype=np.float64)
        for name, value in row.items()
    }
    (expected,) = crosses.transform(columns).tolist()
    assert crosses.row(row) == expected
    assert crosses.row([row[name] for name in SCHEMA.names]) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8),
    st.integers(-3, 3),
)
def test_thresholds_round_as_float32_does(listed, others, steps):
    edges = np.unique(np.array(listed, dtype=np.float32)) + np.float32(0)
    with np.errstate(over="ignore"):
        below = np.nextafter(edges, np.float32(-np.inf)).astype(np.float64)
    ties = np.concatenate([edges.astype(np.float64), below, (below + edges.astype(np.float64)) / 2, others])
    ties = np.append(ties, [2.0**128 - 2.0**103, -(2.0**128 - 2.0**103), 0.0, -0.0])
    ties = ties[np.isfinite(ties)]
    with np.errstate(over="ignore"):
        for _ in range(abs(steps)):
            ties = np.nextafter(ties, np.sign(steps) * np.inf)
    ties = ties[np.isfinite(ties)]
    thresholds = thresholds_of(edges)
    found = [sum(threshold <= value for threshold in thresholds) for value in ties]
    assert found == dense_ids(ties, edges).tolist()


def test_crosses_too_large_for_a_radix_of_their_own():
    # Exact keys, but no room for a further id a member.
    schema = FeatureSchema([SparseField("a", 3_037_000_499), SparseField("b", 3_037_000_499)])
    keys = np.array([7, 3_037_000_499 * 5 + 3, 3_037_000_499**2 - 1], dtype=np.int64)
    one = CrossFeatures(
        schema, [Cross("a__x__b", schema.names, (3_037_000_499,) * 2, exact=True, keys=keys)], {}
    )
    assert one.row([0, 7]) == [1]
    assert one.row([5, 3.0]) == [2]
    assert one.row([3_037_000_498, 3_037_000_498]) == [3]
    assert one.row([5, None]) == [0]
    assert one.row([-1, 3_037_000_499]) == [0]


@pytest.mark.parametrize(
    ("change", "message", "field"),
    [
        ({"a": "4"}, "not a number", "a"),
        ({"p": "4"}, "not a number", "p"),
        ({"a": [4]}, "not a number", "a"),
        ({"w": b"1"}, "not a number", "w"),
        ({"a": 1.5}, "whole numbers", "a"),
        ({"u": float("inf")}, "not finite", "u"),
        ({"p": float("-inf")}, "not finite", "p"),
        ({"q": np.float32("inf")}, "not finite", "q"),
        ({"w": 10**400}, "not finite", "w"),
    ],
)
def test_what_is_wrong_with_a_row(crosses, change, message, field):
    (row,) = rows_of(frame(1))
    with pytest.raises(FrameError, match=message) as caught:
        crosses.row(row | change)
    assert caught.value.field == field


def test_what_is_no_row(crosses):
    (row,) = rows_of(frame(1))
    del row["u"]
    with pytest.raises(FrameError, match="lacks fields") as caught:
        crosses.row(row)
    assert caught.value.field == "u"
    for none in ([1, 2], (), 5, None, "abcdef", np.zeros((6, 1)).tolist()[:2]):
        with pytest.raises(FrameError):
            crosses.row(none)


def test_absent_values_of_fields_that_are_no_member(crosses):
    (row,) = rows_of(frame(1))
    expected = crosses.row(row)
    del row["unused"]
    assert crosses.row(row) == expected


def test_prepared_once_and_shared_by_threads(crosses):
    assert crosses.row is crosses.row
    columns = frame(400, seed=5)
    expected = crosses.transform(columns).tolist()
    rows = rows_of(columns)
    fresh = CrossFeatures(crosses.schema, crosses.crosses, crosses.edges)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: [fresh.row(row) for row in rows], range(8)):
            assert found == expected


def test_crosses_with_a_prepared_look_up_can_be_copied_and_saved(crosses, tmp_path):
    (row,) = rows_of(frame(1, seed=6))
    expected = crosses.row(row)
    crosses.save(tmp_path / "saved")
    for other in (
        copy.deepcopy(crosses),
        pickle.loads(pickle.dumps(crosses)),
        CrossFeatures.load(tmp_path / "saved"),
    ):
        assert other.row(row) == expected
    assert isinstance(crosses.row, RowLookup)
