"""Fields to a signature's inputs: paired only where it is certain, cast only where nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from nid_keras.signatures import Input, feeder

from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

SCHEMA = FeatureSchema([SparseField("site", 6), DenseField("price"), SparseField("item", 12)])
ROWS = np.array([[5, 0.1, 11], [0, -2.5, 3]])


def spec(name, shape=(None,), dtype="int64"):
    return Input(name, shape, dtype, {"string": object, "bool": np.bool_}.get(dtype) or np.dtype(dtype).type)


NAMED = [
    spec("item", (None, 1), "int32"),
    spec("price", (None, 1), "float64"),
    spec("site", (None,), "float32"),
]


def test_columns_go_by_name_in_the_inputs_shape_and_dtype():
    for inputs in ("auto", "mapping", "positional"):
        feeds = feeder(NAMED, SCHEMA, inputs)(ROWS)
        assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
            "site": ((2,), "float32"),
            "price": ((2, 1), "float64"),
            "item": ((2, 1), "int32"),
        }
        np.testing.assert_array_equal(np.column_stack([feeds[name] for name in SCHEMA.names]), ROWS)


def test_an_open_rank_takes_a_column():
    assert feeder([spec("a", None)], FeatureSchema([SparseField("a", 3)]), "auto")(ROWS[:, :1])[
        "a"
    ].shape == (2,)


@pytest.mark.parametrize("width", [3, None])
def test_one_input_of_p_columns_is_a_matrix(width):
    feeds = feeder([spec("keras_tensor_8", (None, width), "float32")], SCHEMA, "auto")(ROWS)
    assert feeds["keras_tensor_8"].dtype == np.float32
    np.testing.assert_array_equal(feeds["keras_tensor_8"], ROWS.astype(np.float32))


def test_a_field_alone_is_a_matrix_or_a_column():
    one = FeatureSchema([SparseField("a", 6)])
    assert feeder([spec("x", (None, 1))], one, "auto")(ROWS[:, :1])["x"].shape == (2, 1)
    assert feeder([spec("a")], one, "auto")(ROWS[:, :1])["a"].shape == (2,)


def test_an_order_is_taken_only_when_asked_for_and_counts_like_a_framework():
    fields = FeatureSchema([SparseField(f"f{i}", 20) for i in range(11)])
    names = sorted(f"input_{i}" for i in range(1, 12))
    assert names[1] == "input_10"
    signature = [spec(name) for name in names]
    with pytest.raises(SettingError, match=r"'input_1', 'input_2', .*inputs=\"positional\""):
        feeder(signature, fields, "auto")
    feeds = feeder(signature, fields, "positional")(np.arange(11.0)[None])
    assert {name: int(array[0]) for name, array in feeds.items()} == {f"input_{i + 1}": i for i in range(11)}


def test_an_order_that_contradicts_the_names_is_refused():
    with pytest.raises(SettingError, match="fed another") as caught:
        feeder([spec("a"), spec("price", (None,), "float32"), spec("site")], SCHEMA, "positional")
    assert caught.value.field == "item"
    # Nothing contradicts here: the names that are fields stand where the fields do.
    feeder([spec("zzz"), spec("price", (None,), "float32"), spec("a")], SCHEMA, "positional")


@pytest.mark.parametrize(
    ("signature", "inputs", "said"),
    [
        ([spec("site"), spec("price")], "auto", r"no input for \['item'\]"),
        ([*NAMED, spec("hour")], "auto", r"no field for \['hour'\]"),
        (
            [spec("sparse", (None, 2)), spec("dense", (None, 1), "float32")],
            "auto",
            r"sparse: int64 \(None, 2\)",
        ),
        ([NAMED[0], NAMED[1], spec("site", (None, 4))], "auto", r"site: int64 \(None, 4\)"),
        ([spec("x", (None, 5), "float32")], "auto", "one matrix of 3 columns"),
        ([spec("x", None, "float32")], "matrix", r"x: float32 \(...\)"),
        (NAMED, "matrix", "one matrix of 3 columns"),
        ([spec("x", (None, 3), "float32")], "mapping", "named"),
        ([spec("x"), spec("y")], "positional", r"no field for \['x', 'y'\]"),
        ([spec("site", (32,)), *NAMED[:2]], "auto", "open batch dimension"),
        ([spec("site", ()), *NAMED[:2]], "auto", "batches of any size"),
        (NAMED, "columns", "'columns'"),
    ],
)
def test_what_does_not_fit_is_told_with_the_signature(signature, inputs, said):
    with pytest.raises(SettingError, match=said):
        feeder(signature, SCHEMA, inputs)


@pytest.mark.parametrize(
    ("dtype", "most"),
    [
        ("bool", 2),
        ("int8", 2**7),
        ("uint8", 2**8),
        ("float16", 2**11),
        ("float32", 2**24),
        ("int32", 2**31),
        ("int64", 2**53),
        ("float64", 2**53),
    ],
)
def test_every_id_must_fit_the_dtype(dtype, most):
    rows = np.array([[most - 1.0]])
    fitting = FeatureSchema([SparseField("a", most)])
    assert feeder([spec("a", (None,), dtype)], fitting, "auto")(rows)["a"].astype(float) == rows
    if most < 2**53:
        for shape in [(None,), (None, 1)]:
            with pytest.raises(SchemaError, match=f"at most {most}") as caught:
                feeder([spec("a", shape, dtype)], FeatureSchema([SparseField("a", most + 1)]), "auto")
            assert caught.value.field == "a"


def test_bfloat16_keeps_ids_up_to_256():
    dtypes = pytest.importorskip("ml_dtypes")
    own = Input("a", (None,), "bfloat16", dtypes.bfloat16)
    ids = np.arange(256.0)[:, None]
    np.testing.assert_array_equal(
        feeder([own], FeatureSchema([SparseField("a", 256)]), "auto")(ids)["a"].astype(float), ids[:, 0]
    )
    assert float(np.float64(257).astype(dtypes.bfloat16)) != 257
    with pytest.raises(SchemaError, match="at most 256"):
        feeder([own], FeatureSchema([SparseField("a", 257)]), "auto")


@pytest.mark.parametrize(("dtype", "said"), [("string", "other than numbers"), ("int64", "whole numbers")])
def test_a_dense_field_needs_floats(dtype, said):
    with pytest.raises(SchemaError, match=said) as caught:
        feeder([NAMED[0], spec("price", (None,), dtype), NAMED[2]], SCHEMA, "auto")
    assert caught.value.field == "price"


def test_a_callable_names_the_inputs_and_its_arrays_are_fitted():
    signature = [
        spec("ids", (None, 2), "int32"),
        spec("cost", (None, 1), "float32"),
        spec("tag", (None,), "string"),
    ]

    def inputs(columns):
        assert columns["site"].dtype == np.int64
        ids = np.stack([columns["site"], columns["item"]], axis=1)
        return (), {"ids": ids, "cost": columns["price"].astype(np.float64), "tag": ["a", "b"]}

    feeds = feeder(signature, SCHEMA, inputs)(ROWS)
    assert feeds["ids"].dtype == np.int32
    assert (feeds["cost"].dtype, feeds["cost"].shape) == (np.float32, (2, 1))
    assert feeds["tag"] == ["a", "b"]
    one = feeder([spec("x", (None,), "int64")], SCHEMA, lambda columns: ((columns["site"][:, None],), {}))(
        ROWS
    )
    np.testing.assert_array_equal(one["x"], [5, 0])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda c: ((c["site"], c["item"]), {}), "by name"),
        (lambda c: ((), {"site": c["site"]}), r"does not give .*'site'"),
        (lambda c: ((), {"a": c["site"] + 2**31, "b": c["item"]}), "do not fit the input 'a'"),
        (lambda c: ((), {"a": c["price"], "b": c["item"]}), "do not fit the input 'a'"),
        (lambda c: ((), {"a": np.full(2, np.nan), "b": c["item"]}), "do not fit the input 'a'"),
        (lambda c: ((), {"a": c["site"], "b": c["item"] + 2**24 - 2}), "do not fit the input 'b'"),
        (lambda c: ((), {"a": c["site"], "b": np.full(2, 2**31 - 1, np.int32)}), "do not fit the input 'b'"),
    ],
)
def test_a_callable_that_gives_something_else_is_told(made, said):
    feed = feeder([spec("a", (None,), "int32"), spec("b", (None,), "float32")], SCHEMA, made)
    with pytest.raises(SettingError, match=said):
        feed(ROWS)
