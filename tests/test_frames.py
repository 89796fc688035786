"""Frames of every kind give the same matrix; what does not fit the schema is a typed error that says where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nid_plugins import DenseField, FeatureSchema, FrameError, SparseField
from nid_plugins.frames import columns_of, read_label, read_matrix, read_row

SCHEMA = FeatureSchema([SparseField("site", 5), DenseField("price"), SparseField("app", 3)])
COLUMNS = {"app": [0, 2, 1], "site": [4, 0, 2], "note": ["x", "y", "z"], "price": [0.5, -1.0, 2.0]}
EXPECTED = np.array([[4, 0.5, 0], [0, -1.0, 2], [2, 2.0, 1]])

FRAMES = {
    "lists": COLUMNS,
    "arrays": {name: np.array(values) for name, values in COLUMNS.items()},
    "columns of shape (n, 1)": {name: np.array(values)[:, None] for name, values in COLUMNS.items()},
    "small dtypes": {
        "app": np.array([0, 2, 1], np.uint8),
        "site": np.array([4, 0, 2], np.int16),
        "price": np.array([0.5, -1, 2], np.float16),
    },
    "pandas": pd.DataFrame(COLUMNS),
    "pandas nullable": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas on arrow": pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "pandas with another index": pd.DataFrame(COLUMNS, index=[7, 3, 3]),
    "mapping of series": {name: pd.Series(values, index=[5, 6, 7]) for name, values in COLUMNS.items()},
    "polars": pl.DataFrame(COLUMNS),
    "mapping of polars": dict(zip(COLUMNS, pl.DataFrame(COLUMNS).get_columns(), strict=True)),
    "arrow": pa.table(COLUMNS),
    "arrow in chunks": pa.concat_tables([pa.table(COLUMNS).slice(0, 1), pa.table(COLUMNS).slice(1)]),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gives_the_same_matrix(kind):
    matrix = read_matrix(FRAMES[kind], SCHEMA)
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, EXPECTED)


def test_a_torch_tensor_is_a_column_gradients_or_not():
    torch = pytest.importorskip("torch")
    frame = {"x": torch.tensor([1.0, 2.0], requires_grad=True)}
    np.testing.assert_array_equal(read_matrix(frame, FeatureSchema([DenseField("x")])), [[1.0], [2.0]])


@pytest.mark.parametrize(
    "make", [lambda x: {"x": x}, lambda x: pd.DataFrame({"x": x}, copy=False), lambda x: pa.table({"x": x})]
)
def test_columns_are_views_of_what_was_passed(make):
    values = np.arange(6.0)
    assert np.shares_memory(columns_of(make(values))["x"], values)


def test_polars_columns_are_views():
    frame = pl.DataFrame({"x": np.arange(6.0)})
    assert np.shares_memory(columns_of(frame)["x"], frame["x"].to_numpy())


def test_reading_leaves_the_frame_alone():
    frame = pd.DataFrame({"site": [1, 2], "price": [0.0, 1.0], "app": [1, 1]})
    before = frame.copy(deep=True)
    matrix = read_matrix(frame, SCHEMA)
    matrix += 1
    pd.testing.assert_frame_equal(frame, before)


NULLABLE = {
    "pandas Int64": pd.DataFrame({"x": pd.array([1, None, 3], dtype="Int64")}),
    "pandas boolean": pd.DataFrame({"x": pd.array([True, None, True], dtype="boolean")}),
    "pandas object": pd.DataFrame({"x": pd.Series([1, None, 3], dtype=object)}),
    "pandas series": {"x": pd.Series([1, None, 3], dtype="Int64")},
    "polars": pl.DataFrame({"x": [1, None, 3]}),
    "polars boolean": pl.DataFrame({"x": [True, None, False]}),
    "arrow": pa.table({"x": [1, None, 3]}),
    "arrow boolean": pa.table({"x": [True, None, False]}),
    "list": {"x": [1, None, 3]},
    "float": {"x": [1.0, float("nan"), 3.0]},
}


@pytest.mark.parametrize("kind", NULLABLE)
@pytest.mark.parametrize("field", [SparseField("x", 4), DenseField("x")])
def test_missing_values_are_refused_with_their_place_or_read_as_nan(kind, field):
    schema = FeatureSchema([field])
    with pytest.raises(FrameError, match=r"field 'x'.*nan at row 1 \(1 such rows\).*Impute"):
        read_matrix(NULLABLE[kind], schema)
    matrix = read_matrix(NULLABLE[kind], schema, missing=True)
    assert np.isnan(matrix[:, 0]).tolist() == [False, True, False]


def frame(**changed):
    columns = {"site": [4, 0, 2], "price": [0.5, -1.0, 2.0], "app": [0, 2, 1]} | changed
    return {name: values for name, values in columns.items() if values is not None}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            frame(price=None),
            r"field 'price': the background lacks columns.*missing \['price'\], has \['app', 'site'\]",
        ),
        (frame(price=["a", "b", "c"]), "field 'price': not numeric; received: dtype <U1"),
        (
            frame(price=np.array([1, "b", None], dtype=object)),
            "field 'price': not numeric; received: dtype object",
        ),
        (
            frame(price=np.array(["2026-01-01"] * 3, dtype="datetime64[D]")),
            "not numeric; received: dtype datetime64",
        ),
        (frame(price=np.array([1j, 2, 3])), "not numeric; received: dtype complex128"),
        (
            frame(price=[1.0, np.inf, 2.0]),
            r"field 'price'.*not finite; received: inf at row 1 \(1 such rows\)",
        ),
        (frame(price=[-np.inf, np.nan, 2.0]), r"-inf at row 0 \(2 such rows\)"),
        (
            frame(site=[4, 0, 5]),
            r"field 'site': an id of the background is out of range; received: 5 at row 2; expected: 0 .. 4",
        ),
        (frame(site=[4, -1, 0]), "received: -1 at row 1"),
        (
            frame(app=[0.0, 1.5, 1.0]),
            "field 'app': ids of the background must be whole numbers; received: 1.5",
        ),
        (frame(site=[], price=[], app=[]), "the background has no rows"),
        (frame(app=[0, 2]), "columns differ in length; received: {'site': 3, 'price': 3, 'app': 2}"),
        (frame(app=3), r"field 'app': a column must be 1-D; received: shape \(\)"),
        (frame(app=np.zeros((3, 2))), r"field 'app': a column must be 1-D; received: shape \(3, 2\)"),
        (frame(app=[[1], [2, 3], [4]]), "field 'app': a column must be 1-D"),
        ({}, "the background lacks columns"),
        (np.zeros((3, 3)), "not a frame; received: ndarray; expected: a mapping"),
        (pd.Series([1, 2]), "not a frame; received: Series"),
        (pl.LazyFrame({"site": [1]}), "not a frame; received: LazyFrame.*Collect lazy tables first"),
        (None, "not a frame; received: NoneType"),
        (pd.DataFrame(np.zeros((2, 2)), columns=["site", "site"]), "two columns have the same name"),
    ],
)
def test_what_does_not_fit_says_what_and_where(bad, said):
    with pytest.raises(FrameError, match=said):
        read_matrix(bad, SCHEMA, what="background")


def test_settings_let_through_what_crosses_take():
    unknown = frame(site=[4, -1, 99])
    np.testing.assert_array_equal(read_matrix(unknown, SCHEMA, known_only=False)[:, 0], [4, -1, 99])
    with pytest.raises(FrameError, match="whole numbers"):
        read_matrix(frame(site=[0.5, 1, 2]), SCHEMA, known_only=False)
    assert read_matrix(frame(site=[], price=[], app=[]), SCHEMA, allow_empty=True).shape == (0, 3)


def test_integer_column_names_are_names():
    schema = FeatureSchema([DenseField("0"), DenseField("1")])
    np.testing.assert_array_equal(read_matrix(pd.DataFrame([[1.0, 2.0]]), schema), [[1.0, 2.0]])


@pytest.mark.parametrize(
    "row",
    [
        {"site": 4, "price": 0.5, "app": 0, "note": "extra"},
        {"site": [4], "price": np.array([0.5]), "app": 0},
        pd.DataFrame(COLUMNS).iloc[0],
        pd.DataFrame(COLUMNS).iloc[:1],
        pl.DataFrame(COLUMNS)[:1],
    ],
    ids=["scalars", "arrays", "pandas row", "pandas frame", "polars frame"],
)
def test_one_row(row):
    np.testing.assert_array_equal(read_row(row, SCHEMA), EXPECTED[:1])


def test_extra_columns_are_not_even_looked_at():
    extra = {"vector": np.zeros((3, 2)), "ragged": [[1], [1, 2], []], "short": [1]}
    assert np.array_equal(read_matrix(COLUMNS | extra, SCHEMA), EXPECTED)
    vectors = pl.Series([[1.0, 2.0]] * 3, dtype=pl.Array(pl.Float64, 2))
    assert np.array_equal(read_matrix(pl.DataFrame(COLUMNS | {"vector": vectors}), SCHEMA), EXPECTED)


def test_names_that_are_the_same_as_text():
    with pytest.raises(FrameError, match="two columns have the same name"):
        read_matrix({0: [1], "0": [2]}, FeatureSchema([SparseField("0", 3)]))


def test_masked_values_are_missing():
    site = np.ma.masked_array([4, 0, 2], mask=[False, True, False])
    with pytest.raises(FrameError, match="field 'site'.*nan at row 1"):
        read_matrix(COLUMNS | {"site": site}, SCHEMA)


def test_masked_objects_are_missing_and_masked_text_is_no_number():
    site = np.ma.masked_array(np.array([4, "?", 2], dtype=object), mask=[False, True, False])
    with pytest.raises(FrameError, match="field 'site'.*nan at row 1"):
        read_matrix(COLUMNS | {"site": site}, SCHEMA)
    for text in (np.array(["4", "0", "2"]), np.array(["4", "0", "2"], dtype=object)):
        hidden = np.ma.masked_array(text, mask=[False, True, False])
        with pytest.raises(FrameError, match="field 'site'.*not numeric"):
            read_matrix(COLUMNS | {"site": hidden}, SCHEMA)


@pytest.mark.parametrize(
    ("price", "said"),
    [([1 + 2j, np.complex128(2), 1.0], "not numeric"), ([1, 2, 10**400], "inf at row 2")],
    ids=["complex", "huge"],
)
def test_objects_that_are_no_floats(price, said):
    with pytest.raises(FrameError, match=f"field 'price'.*{said}"):
        read_matrix(COLUMNS | {"price": np.array(price, dtype=object)}, SCHEMA)


def test_bfloat16_tensors():
    torch = pytest.importorskip("torch")
    price = torch.tensor([0.5, -1.0, 2.0], dtype=torch.bfloat16)
    assert np.array_equal(read_matrix(COLUMNS | {"price": price}, SCHEMA), EXPECTED)


@pytest.mark.parametrize(
    ("row", "said"), [(COLUMNS, "received: 3 rows"), ({"site": 1}, "the row lacks columns")]
)
def test_not_one_row(row, said):
    with pytest.raises(FrameError, match=said):
        read_row(row, SCHEMA)


@pytest.mark.parametrize(
    "label", ["click", [0, 1, 1], np.array([False, True, True]), pl.Series([0.0, 1.0, 1.0])]
)
def test_labels(label):
    labels = read_label(label, {"click": [0, 1, 1]}, 3)
    assert labels.dtype == np.float64
    assert labels.tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("clicks", r"field 'clicks': no such label column; expected: one of \['click'\]"),
        ([0, 1], "wrong number of labels; received: 2; expected: 3"),
        ([0, np.nan, 1], r"labels must be 0 or 1; received: nan at row 1 \(1 such rows\)"),
        ([0, 2, -1], r"received: 2.0 at row 1 \(2 such rows\)"),
        (["yes", "no", "no"], "field 'label': not numeric"),
    ],
)
def test_bad_labels(label, said):
    with pytest.raises(FrameError, match=said):
        read_label(label, {"click": [0, 1, 1]}, 3)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("as_table", [True, False])
def test_a_null_of_an_arrow_dictionary_is_missing_and_no_id(chunks, as_table):
    column = pa.chunked_array([pa.array([5, None, 7, 5]).dictionary_encode()] * chunks)
    frame = pa.table({"a": column}) if as_table else {"a": column if chunks > 1 else column.chunk(0)}
    np.testing.assert_array_equal(columns_of(frame)["a"], [5, np.nan, 7, 5] * chunks)


def test_text_of_an_arrow_dictionary_keeps_its_nulls():
    frame = pa.table({"a": pa.array(["x", None, "y"]).dictionary_encode()})
    assert list(columns_of(frame)["a"]) == ["x", None, "y"]
