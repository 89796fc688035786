"""The black box: logits of anything callable, and a typed error for everything a model can do wrong."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.blackbox import BlackBox
from nid_plugins.plugins import PluginManager, use_manager

SCHEMA = nid.FeatureSchema([nid.SparseField("site", 5), nid.DenseField("price")])
FRAME = {"site": np.array([0, 4, 2]), "price": np.array([0.5, -1.0, 2.0])}


def linear(columns):
    return 0.25 * columns["site"] + columns["price"]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.fixture(autouse=True)
def no_plugins():
    with use_manager(PluginManager(builtins={}, entry_points=False, environ={})):
        yield


def test_logits_pass_through_and_probabilities_become_logits():
    expected = linear(FRAME)
    logits = nid.wrap(linear, SCHEMA, output="logit").logits(FRAME)
    assert logits.dtype == np.float64
    np.testing.assert_array_equal(logits, expected)
    box = nid.wrap(lambda c: sigmoid(linear(c)), SCHEMA, output="probability")
    np.testing.assert_allclose(box.logits(FRAME), expected, atol=1e-12)
    assert box.saturated == 0
    assert repr(box) == "BlackBox(callable, 2 fields, output='probability')"


@pytest.mark.parametrize(
    "options",
    [
        {"schema": nid.FeatureSchema([nid.DenseField("price")])},
        {"output": "probability"},
        {"batch_size": 3},
        {"epsilon": 1e-3},
        {"inputs": "matrix"},
    ],
)
def test_options_for_what_is_wrapped_already_are_refused(options):
    with pytest.raises(nid.SettingError, match="wrapped already"):
        nid.wrap(nid.wrap(linear, SCHEMA, output="logit"), **options)


def test_a_black_box_is_wrapped_already():
    box = nid.wrap(linear, SCHEMA, output="logit")
    assert nid.wrap(box) is box


INPUTS = {
    "auto": linear,
    "mapping": linear,
    "positional": lambda site, price: 0.25 * site + price,
    "matrix": lambda m: 0.25 * m[:, 0] + m[:, 1],
}


@pytest.mark.parametrize("inputs", INPUTS)
def test_ways_of_passing_a_batch(inputs):
    box = nid.wrap(INPUTS[inputs], SCHEMA, output="logit", inputs=inputs)
    np.testing.assert_allclose(box.logits(FRAME), linear(FRAME))


def test_a_callable_says_how_a_batch_is_passed():
    box = nid.wrap(
        lambda site, *, cost: 0.25 * site + cost,
        SCHEMA,
        output="logit",
        inputs=lambda columns: ([columns["site"]], {"cost": columns["price"]}),
    )
    np.testing.assert_allclose(box.logits(FRAME), linear(FRAME))


def test_columns_have_the_dtypes_models_take_and_the_order_of_the_schema():
    seen = {}

    def model(columns):
        seen.update({name: values.dtype for name, values in columns.items()})
        return columns["price"]

    nid.wrap(model, SCHEMA, output="logit").logits({"price": [1, 2], "other": [0, 0], "site": [1.0, 2.0]})
    assert list(seen.items()) == [("site", np.dtype(np.int64)), ("price", np.dtype(np.float32))]


@pytest.mark.parametrize(("batch_size", "calls"), [(2, [2, 2, 1]), (5, [5]), (100, [5])])
def test_batches(batch_size, calls):
    sizes = []

    def model(columns):
        sizes.append(len(columns["site"]))
        return columns["price"]

    frame = {"site": np.zeros(5, dtype=int), "price": np.arange(5.0)}
    box = nid.wrap(model, SCHEMA, output="logit", batch_size=batch_size)
    np.testing.assert_array_equal(box.logits(frame), np.arange(5.0))
    assert sizes == calls


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "list"])
def test_shapes_that_are_one_score_a_row(shape):
    to = {"(n,)": lambda x: x, "(n, 1)": lambda x: x[:, None], "list": list}[shape]
    np.testing.assert_array_equal(
        nid.wrap(lambda c: to(c["price"]), SCHEMA, output="logit").logits(FRAME), FRAME["price"]
    )


def test_a_single_row_may_come_back_without_a_dimension():
    box = nid.wrap(lambda c: np.squeeze(c["price"]), SCHEMA, output="logit", batch_size=2)
    np.testing.assert_array_equal(box.logits(FRAME), FRAME["price"])  # the last batch has one row


def test_a_callable_may_return_bfloat16():
    torch = pytest.importorskip("torch")
    box = nid.wrap(
        lambda c: torch.full((len(c["price"]),), 0.5, dtype=torch.bfloat16), SCHEMA, output="logit"
    )
    assert box.logits(FRAME).tolist() == [0.5] * 3


# What models do wrong


def second_row_nan(columns):
    out = columns["price"].astype(float)
    out[1:2] = np.nan
    return out


WRONG = [
    (second_row_nan, r"returned NaN; received: 1 of rows 0\.\.2, first at row 1"),
    (
        lambda c: np.zeros((len(c["site"]), 2)),
        r"wrong shape; received: \(3, 2\) for 3 rows; expected: \(3,\) or \(3, 1\)",
    ),
    (lambda c: 0.5, r"wrong shape; received: \(\) for 3 rows"),
    (lambda c: np.zeros(len(c["site"]) + 1), r"wrong shape; received: \(4,\) for 3 rows"),
    (lambda c: np.zeros((1, len(c["site"]))), r"wrong shape; received: \(1, 3\) for 3 rows"),
    (lambda c: None, r"wrong shape; received: \(\)"),
    (lambda c: np.array(["a"] * len(c["site"])), "not numeric; received: dtype <U1"),
    (lambda c: np.array([1j] * len(c["site"])), "not numeric; received: dtype complex128"),
    (lambda c: c["shop"], r"the model raised KeyError on rows 0\.\.2: 'shop'"),
    (lambda c, d: c, r"the model raised TypeError on rows 0\.\.2"),
]


@pytest.mark.parametrize(("model", "said"), WRONG)
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_what_a_model_does_wrong_is_a_model_error(model, said, output):
    with pytest.raises(nid.ModelError, match=said):
        nid.wrap(model, SCHEMA, output=output).logits(FRAME)


def test_a_model_that_raises_half_way_says_at_which_rows():
    def model(columns):
        if columns["price"][0] >= 4:
            raise RuntimeError("out of\nmemory")
        return columns["price"]

    box = nid.wrap(model, SCHEMA, output="logit", batch_size=2)
    with pytest.raises(nid.ModelError, match=r"RuntimeError on rows 4\.\.5") as caught:
        box.logits({"site": np.zeros(6, dtype=int), "price": np.arange(6.0)})
    assert isinstance(caught.value.__cause__, RuntimeError)
    np.testing.assert_array_equal(box.logits(FRAME), FRAME["price"])  # and it goes on working


def test_our_own_errors_come_through_as_they_are():
    def model(columns):
        raise nid.SettingError("no such thing")

    with pytest.raises(nid.SettingError, match="no such thing"):
        nid.wrap(model, SCHEMA, output="logit").logits(FRAME)


@pytest.mark.parametrize("bad", [[0.5, 1.2, 0.1], [0.5, -0.1, 0.2], [np.inf, 0.5, 0.5]])
def test_probabilities_outside_the_unit_interval(bad):
    with pytest.raises(
        nid.ModelError, match=r'not probabilities; .*expected: values in \[0, 1\]; Pass output="logit"'
    ):
        nid.wrap(lambda c: np.array(bad), SCHEMA, output="probability").logits(FRAME)


def test_saturated_probabilities_are_clipped_at_epsilon_and_counted():
    box = nid.wrap(lambda c: np.array([0.0, 1.0, 0.5]), SCHEMA, output="probability", epsilon=1e-4)
    limit = np.log(1 - 1e-4) - np.log(1e-4)
    np.testing.assert_allclose(box.logits(FRAME), [-limit, limit, 0.0])
    assert box.saturated == 2
    box.logits(FRAME)
    assert box.saturated == 4


def test_infinite_logits_are_clipped_to_the_same_range_and_counted():
    box = nid.wrap(lambda c: np.array([np.inf, -np.inf, 3.0]), SCHEMA, output="logit")
    limit = np.log1p(-1e-7) - np.log(1e-7)
    np.testing.assert_allclose(box.logits(FRAME), [limit, -limit, 3.0])
    assert box.saturated == 2


def test_the_frame_is_checked_before_the_model_sees_it():
    def model(columns):
        raise AssertionError("must not be called")

    box = nid.wrap(model, SCHEMA, output="logit")
    with pytest.raises(
        nid.FrameError, match="field 'site': an id of the frame is out of range; received: 5 at row 0"
    ):
        box.logits({"site": [5], "price": [0.0]})
    with pytest.raises(nid.FrameError, match="has no rows"):
        box.logits({"site": [], "price": []})


# Rows as a predictor asks for them


def test_rows_are_made_batch_by_batch_in_the_dtype_the_predictor_names():
    class Halving(nid.Predictor):
        output = "logit"
        row_dtype = "float32"

        def __call__(self, rows):
            given.append(rows.dtype)
            return rows[:, 0] / 2

    given, asked = [], []

    def make(part, dtype):
        asked.append(part)
        return np.arange(20.0).reshape(10, 2)[part].astype(dtype)

    box = BlackBox(Halving(), SCHEMA, adapter="halving", batch_size=4, epsilon=1e-7)
    made = box.logits_from(10, make)
    assert asked == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert given == [np.float32] * 3
    np.testing.assert_array_equal(made, np.arange(10.0))
    np.testing.assert_array_equal(box.logits_of(np.arange(20.0).reshape(10, 2)), made)
    assert given[3:] == [np.float64] * 3
    given.clear()
    nid.wrap(lambda m: given.append(m.dtype) or m[:, 0], SCHEMA, output="logit", inputs="matrix").logits_from(
        2, lambda part, dtype: np.ones((2, 2), dtype)
    )
    assert given == [np.float64], "a function is given what it always is"


def test_a_predictor_may_have_a_dtype_of_its_own():
    class Own(nid.Predictor):
        output = "logit"

        def __init__(self):
            self.dtype = "float32"

        def __call__(self, rows):
            assert rows.dtype == np.float64
            return rows[:, 0]

    box = BlackBox(Own(), SCHEMA, adapter="own", batch_size=4, epsilon=1e-7)
    assert box.logits_from(3, lambda part, dtype: np.ones((3, 2), dtype)).tolist() == [1.0, 1.0, 1.0]


# What is asked for wrongly


@pytest.mark.parametrize(
    ("model", "options", "error", "said"),
    [
        (linear, {}, nid.SettingError, "a plain callable must say what it returns"),
        (linear, {"output": "logits"}, nid.SettingError, "unknown output; received: 'logits'"),
        (linear, {"output": ["logit"]}, nid.SettingError, r"unknown output; received: \['logit'\]"),
        (linear, {"output": "logit", "adapter": []}, nid.SettingError, r"unknown adapter; received: \[\]"),
        (linear, {"output": "logit", "epsilon": 0.0}, nid.SettingError, "epsilon out of range"),
        (linear, {"output": "logit", "epsilon": 0.5}, nid.SettingError, "epsilon out of range"),
        (linear, {"output": "logit", "epsilon": "small"}, nid.SettingError, "epsilon out of range"),
        (linear, {"output": "logit", "batch_size": 0}, nid.SettingError, "batch_size out of range"),
        (linear, {"output": "logit", "batch_size": 2.0}, nid.SettingError, "batch_size out of range"),
        (
            linear,
            {"output": "logit", "adapter": "none"},
            nid.SettingError,
            "unknown adapter; received: 'none'",
        ),
        (linear, {"output": "logit", "schema": ["site"]}, nid.SettingError, "not a schema; received: list"),
        (
            linear,
            {"output": "logit", "schema": None},
            nid.UnsupportedError,
            "has no schema of its own.*Pass schema=",
        ),
        (
            {},
            {"output": "logit"},
            nid.UnsupportedError,
            "no adapter claims the model; received: builtins.dict",
        ),
    ],
)
def test_what_cannot_be_wrapped(model, options, error, said):
    with pytest.raises(error, match=said):
        nid.wrap(model, **{"schema": SCHEMA, **options})


def test_unknown_way_of_passing_inputs():
    box = nid.wrap(linear, SCHEMA, output="logit", inputs="tuple")
    assert isinstance(box, BlackBox)
    with pytest.raises(nid.SettingError, match="unknown way of passing inputs; received: 'tuple'"):
        box.logits(FRAME)


def test_probabilities_are_the_model_s_own_and_logits_are_put_through_the_sigmoid():
    scores = np.array([0.0, 1.0, 0.25])  # logits() would clip the first two
    box = nid.wrap(lambda c: scores, SCHEMA, output="probability")
    np.testing.assert_array_equal(box.probabilities(FRAME), scores)
    assert box.saturated == 0
    box = nid.wrap(linear, SCHEMA, output="logit")
    np.testing.assert_allclose(box.probabilities(FRAME), sigmoid(linear(FRAME)), rtol=1e-12)


@pytest.mark.parametrize(
    ("scores", "output", "match"),
    [
        ([0.1, np.inf, 2.0], "logit", "infinity"),
        ([0.1, np.nan, 2.0], "logit", "NaN"),
        ([0.1, 0.2, 1.5], "probability", "not probabilities"),
        ([0.1, 0.2], "probability", "wrong shape"),
    ],
)
def test_what_cannot_be_served_as_a_probability_is_an_error(scores, output, match):
    box = nid.wrap(lambda c: np.array(scores), SCHEMA, output=output)
    with pytest.raises(nid.ModelError, match=match):
        box.probabilities(FRAME)
