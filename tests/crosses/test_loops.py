"""Compiled loops give what NumPy gives, to the bit, and nothing needs them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins import DenseField, FeatureSchema, NidWarning, SparseField, fit_crosses
from nid_plugins.crosses import loops
from nid_plugins.crosses.bins import FastBins, quantile_edges
from nid_plugins.crosses.compact import KeyNumbers
from nid_plugins.crosses.counting import FilteredCounter
from nid_plugins.crosses.files_out import coverage_of_files
from nid_plugins.crosses.keys import dense_ids
from nid_plugins.crosses.radix import QuantileCounter

SPECIAL = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1.5, -1.5],
    dtype=np.float32,
)


@pytest.fixture(autouse=True)
def as_they_were(restored_loops):
    """Every test here may load loops, or hide them."""


def load(patch):
    patch.setattr(loops, "MANY", 0)
    assert loops.for_rows(1)


@pytest.fixture
def both(monkeypatch):
    """Return a function that calls another with compiled loops and without, and returns both results."""

    def call(function):
        with monkeypatch.context() as patch:
            load(patch)
            compiled = function()
        with monkeypatch.context() as patch:
            patch.setattr(loops, "_machine", None)
            plain = function()
        return compiled, plain

    return call


def arrays_equal(pair):
    compiled, plain = pair
    assert compiled.dtype == plain.dtype
    np.testing.assert_array_equal(compiled, plain)


def kinds(values):
    """Yield the values in types and layouts that columns come in."""
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        yield values.astype(kind)
    yield np.repeat(values, 2)[::2]
    yield values.astype(">i4")
    frozen = values.copy()
    frozen.flags.writeable = False
    yield frozen


@pytest.mark.parametrize("counter", [np.uint32, np.int64])
@pytest.mark.parametrize("space", [120, 5000])
def test_keys_of_any_type_are_counted(both, counter, space):
    keys = np.random.default_rng(0).integers(0, 120, 999)
    for own in kinds(keys):

        def count(own=own):
            counters = np.full(space, 3, dtype=counter)
            loops.count(counters, own)
            return counters

        arrays_equal(both(count))
        assert count().sum() == 3 * space + 999


def test_hashed_counters_are_the_same(both):
    keys = np.random.default_rng(1).integers(-(2**62), 2**62, 5000)
    keys[::3] = 7

    def found():
        counter = FilteredCounter(2**16, 100.0, len(keys))
        while not counter.done:
            counter.add(keys)
            counter.close()
        return np.append(counter.keys, counter.passed)

    arrays_equal(both(found))


@pytest.mark.parametrize("space", [None, 300])
@pytest.mark.parametrize("known", [0, 1, 250])
def test_numbers_of_keys_are_the_same(both, space, known):
    rng = np.random.default_rng(2)
    numbers = KeyNumbers(np.sort(rng.permutation(300)[:known]), space)
    for asked in kinds(rng.integers(0, 120, 500)):
        arrays_equal(both(lambda asked=asked: numbers(asked)))
    arrays_equal(both(lambda: numbers(np.array([-1, 299, 0]))))


def some_values(seed, n=3000):
    rng = np.random.default_rng(seed)
    spread = [rng.standard_normal(n), np.round(rng.exponential(20, n), 2), np.floor(rng.exponential(3, n))]
    return np.concatenate([*spread, 1 + rng.random(n) * 1e-4, np.repeat(SPECIAL, 5)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("bins", [1, 2, 30, 4000])
def test_bins_are_the_same(both, dtype, bins):
    values = some_values(3).astype(dtype)
    finite = values[np.isfinite(values)]
    edges = quantile_edges(finite.astype(np.float32), bins, field="x")
    fast = FastBins(edges)
    compiled, plain = both(lambda: fast(values))
    np.testing.assert_array_equal(compiled, plain)
    np.testing.assert_array_equal(compiled, dense_ids(values, edges))


@given(st.lists(st.sampled_from(SPECIAL[np.isfinite(SPECIAL)].tolist()), min_size=0, max_size=6, unique=True))
def test_values_around_zero_are_on_the_right_side_of_edges_there(edges):
    edges = np.unique(np.array(edges, dtype=np.float32))
    with pytest.MonkeyPatch.context() as patch:
        load(patch)
        compiled = FastBins(edges)(SPECIAL)
    np.testing.assert_array_equal(compiled, dense_ids(SPECIAL, edges))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "_machine", None)
        np.testing.assert_array_equal(FastBins(edges)(SPECIAL), compiled)


@pytest.mark.parametrize("memory", [2**10, 2**16, 2**22])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_are_the_same(both, memory, dtype):
    values = some_values(4)
    values = values[~np.isinf(values)].astype(dtype)

    def edges():
        counter = QuantileCounter(50, memory)
        while not counter.done:
            for part in np.array_split(values, 3):
                counter.add(part)
            counter.close()
        return counter.edges("x")

    arrays_equal(both(edges))
    np.testing.assert_array_equal(edges(), quantile_edges(values, 50, field="x"))


SCHEMA = FeatureSchema(
    [
        SparseField("a", 40),
        SparseField("b", 300),
        SparseField("c", 2_000_000),
        DenseField("x"),
        DenseField("y"),
    ]
)
SETS = [("a", "b"), ("b", "x"), ("a", "x", "y"), ("c", "x"), ("a", "b", "c"), ("a", "b", "x", "y")]


def log(rows, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.zipf(1.3, rows) % 40,
            "b": (rng.zipf(1.2, rows) % 300).astype(np.int32),
            "c": (rng.zipf(1.2, rows) % 2_000_000).astype(np.int32),
            "x": np.floor(rng.exponential(2, rows)).astype(np.float32),
            "y": np.where(rng.random(rows) < 0.1, np.nan, rng.standard_normal(rows)),
        }
    )
    frame.loc[::7, "x"] = -0.0
    return frame


@pytest.mark.parametrize("memory", ["1MiB", "64MB"])
def test_a_fit_on_files_and_what_it_writes_are_the_same(both, tmp_path, memory):
    folder = tmp_path / "log"
    folder.mkdir()
    for number in range(3):
        log(20_000, number).to_parquet(folder / f"{number}.parquet", row_group_size=7000)
    unknown = log(5000, 9)
    unknown.loc[::5, "b"] = 1000

    def made():
        crosses = fit_crosses(SETS, folder, SCHEMA, min_count=5, memory=memory)
        out = crosses.transform(folder, out=tmp_path / "out", memory=memory)
        written = pd.read_parquet(out)
        for path in out.iterdir():
            path.unlink()
        ids = np.concatenate([written.to_numpy(), crosses.transform(unknown), crosses.transform(folder)])
        return ids, coverage_of_files(crosses, folder, memory), [cross.keys for cross in crosses.crosses]

    compiled, plain = both(made)
    for one, other in zip([*compiled[:2], *compiled[2]], [*plain[:2], *plain[2]], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(compiled[2]) == len(SETS)
    assert (compiled[0] > 0).any(axis=0).all()


def test_a_frame_in_memory_by_several_threads_is_the_same(both):
    frame = log(400_000)

    def made():
        crosses = fit_crosses(SETS, frame, SCHEMA, threads=3)
        return crosses.transform(frame, threads=3)

    arrays_equal(both(made))


def test_threads_that_ask_at_once_all_get_it(monkeypatch):
    load(monkeypatch)
    keys = np.arange(100_000) % 77

    def count(_):
        counters = np.zeros(1000, dtype=np.int64)
        loops.count(counters, keys.astype(np.int16))
        return counters[:77]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(count, range(16)):
            np.testing.assert_array_equal(found, np.bincount(keys))


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_numba_is_not_loaded_for_few_rows():
    assert run("""
        import sys
        import numpy as np
        import nid_plugins as nid

        schema = nid.FeatureSchema([nid.SparseField("a", 3), nid.SparseField("b", 3)])
        frame = {name: np.arange(9000) % 3 for name in "ab"}
        nid.fit_crosses([("a", "b")], frame, schema).transform(frame)
        print("numba" in sys.modules)
    """) == ["False"]


def test_many_rows_load_it_and_without_it_the_crosses_are_the_same():
    code = """
        import sys
        {hide}
        import numpy as np
        import nid_plugins as nid
        from nid_plugins.crosses import loops

        loops.MANY = 9000
        schema = nid.FeatureSchema([nid.SparseField("a", 3), nid.SparseField("b", 3)])
        frame = {{name: np.arange(9000) % 3 for name in "ab"}}
        crosses = nid.fit_crosses([("a", "b")], frame, schema)
        print(sys.modules.get("numba") is not None, crosses.transform(frame).sum())
    """
    assert run(code.format(hide="")) == ["True", "18000"]
    assert run(code.format(hide='sys.modules["numba"] = None')) == ["False", "18000"]


def test_a_numba_that_cannot_be_imported_is_told_and_done_without(monkeypatch):
    monkeypatch.setattr(loops, "MANY", 0)
    monkeypatch.setattr(loops, "_machine", None)
    monkeypatch.setattr(loops, "_asked", False)

    def refuse(name):
        raise ImportError("Numba needs NumPy 2.4 or less. Got NumPy 9.0.")

    monkeypatch.setattr(loops.importlib, "import_module", refuse)
    with pytest.warns(NidWarning, match=r"counted by NumPy: Numba needs NumPy 2\.4 or less"):
        assert not loops.for_rows(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not loops.for_rows(10), "told once"
    counters = np.zeros(3, dtype=np.uint32)
    loops.count(counters, np.array([0, 2, 2]))
    assert counters.tolist() == [1, 0, 2]
