"""Coding: vocabularies from the training rows alone, saved as JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins.errors import ArtefactError, FrameError, SettingError
from nid_plugins.frames import read_matrix
from nid_plugins.readers import Encoder
from nid_plugins.schema import DenseField, SparseField


@pytest.fixture
def train():
    return {
        "site": np.array(["b", "a", "a", None, "b", "a", "", "rare"], dtype=object),
        "price": np.array([0.5, np.nan, 1.5, 3.0, 0.0, 2.0, 7.0, -1.0]),
    }


@pytest.fixture
def encoder(train):
    return Encoder.fit(train, min_count=2)


def test_values_get_ids_by_frequency_rare_ones_0_and_missing_ones_1(encoder, train):
    assert encoder.transform(train)["site"].tolist() == [3, 2, 2, 1, 3, 2, 1, 0]
    assert encoder.schema["site"] == SparseField("site", 4, oov=0)
    assert encoder.schema["price"] == DenseField("price")


def test_a_value_not_seen_in_training_is_unknown(encoder):
    assert encoder.transform({"site": np.array(["new", "a"], dtype=object), "price": [1, 2]})[
        "site"
    ].tolist() == [
        0,
        2,
    ]


def test_dense_values_are_logged_and_scaled_by_the_training_rows(encoder, train):
    coded = encoder.transform(train)["price"]
    present = train["price"][~np.isnan(train["price"])]
    logged = np.sign(present) * np.log1p(np.abs(present))
    expected = (logged - logged.mean()) / logged.std()
    assert coded[~np.isnan(train["price"])] == pytest.approx(expected, abs=1e-6)
    assert coded.dtype == np.float32
    # Missing: one scale below the least value seen, and the same for any later frame.
    assert coded[1] == pytest.approx(expected.min() - 1, abs=1e-6)
    assert encoder.transform({"site": ["a"], "price": [np.nan]})["price"] == pytest.approx(
        [expected.min() - 1]
    )


def test_without_a_transform_dense_values_are_only_scaled(train):
    coded = Encoder.fit(train, min_count=1, transform="none").transform(train)["price"]
    present = train["price"][[0, 2, 3, 4, 5, 6, 7]]
    assert coded[[0, 2, 3, 4, 5, 6, 7]] == pytest.approx((present - present.mean()) / present.std(), abs=1e-6)


def test_the_coding_of_a_row_does_not_depend_on_the_frame_it_comes_in(encoder, train):
    whole = encoder.transform(train)
    for row in range(8):
        one = encoder.transform({name: column[row : row + 1] for name, column in train.items()})
        assert all(one[name][0] == whole[name][row] for name in whole)


@pytest.mark.parametrize(
    "column",
    [
        np.array([7, 7, 12, 12]),
        np.array([7.0, 7.0, 12.0, 12.0]),
        np.array(["7", "7", "12", "12"]),
        pd.array([7, 7, 12, 12], dtype="Int64").to_numpy(dtype=object),
        np.array([7, "7", 12.0, np.int64(12)], dtype=object),
    ],
)
def test_a_whole_number_is_the_same_category_however_it_is_typed(column):
    encoder = Encoder.fit({"id": np.array([7, 7, 12, 12, 12])})
    assert encoder.transform({"id": column})["id"].tolist() == [3, 3, 2, 2]


def test_ties_are_settled_by_the_value_and_not_by_the_order_of_rows():
    one = Encoder.fit({"site": np.array(list("bbaacc"))}).codes
    other = Encoder.fit({"site": np.array(list("ccbbaa"))}).codes
    assert one == other


def test_kinds_are_told_apart_and_can_be_overruled():
    frame = {
        "fraction": np.array(["1.5", "", "2"], dtype=object),
        "whole": np.array([1, 2, 3]),
        "flag": np.array([True, False, True]),
        "text": np.array(["x", "y", "z"]),
    }
    assert [type(field) for field in Encoder.fit(frame).schema] == [
        DenseField,
        SparseField,
        SparseField,
        SparseField,
    ]
    named = Encoder.fit(frame, dense=["whole"], sparse=["fraction"], exclude=["text"]).schema
    assert [type(field) for field in named] == [SparseField, DenseField, SparseField]


@given(
    st.lists(
        st.one_of(st.none(), st.integers(-3, 3), st.text(max_size=2), st.floats(-3, 3, width=16)), min_size=1
    )
)
def test_any_column_is_coded_within_its_cardinality_and_survives_saving(tmp_path_factory, values):
    frame = {"c": np.array([*values, "end"], dtype=object)}
    encoder = Encoder.fit(frame, sparse=["c"], min_count=1)
    coded = encoder.transform(frame)
    read_matrix(coded, encoder.schema)
    assert 0 not in coded["c"]  # every value was in training
    path = tmp_path_factory.mktemp("encoder") / "encoder.json"
    encoder.save(path)
    assert np.array_equal(Encoder.load(path).transform(frame)["c"], coded["c"])


def test_saved_as_plain_json_and_read_back_the_same(encoder, train, tmp_path):
    path = tmp_path / "encoder.json"
    encoder.save(path)
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == 1
    again = Encoder.load(path)
    assert again.codes == encoder.codes
    assert again.schema == encoder.schema
    for name, column in encoder.transform(train).items():
        assert np.array_equal(again.transform(train)[name], column)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a saved encoder"),
        ('{"format": "other"}', "not a saved encoder"),
        ('{"format": "nid-encoder", "version": 99, "fields": []}', "newer version"),
        ('{"format": "nid-encoder", "version": 1}', "damaged"),
        ('{"format": "nid-encoder", "version": 1, "fields": []}', "damaged"),
        (
            '{"format": "nid-encoder", "version": 1, "fields": [{"kind": "sparse", "name": "a", "values": [1]}]}',
            "d",
        ),
        (
            '{"format": "nid-encoder", "version": 1, "fields": [{"kind": "sparse", "name": "a", "values": ["b", "b"]}]}',
            "two ids",
        ),
        (
            (
                '{"format": "nid-encoder", "version": 1, "fields": '
                '[{"kind": "dense", "name": "a", "transform": "log", "mean": 0, "scale": 0, "missing": 0}]}'
            ),
            "positive",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    path = tmp_path / "encoder.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArtefactError, match=message):
        Encoder.load(path)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="cannot be read"):
        Encoder.load(tmp_path / "absent.json")


def test_columns_that_cannot_be_coded_are_refused(encoder):
    with pytest.raises(FrameError, match=r"not a finite number.*'dear' at row 1"):
        Encoder.fit({"price": np.array(["1.5", "dear"])}, dense=["price"])
    with pytest.raises(FrameError, match="not a finite number"):
        Encoder.fit({"price": np.array([1.5, np.inf])}, dense=["price"])
    with pytest.raises(FrameError, match="no value in the training rows"):
        Encoder.fit({"price": np.array([np.nan, np.nan])}, dense=["price"])
    with pytest.raises(FrameError, match="lacks columns"):
        encoder.transform({"site": ["a"]})
    with pytest.raises(FrameError, match="nothing to learn"):
        Encoder.fit({"site": np.array([])})
    with pytest.raises(FrameError, match="no such column"):
        Encoder.fit({"site": np.array(["a"])}, dense=["price"])


@pytest.mark.parametrize(
    "options", [{"min_count": 0}, {"transform": "sqrt"}, {"sparse": ["price"], "dense": ["price"]}]
)
def test_options_out_of_their_domain_are_refused(train, options):
    with pytest.raises(SettingError):
        Encoder.fit(train, **options)


def test_a_constant_dense_field_is_coded_as_zero():
    coded = Encoder.fit({"price": np.array([2.5, 2.5])}, dense=["price"]).transform({"price": [2.5, 2.5]})
    assert coded["price"].tolist() == [0.0, 0.0]
