"""fit_crosses and CrossFeatures: which crosses are made, and ids that agree with a dictionary."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nid_plugins import FrameError, NidWarning, SchemaError, SettingError
from nid_plugins.crosses import Cross, CrossFeatures, features, fit_crosses, frame_source
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

SETS = [("site", "item"), ("price", "site"), ("user", "device"), ("site", "price", "item")]


def slow_transform(slow, crosses, frame):
    """Return ids by the slow reference, one row and one cross at a time."""
    out = []
    for i in range(len(next(iter(frame.values())))):
        ids = {
            field.name: slow.member_id(float(frame[field.name][i]), cardinality=field.cardinality)
            if isinstance(field, SparseField)
            else slow.member_id(float(frame[field.name][i]), edges=crosses.edges[field.name].tolist())
            for field in crosses.schema
            if isinstance(field, SparseField) or field.name in crosses.edges
        }
        row = []
        for cross in crosses.crosses:
            key = slow.cross_key([ids[name] for name in cross.fields], cross.sizes)
            row.append(slow.cross_id(key, cross.keys.tolist()))
        out.append(row)
    return np.array(out, dtype=np.int64).reshape(len(out), len(crosses))


def test_members_are_in_schema_order_and_sets_listed_twice_are_one(schema, train):
    crosses = fit_crosses(
        [("item", "site"), ["site", "item"], {"site", "item"}, ("price", "site")], train, schema
    )
    assert crosses.names == ("site__x__item", "site__x__price")
    assert [c.fields for c in crosses.crosses] == [("site", "item"), ("site", "price")]
    assert [c.sizes for c in crosses.crosses] == [(6, 40), (6, len(crosses.edges["price"]) + 1)]
    assert len(crosses) == 2
    assert "site__x__item" in repr(crosses)


def test_vocabulary_is_what_is_frequent_in_training(schema, train, slow):
    crosses = fit_crosses(SETS, train, schema, bins=5, min_count=9)
    assert [c.exact for c in crosses.crosses] == [True, True, False, True]
    for cross in crosses.crosses:
        # Keys of the training rows by the slow reference; the vocabulary must be its frequent ones.
        columns = []
        for name in cross.fields:
            field = schema[name]
            columns.append(
                [
                    slow.member_id(float(v), edges=crosses.edges[name].tolist())
                    if isinstance(field, DenseField)
                    else slow.member_id(float(v), cardinality=field.cardinality)
                    for v in train[name]
                ]
            )
        keys = [slow.cross_key(ids, cross.sizes) for ids in zip(*columns, strict=True)]
        assert cross.keys.tolist() == slow.frequent(keys, 9)
    assert crosses.vocabulary_sizes == tuple(len(c.keys) for c in crosses.crosses)


def test_transform_agrees_with_a_dictionary(schema, train, slow, monkeypatch):
    crosses = fit_crosses(SETS, train, schema, bins=5, min_count=4)
    rng = np.random.default_rng(1)
    frame = {name: rng.permutation(column)[:200].astype(float) for name, column in train.items()}
    frame["price"][:20] = np.nan
    frame["site"][10:40] = [-1, 6, np.nan] * 10
    frame["user"][30:50] = 5.0  # never seen
    expected = slow_transform(slow, crosses, frame)
    ids = crosses.transform(frame)
    assert ids.dtype == np.int32
    assert ids.flags.c_contiguous
    assert np.array_equal(ids, expected)
    assert (ids[:40].min(axis=1) == 0).all()
    monkeypatch.setattr(features, "_FEW_ROWS", 0)
    monkeypatch.setattr(frame_source, "BLOCK", 7)  # blocks, and a shorter last one
    monkeypatch.setattr(frame_source, "SHARED_BLOCK", 9)
    many = {name: np.tile(column, 9) for name, column in frame.items()}
    assert np.array_equal(crosses.transform(many), np.tile(expected, (9, 1)))
    assert crosses.transform(many).flags.c_contiguous
    assert np.array_equal(crosses.transform(frame), expected)  # by the tables that are there now


@settings(max_examples=30)
@given(st.data())
def test_any_rows_agree_with_a_dictionary(slow, data):
    schema = FeatureSchema(
        [SparseField("a", 4), DenseField("d"), SparseField("huge", 2**40), SparseField("b", 2**40)]
    )
    value = {
        "a": st.integers(-1, 4),
        "d": st.sampled_from([0.0, 0.1, 0.1 + 1e-12, 1.0, np.nan, -5.0]),
        "huge": st.sampled_from([0, 1, 2**40 - 1, 2**31]),
        "b": st.sampled_from([7, 2**24 + 1]),
    }
    n = data.draw(st.integers(2, 25))
    frame = {
        name: np.array(data.draw(st.lists(v, min_size=n, max_size=n)), dtype=np.float64)
        for name, v in value.items()
    }
    train = frame | {"a": np.clip(frame["a"], 0, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NidWarning)
        try:
            crosses = fit_crosses(
                [("a", "d"), ("huge", "b"), ("a", "d", "b")], train, schema, bins=3, min_count=1
            )
        except SettingError:
            return  # every combination was rare
    assert np.array_equal(crosses.transform(frame), slow_transform(slow, crosses, frame))


def test_any_frame(schema, train):
    crosses = fit_crosses(SETS, train, schema)
    expected = crosses.transform(train)
    for frame in (pd.DataFrame(train), pl.DataFrame(train), pa.table(train)):
        assert np.array_equal(crosses.transform(frame), expected)
        again = fit_crosses(SETS, frame, schema)
        assert all(
            np.array_equal(a.keys, b.keys) for a, b in zip(again.crosses, crosses.crosses, strict=True)
        )
    assert crosses.transform({name: column[:0] for name, column in train.items()}).shape == (0, 4)


def test_a_report_is_taken_in_rank_order(schema, train):
    report = SimpleNamespace(interactions=[SimpleNamespace(fields=fields) for fields in SETS])
    crosses = fit_crosses(report, train, schema, max_crosses=2)
    assert [c.fields for c in crosses.crosses] == [("site", "item"), ("site", "price")]
    with pytest.warns(NidWarning, match=r"4 crosses of 40 asked for: only 4 different sets"):
        assert len(fit_crosses(report, train, schema)) == 4


def test_listed_sets_are_all_taken_without_a_word(schema, train):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fit_crosses(SETS, train, schema)) == 4
    with pytest.warns(NidWarning, match="only 4 different sets"):
        assert len(fit_crosses(SETS, train, schema, max_crosses=10)) == 4


def test_a_cross_of_rare_combinations_gives_way_to_the_next(schema, train):
    train = train | {"user": np.arange(600)}
    with pytest.warns(NidWarning, match=r"1 had no combination .* more than 2 times .*site__x__user"):
        crosses = fit_crosses([("user", "site"), *SETS], train, schema, max_crosses=2)
    assert crosses.names == ("site__x__item", "site__x__price")
    with pytest.raises(SettingError, match=r"no combination .* Lower min_count"):
        fit_crosses([("user", "site")], train, schema)
    assert fit_crosses([("user", "site")], train, schema, min_count=0).vocabulary_sizes == (600,)


def test_missing_training_values_count_for_nothing(schema, train):
    price = train["price"].copy()
    price[::2] = np.nan
    crosses = fit_crosses([("site", "price"), ("site", "item")], train | {"price": price}, schema, bins=3)
    ids = crosses.transform(train | {"price": price})
    assert (ids[::2, 0] == 0).all()
    assert (ids[1::2, 0] > 0).all()
    assert (ids[::2, 1] > 0).any()


def test_a_constant_dense_field_is_one_bin(schema, train):
    with pytest.warns(NidWarning, match="'price' is constant"):
        crosses = fit_crosses([("site", "price")], train | {"price": np.ones(600)}, schema)
    assert crosses.crosses[0].sizes == (6, 1)
    assert crosses.vocabulary_sizes == (6,)


def test_names_that_are_taken():
    schema = FeatureSchema([SparseField(name, 2) for name in ("a", "a__x__b", "b", "c", "b__x__c")])
    train = {name: np.arange(40) % 2 for name in schema.names}
    crosses = fit_crosses([("a", "b"), ("a__x__b", "c"), ("a", "b__x__c"), ("a", "b", "c")], train, schema)
    assert crosses.names == ("a__x__b__2", "a__x__b__x__c", "a__x__b__x__c__2", "a__x__b__x__c__3")
    assert crosses.select(["a__x__b__x__c__2"]).names == ("a__x__b__x__c__2",)


def test_select(schema, train):
    crosses = fit_crosses(SETS, train, schema)
    ids = crosses.transform(train)
    some = crosses.select(["user__x__device", 0])
    assert some.names == ("user__x__device", "site__x__item")
    assert some.edges == {}, "bins of no member are not carried along"
    assert np.array_equal(some.transform(train), ids[:, [2, 0]])
    assert crosses.select("site__x__item").names == crosses.select([np.int64(-4)]).names == ("site__x__item",)


@pytest.mark.parametrize(
    "which", [["nope"], [4], [-5], [1.0], [True], [0, 0], [0, "site__x__item"], [], None, 0]
)
def test_bad_selection(schema, train, which):
    crosses = fit_crosses(SETS, train, schema)
    with pytest.raises(SettingError):
        crosses.select(which)


@pytest.mark.parametrize(
    ("sets", "error", "match"),
    [
        ([("site", "colour")], SchemaError, "'colour'"),
        ([("site", 3)], SchemaError, "'3'"),
        ([("site",)], SettingError, "two or more"),
        ([("site", "site")], SettingError, "two or more"),
        ([()], SettingError, "two or more"),
        (("site", "item"), SettingError, "not a set of field names"),
        ("site", SettingError, "not interactions"),
        (None, SettingError, "not interactions"),
        ([], SettingError, "no interactions"),
        (SimpleNamespace(interactions=[]), SettingError, "detect with more instances"),
    ],
)
def test_bad_sets(schema, train, sets, error, match):
    with pytest.raises(error, match=match):
        fit_crosses(sets, train, schema)


@pytest.mark.parametrize(
    "option",
    [{"bins": 0}, {"min_count": -1}, {"max_crosses": 0}, {"max_crosses": True}, {"max_crosses": 2.0}],
)
def test_bad_options(schema, train, option):
    with pytest.raises(SettingError, match=next(iter(option))):
        fit_crosses(SETS, train, schema, **option)


def test_bad_training_frames(schema, train):
    without = {name: column for name, column in train.items() if name != "item"}
    with pytest.raises(FrameError, match="'item'"):
        fit_crosses(SETS, without, schema)
    with pytest.raises(FrameError, match="no rows"):
        fit_crosses(SETS, {name: column[:0] for name, column in train.items()}, schema)
    with pytest.raises(FrameError, match=r"'site'.*out of range"):
        fit_crosses(SETS, train | {"site": np.full(600, 6)}, schema)
    with pytest.raises(FrameError, match=r"'price'.*not finite"):
        fit_crosses(SETS, train | {"price": np.full(600, np.inf)}, schema)
    with pytest.raises(SettingError, match="not a schema"):
        fit_crosses(SETS, train, list(schema))


def test_parts_that_do_not_fit_together(schema):
    keys = np.array([0], dtype=np.int64)
    edges = {"price": np.array([1, 2], dtype=np.float32)}
    good = Cross("c", ("site", "price"), (6, 3), True, keys)
    assert CrossFeatures(schema, [good], edges).vocabulary_sizes == (1,)
    for crosses, given_edges, match in [
        ([], edges, "no crosses"),
        ([good], {}, "needs bin edges"),
        ([good], {"price": np.array([2, 1], dtype=np.float32)}, "bad bin edges"),
        ([good], {"price": np.array([1.0, 2.0])}, "bad bin edges"),
        ([good], {"price": np.array([1, np.nan], dtype=np.float32)}, "bad bin edges"),
        ([Cross("c", ("site", "price"), (6, 4), True, keys)], edges, "made for other fields"),
        ([good, good], edges, "name of its own"),
        ([Cross("item", ("site", "price"), (6, 3), True, keys)], edges, "name of its own"),
    ]:
        with pytest.raises(SettingError, match=match):
            CrossFeatures(schema, crosses, given_edges)
    with pytest.raises(SchemaError, match="'colour'"):
        CrossFeatures(schema, [Cross("c", ("site", "colour"), (6, 3), True, keys)], edges)
