"""Buckets: the published examples, and the real kit's hash, one id at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nid_plugins import FrameError, SettingError
from nid_plugins.experiment import bucket
from nid_plugins.experiment.hashing import fnv1a32

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
gbhash = pytest.importorskip("growthbook.core").gbhash


def test_published_values_of_fnv_1a():
    # Fowler, Noll, Vo and Eastlake, "The FNV Non-Cryptographic Hash Algorithm", appendix C.
    assert fnv1a32("") == 0x811C9DC5
    assert fnv1a32("a") == 0xE40C292C
    assert fnv1a32("foobar") == 0xBF9CF968


def test_both_versions_by_hand():
    first = 0xE40C292C  # of "a"
    assert bucket(["a"], "", 1)[0] == first % 1_000 / 1_000
    assert bucket(["a"], "", 2)[0] == fnv1a32(str(first)) % 10_000 / 10_000
    assert bucket(["bar"], "foo", 2)[0] == fnv1a32(str(0xBF9CF968)) % 10_000 / 10_000
    assert bucket(["foo"], "bar", 1)[0] == 0xBF9CF968 % 1_000 / 1_000


@settings(max_examples=200, deadline=None)
@given(
    ids=st.lists(st.text(min_size=1, max_size=40), max_size=40),
    seed=st.text(max_size=10),
    version=st.sampled_from([1, 2]),
)
def test_any_text_is_hashed_as_the_kit_does(ids, seed, version):
    assert bucket(ids, seed, version).tolist() == [gbhash(seed, one, version) for one in ids]


@settings(max_examples=100, deadline=None)
@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40),
    version=st.sampled_from([1, 2]),
)
def test_integers_are_hashed_as_their_digits(ids, version):
    expected = [gbhash("s", str(one), version) for one in ids]
    assert bucket(np.array(ids, dtype=np.int64), "s", version).tolist() == expected
    assert bucket(ids, "s", version).tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.uint64])
def test_every_integer_type(dtype):
    limits = np.iinfo(dtype)
    ids = np.array([limits.min, 0, 9, 10, 99, 100, limits.max], dtype=dtype)
    assert bucket(ids).tolist() == [gbhash("exp-1", str(int(one)), 2) for one in ids]


def test_integers_beyond_64_bits():
    assert bucket([2**70, -(10**30), 3]).tolist() == [
        gbhash("exp-1", text, 2) for text in (str(2**70), str(-(10**30)), "3")
    ]


def test_long_texts_among_short_ones():
    ids = ["a", "x" * 20_000, "é" * 3_000, "😀" * 2_000, "b"]
    assert bucket(ids).tolist() == [gbhash("exp-1", one, 2) for one in ids]


def test_more_ids_than_fit_into_one_piece():
    ids = [f"user-{i}" for i in range(70_001)]
    found = bucket(ids)
    for row in (0, 32_767, 32_768, 65_535, 65_536, 70_000):
        assert found[row] == gbhash("exp-1", ids[row], 2)
    numbers = np.arange(70_001)
    assert bucket(numbers)[[0, 32_768, 70_000]].tolist() == [
        gbhash("exp-1", str(i), 2) for i in (0, 32_768, 70_000)
    ]


def test_range_and_steps():
    found = bucket(np.arange(100_000))
    assert found.dtype == np.float64
    assert found.min() >= 0
    assert found.max() < 1
    assert np.array_equal(found, np.round(found * 10_000) / 10_000)


TEXTS = ["a", "bé", "😀"]


@pytest.mark.parametrize(
    "values",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS, dtype=np.dtypes.StringDType()),
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
        pd.Index(TEXTS),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        [np.str_(text) for text in TEXTS],
    ],
    ids=lambda values: f"{type(values).__module__}.{type(values).__name__}",
)
def test_columns_of_text(values):
    assert np.array_equal(bucket(values), bucket(TEXTS))


@pytest.mark.parametrize(
    "values",
    [
        [1, "2", np.int16(-3)],
        pd.Series([1, 2, -3]),
        pd.Series([1, 2, -3], dtype="Int64"),
        pd.Series(["1", "2", "-3"], index=[5, 5, 1]),
        pl.Series([1, 2, -3]),
        pa.array([1, 2, -3]),
        pa.chunked_array([[1], [2, -3]]),
    ],
    ids=lambda values: f"{type(values).__module__}.{type(values).__name__}",
)
def test_columns_of_integers(values):
    assert np.array_equal(bucket(values), bucket(["1", "2", "-3"]))


@pytest.mark.parametrize(
    "empty", [[], (), np.array([]), pd.Series([], dtype=float), pl.Series([]), pa.array([], pa.int64())]
)
def test_no_ids(empty):
    assert bucket(empty).shape == (0,)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", None, None], "missing at rows 1, 2 (2 such rows)"),
        (["a", float("nan")], "missing at row 1"),
        ([1, pd.NA], "missing at row 1"),
        (pd.Series([1, None]), "missing at row 1"),
        (pd.Series([1, None], dtype="Int64"), "missing at row 1"),
        (pl.Series(["a", None]), "missing at row 1"),
        (pa.array([None, 1]), "missing at row 0"),
        (np.ma.array([1, 2], mask=[False, True]), "missing at row 1"),
        (["a", ""], "empty text at row 1"),
        ([1.0, 2], "float at row 0"),
        (np.array([2.0]), "2.0 at row 0"),
        (pl.Series([2.5]), "2.5 at row 0"),
        ([True, 1], "bool at row 0"),
        (np.array([True]), "dtype bool"),
        ([b"a"], "bytes b'a' at row 0"),
        (np.array([b"a"]), "dtype |S1"),
        ([["a"]], "list at row 0"),
        (pd.Series([pd.Timestamp("2030-01-01")]), "Timestamp at row 0"),
        ([10**5000], "thousands of digits at row 0"),
        ([None] * 9, "rows 0, 1, 2, 3, 4, ... (9 such rows)"),
        ("abc", "received: str"),
        (7, "received: int"),
        ({"user": [1]}, "received: dict"),
        (pd.DataFrame({"a": [1]}), "received: DataFrame"),
        (pl.LazyFrame({"a": [1]}), "received: LazyFrame"),
        ({"a", "b"}, "received: set"),
        (np.zeros((2, 2), dtype=int), "shape (2, 2)"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_id_is_named_with_its_rows(values, said):
    with pytest.raises(FrameError) as caught:
        bucket(values, name="user")
    assert caught.value.field == "user"
    assert said in str(caught.value)


@pytest.mark.parametrize("options", [{"seed": 5}, {"version": 3}, {"version": True}, {"version": "2"}])
def test_options_out_of_their_domain(options):
    with pytest.raises(SettingError) as caught:
        bucket(["a"], **options)
    assert caught.value.field in options
