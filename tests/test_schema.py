"""Schemas by hand, inferred, and from a description; every inconsistency a typed error."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nid_plugins import (
    Adapter,
    DenseField,
    FeatureSchema,
    FrameError,
    PluginManager,
    SchemaError,
    SparseField,
    UnsupportedError,
    hookimpl,
)
from nid_plugins.plugins import use_manager

SCHEMA = FeatureSchema([SparseField("site", 5, oov=4), DenseField("price"), SparseField("app", 3)])


def test_a_schema_is_an_ordered_sequence_with_names():
    assert SCHEMA.names == ("site", "price", "app")
    assert len(SCHEMA) == 3
    assert list(SCHEMA) == [SCHEMA[0], SCHEMA[1], SCHEMA[2]]
    assert SCHEMA["price"] == SCHEMA[1] == DenseField("price")
    assert SCHEMA[-1].name == "app"
    assert SCHEMA.index_of("app") == 2
    assert "site" in SCHEMA
    assert DenseField("price") in SCHEMA
    assert "shop" not in SCHEMA
    assert SCHEMA.sparse == (SparseField("site", 5, oov=4), SparseField("app", 3))
    assert SCHEMA.dense == (DenseField("price"),)


def test_equal_schemas_are_equal_and_order_matters():
    again = FeatureSchema(list(SCHEMA))
    assert again == SCHEMA
    assert hash(again) == hash(SCHEMA)
    assert FeatureSchema(list(SCHEMA)[::-1]) != SCHEMA
    assert eval(repr(SCHEMA)) == SCHEMA  # noqa: S307 - the representation is code


def test_description_round_trip_through_json():
    spec = json.loads(json.dumps(SCHEMA.to_dict()))
    assert FeatureSchema.from_dict(spec) == SCHEMA
    numpy_made = FeatureSchema([SparseField("a", np.int64(7), oov=np.int32(0))])
    assert FeatureSchema.from_dict(json.loads(json.dumps(numpy_made.to_dict()))) == numpy_made


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"fields": 3},
        {"fields": [{"name": "a"}]},
        {"fields": [{"kind": "sparse", "name": "a"}]},
        {"fields": [{"kind": "dens", "name": "a"}]},
        {"fields": ["a"]},
        {"fields": [{"kind": "sparse", "name": "a", "cardinality": "7"}]},
        {"fields": []},
    ],
)
def test_malformed_description(spec):
    with pytest.raises(SchemaError):
        FeatureSchema.from_dict(spec)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SparseField("a", 0), "cardinality must be positive; received: 0"),
        (lambda: SparseField("a", -3), "cardinality must be positive"),
        (lambda: SparseField("a", 2.0), "cardinality is not an integer; received: 2.0"),
        (lambda: SparseField("a", True), "cardinality is not an integer"),
        (lambda: SparseField("a", 2**53 + 1), "cardinality too large"),
        (
            lambda: SparseField("a", 3, oov=3),
            "field 'a': the reserved id is not one of the field's ids; received: 3",
        ),
        (lambda: SparseField("a", 3, oov=-1), "an integer from 0 to 2"),
        (lambda: SparseField("a", 3, oov=0.5), "an integer from 0 to 2"),
        (lambda: SparseField("a", 3, oov="x"), "an integer from 0 to 2"),
        (lambda: SparseField("", 3), "a field needs a name"),
        (lambda: DenseField(3), "a field needs a name"),
        (lambda: FeatureSchema([]), "at least one field"),
        (lambda: FeatureSchema(["site"]), "not a field"),
        (lambda: FeatureSchema([DenseField("a"), SparseField("a", 2)]), r"more than once; received: \['a'\]"),
        (lambda: SCHEMA["shop"], "field 'shop': no such field"),
        (lambda: SCHEMA.index_of("Site"), r"expected: one of \['site', 'price', 'app'\]"),
    ],
)
def test_what_is_inconsistent(make, said):
    with pytest.raises(SchemaError, match=said):
        make()


COLUMNS = {"ids": [3, 0, 2], "flag": [True, False, True], "price": [0.5, 1.0, 2.0], "click": [0, 1, 0]}


@pytest.mark.parametrize(
    "frame",
    [
        {name: np.array(values) for name, values in COLUMNS.items()},
        COLUMNS,
        pd.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
        pd.DataFrame(COLUMNS).astype({"ids": "Int64", "flag": "boolean", "price": "Float64"}),
    ],
    ids=["arrays", "lists", "pandas", "polars", "arrow", "pandas nullable"],
)
def test_infer_from_any_frame(frame):
    assert list(FeatureSchema.infer(frame, label="click")) == [
        SparseField("ids", 4),
        SparseField("flag", 2),
        DenseField("price"),
    ]


def test_infer_reads_integers_held_as_objects():
    frame = {"ids": np.array([1, 2], dtype=object), "some": np.array([1, None], dtype=object)}
    assert list(FeatureSchema.infer(frame)) == [SparseField("ids", 3), DenseField("some")]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"ids": pd.array([1, None], dtype="Int64")}),
        pl.DataFrame({"ids": [1, None]}),
        pa.table({"ids": [True, None]}),
    ],
    ids=["pandas", "Polars", "Arrow"],
)
def test_infer_does_not_guess_about_integers_with_missing_values(table):
    with pytest.raises(SchemaError, match=r"field 'ids': not a column of ids.*some missing.*dense=\['ids'\]"):
        FeatureSchema.infer(table)
    assert list(FeatureSchema.infer(table, dense="ids")) == [DenseField("ids")]


def test_infer_takes_a_single_name_and_refuses_what_is_none():
    frame = {"ab": [1, 0], "a": [1, 1], "b": [0.5, 1.5]}
    assert FeatureSchema.infer(frame, exclude="ab").names == ("a", "b")
    with pytest.raises(SchemaError, match="not names of columns"):
        FeatureSchema.infer(frame, sparse=[0])
    with pytest.raises(SchemaError, match="field 'b': not a column of ids; received: values from 0.5 to inf"):
        FeatureSchema.infer(frame | {"b": [0.5, np.inf]}, sparse=["b"])


@pytest.mark.parametrize("fields", [None, SparseField("a", 3)])
def test_a_schema_of_no_list(fields):
    with pytest.raises(SchemaError, match="not fields"):
        FeatureSchema(fields)


def test_infer_is_overruled_by_name():
    schema = FeatureSchema.infer(
        COLUMNS | {"code": [1.0, 6.0, 2.0]}, "click", sparse=["code"], dense=["ids"], exclude=["flag"]
    )
    assert list(schema) == [DenseField("ids"), DenseField("price"), SparseField("code", 7)]


@pytest.mark.parametrize(
    ("frame", "options", "error", "said"),
    [
        (COLUMNS, {"label": "clicks"}, SchemaError, "field 'clicks': no such column"),
        (COLUMNS, {"sparse": ["x"]}, SchemaError, "field 'x': no such column"),
        (COLUMNS, {"sparse": ["ids"], "dense": ["ids"]}, SchemaError, "as sparse and as dense"),
        (
            COLUMNS,
            {"sparse": ["price"]},
            SchemaError,
            r"field 'price': not a column of ids.*dense=\['price'\]",
        ),
        ({"a": [-1, 2]}, {}, SchemaError, "values from -1.0 to 2.0"),
        ({"a": [1.0, None]}, {"sparse": ["a"]}, SchemaError, "some missing"),
        ({"a": np.array([], dtype=np.int64)}, {}, SchemaError, "from no rows"),
        ({"click": [1]}, {"label": "click"}, SchemaError, "at least one field"),
        ({"a": ["x", "y"]}, {}, FrameError, "field 'a': not numeric.*Encode strings as integer ids"),
        ([1, 2], {}, FrameError, "not a frame; received: list"),
    ],
)
def test_infer_says_what_is_wrong(frame, options, error, said):
    with pytest.raises(error, match=said):
        FeatureSchema.infer(frame, **options)


def test_of_a_model_no_adapter_claims():
    with pytest.raises(UnsupportedError, match="received: builtins.dict"):
        FeatureSchema.of({})


@pytest.mark.parametrize("columns", [[], [1, 2], ["a"], ([], []), [SparseField("a", 3)]])
def test_of_a_list_no_adapter_claims(columns):
    with pytest.raises(UnsupportedError, match="no adapter claims the feature columns"):
        FeatureSchema.of(columns)


def test_of_columns_whose_adapter_does_not_read_them():
    class Reader(Adapter):
        name = "reader"
        classes = ("no.Model",)

        def claims_columns(self, columns):
            return columns == ["mine"]

        def predictor(self, model, schema, *, inputs="auto", output="auto"):
            raise NotImplementedError

    class Plugin:
        @hookimpl
        def nid_register_adapters(self, register):
            register(Reader())

    manager = PluginManager(builtins={}, entry_points=False)
    manager.register(Plugin(), "reader")
    message = "the adapter 'reader' does not read a schema off feature columns"
    with use_manager(manager), pytest.raises(UnsupportedError, match=message):
        FeatureSchema.of(["mine"])
