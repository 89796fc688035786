"""fit_crosses on Parquet files: the very result of fitting on the same rows in memory, and what is wrong with files."""

from __future__ import annotations

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nid_plugins as nid
from nid_plugins import DenseField, FeatureSchema, FrameError, NidWarning, SettingError, SparseField
from nid_plugins.crosses import out_of_core
from nid_plugins.crosses.out_of_core import FileFit

WIDE = FeatureSchema(
    [
        SparseField("a", 50),
        DenseField("p"),
        SparseField("b", 3000),
        SparseField("u", 10**7),
        SparseField("v", 10**10),
        SparseField("w", 2**50),
        DenseField("q"),
    ]
)
SETS = [sets for size in (2, 3) for sets in itertools.combinations(WIDE.names, size)]


def wide(n=6000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a": np.minimum(rng.zipf(1.4, n), 50) - 1,
        "p": np.round(rng.lognormal(size=n), 2).astype(np.float32),
        "b": (np.minimum(rng.zipf(1.3, n), 3000) - 1) * 7 % 3000,
        "u": rng.zipf(1.3, n) * 7919 % 10**7,
        "v": rng.zipf(1.5, n) * 2_345_678 % 10**10,
        "w": rng.zipf(1.5, n) * 999_983 % 2**50,
        "q": np.where(rng.random(n) < 0.6, 0.0, rng.normal(size=n)),
    }


def write(folder, frame, parts=3, group=700):
    folder.mkdir(exist_ok=True)
    table = pa.table({name: pa.array(column, from_pandas=True) for name, column in frame.items()})
    size = -(-len(table) // parts)
    for i in range(parts):
        pq.write_table(table.slice(i * size, size), folder / f"{i}.parquet", row_group_size=group)
    return folder


def assert_same(found, expected):
    assert found.names == expected.names
    for one, other in zip(found.crosses, expected.crosses, strict=True):
        assert (one.fields, one.sizes, one.exact) == (other.fields, other.sizes, other.exact)
        assert np.array_equal(one.keys, other.keys)
    assert list(found.edges) == list(expected.edges)
    for name, edges in expected.edges.items():
        assert np.array_equal(found.edges[name], edges)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("wide"), wide())


@pytest.mark.parametrize("memory", ["1MiB", 4_000_000, "2GB"])
@pytest.mark.parametrize("min_count", [None, 25])
def test_same_as_in_memory(files, memory, min_count):
    expected = nid.fit_crosses(SETS, wide(), WIDE, bins=20, min_count=min_count)
    found = nid.fit_crosses(SETS, str(files), WIDE, bins=20, min_count=min_count, memory=memory)
    assert {cross.exact for cross in found.crosses} == {True, False}
    assert_same(found, expected)


@pytest.mark.parametrize("min_count", [0, 1])
def test_same_where_everything_is_kept_and_does_not_fit_into_memory(files, min_count):
    some = SETS[:8]
    expected = nid.fit_crosses(some, wide(), WIDE, bins=20, min_count=min_count)
    fit = FileFit(files, WIDE, bins=20, min_count=min_count, memory="1MiB")
    made, rare = fit.crosses(some, len(some))
    assert not rare
    assert_same(nid.CrossFeatures(WIDE, made, fit.edges), expected)
    assert fit.filters
    assert fit.passes > 4


def test_passes_and_columns_read(files, monkeypatch):
    read = []
    original = out_of_core.ParquetSource.batches

    def spy(self, columns, size, fragments=None):
        read.append(list(columns))
        return original(self, columns, size, fragments)

    monkeypatch.setattr(out_of_core.ParquetSource, "batches", spy)
    nid.fit_crosses([("a", "b"), ("a", "q")], files, WIDE, min_count=5)
    # Leading digits and ids; what is left of the dense one; all crosses at once.
    assert read == [["a", "b", "q"], ["q"], ["a", "b", "q"]]


def test_rare_crosses_are_passed_over_for_the_next_in_rank(files):
    frame = wide()
    report = SimpleNamespace(
        interactions=[SimpleNamespace(fields=one) for one in [("v", "w"), *SETS[:4], ("u", "w"), *SETS[4:9]]]
    )
    results = []
    for train in (frame, files):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(nid.fit_crosses(report, train, WIDE, max_crosses=6, min_count=900, bins=3))
        results.append([str(one.message) for one in caught])
        assert all(one.filename == __file__ for one in caught)
    assert_same(results[2], results[0])
    assert results[3] == results[1]
    assert len(results[0]) < 11
    for train in (frame, files):
        with pytest.raises(SettingError, match="no combination of any cross is frequent enough"):
            nid.fit_crosses(SETS[:2], train, WIDE, min_count=10**6)


def test_gaps_narrow_types_and_order_of_columns(tmp_path):
    frame = wide(2000)
    rng = np.random.default_rng(1)
    frame = {name: column.astype(float) for name, column in frame.items()}
    for column in frame.values():
        column[rng.random(2000) < 0.2] = np.nan
    expected = nid.fit_crosses(SETS[:12], frame, WIDE, min_count=3, bins=10)
    table = pa.table({name: pa.array(column, from_pandas=True) for name, column in frame.items()})
    narrow = table.cast(
        pa.schema(
            [
                ("a", pa.int8()),
                ("p", pa.float64()),
                ("b", pa.uint16()),
                ("u", pa.int32()),
                ("v", pa.uint64()),
                ("w", pa.int64()),
                ("q", pa.float64()),
            ]
        )
    )
    pq.write_table(narrow.slice(0, 900).select(WIDE.names[::-1]), tmp_path / "1.parquet")
    pq.write_table(table.slice(900, 0), tmp_path / "2.parquet")
    pq.write_table(table.slice(900).append_column("more", pa.array(["x"] * 1100)), tmp_path / "3.parquet")
    assert_same(nid.fit_crosses(SETS[:12], tmp_path, WIDE, min_count=3, bins=10), expected)


values = st.one_of(st.none(), st.integers(0, 4))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(values, values, st.none() | st.floats(-9, 9, width=32), st.sampled_from([0, 2**40])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 4),
    st.integers(0, 2),
)
def test_any_rows(tmp_path, rows, bins, min_count):
    schema = FeatureSchema(
        [SparseField("a", 5), SparseField("b", 5), DenseField("p"), SparseField("w", 2**50)]
    )
    frame = {
        name: np.array([np.nan if v is None else v for v in column], dtype=float)
        for name, column in zip(schema.names, zip(*rows, strict=True), strict=True)
    }
    write(tmp_path / "any", frame, parts=2, group=7)
    sets = [("a", "b"), ("a", "p"), ("b", "p", "w"), ("a", "w")]
    results = []
    for train in (frame, tmp_path / "any"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NidWarning)
            try:
                results.append(nid.fit_crosses(sets, train, schema, bins=bins, min_count=min_count))
            except SettingError as error:
                results.append(str(error))
    if isinstance(results[0], str):
        assert results[1] == results[0]
    else:
        assert_same(results[1], results[0])


def fit(path, **options):
    return nid.fit_crosses([("a", "b"), ("a", "p")], path, WIDE, min_count=1, **options)


def test_a_constant_dense_field_is_said(tmp_path):
    frame = wide(100) | {"p": np.ones(100)}
    with pytest.warns(NidWarning, match="'p' is constant"):
        fit(write(tmp_path / "x", frame))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.full(100, 50), "out of range"),
        (np.full(100, -1), "out of range"),
        (np.full(100, 0.5), "whole numbers"),
        (np.array(["x"] * 100), "not numeric"),
        (np.full(100, np.inf), "not finite"),
    ],
)
def test_bad_ids_are_found_with_their_file(tmp_path, column, message):
    folder = write(tmp_path / "x", wide(100), parts=1)
    write(tmp_path / "bad", wide(100) | {"a": column}, parts=1)
    (tmp_path / "bad" / "0.parquet").rename(folder / "9.parquet")
    with pytest.raises(FrameError, match=message) as caught:
        fit(folder)
    assert caught.value.field == "a"
    assert "9.parquet" in str(caught.value)


def test_infinite_dense_values(tmp_path):
    for dtype in (np.float32, np.float64):
        folder = write(tmp_path / dtype.__name__, wide(100) | {"p": np.full(100, -np.inf, dtype)})
        with pytest.raises(FrameError, match="not finite"):
            fit(folder)


def test_no_rows_and_missing_columns(tmp_path):
    empty = {name: column[:0] for name, column in wide(10).items()}
    with pytest.raises(FrameError, match="no rows"):
        fit(write(tmp_path / "empty", empty))
    folder = write(tmp_path / "full", wide(100))
    pq.write_table(pa.table({"a": [1], "p": [1.0]}), folder / "9.parquet")
    with pytest.raises(FrameError, match="lacks columns") as caught:
        fit(folder)
    assert caught.value.field == "b"
    assert "9.parquet" in str(caught.value)


@pytest.mark.parametrize("memory", ["much", "-1GB", 0, -5, 1.5, None, True, "10 parsecs", 1000, "1kB"])
def test_nonsense_for_memory(files, memory):
    with pytest.raises(SettingError, match="memory"):
        fit(files, memory=memory)
