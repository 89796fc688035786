"""Columns of few distinct values take one pass, and those of many go on as if nothing had been tried."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from nid_plugins.crosses import distinct, loops
from nid_plugins.crosses.bins import quantile_edges
from nid_plugins.crosses.distinct import MOST, DistinctValues
from nid_plugins.crosses.radix import QuantileCounter


@pytest.fixture(autouse=True)
def compiled(restored_loops, monkeypatch):
    monkeypatch.setattr(restored_loops, "MANY", 0)
    assert restored_loops.for_rows(1)


def amounts(n, seed=0):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(3, 20, n), 2)
    values[::11] = np.nan
    values[::13] = -0.0
    return values


def edges_of(counter, parts):
    """Return the edges, and the passes it took, each part being counted by a counter of its own."""
    passes = 0
    while not counter.done:
        others = [counter.fresh() for _ in parts]
        for other, part in zip(others, parts, strict=True):
            other.add(part)
        for other in others:
            counter.merge(other)
        counter.close()
        passes += 1
    return counter.edges("x"), passes


def test_a_table_holds_what_numpy_counts():
    values = amounts(20_000).astype(np.float32)
    table = DistinctValues()
    assert table.add(values[:7000]) == 7000
    assert table.add(values[7000:]) == 13_000
    words, counts = table.items()
    order = np.argsort(words.view(np.float32))
    expected, times = np.unique(values[~np.isnan(values)] + np.float32(0), return_counts=True)
    np.testing.assert_array_equal(words.view(np.float32)[order], expected)
    np.testing.assert_array_equal(counts[order], times)
    assert not np.signbit(words.view(np.float32)[words.view(np.float32) == 0]).any()


def test_a_full_table_takes_no_further_value_and_still_counts_those_it_has():
    table = DistinctValues()
    values = np.arange(MOST + 5, dtype=np.float32)
    assert table.add(values) == MOST
    assert table.add(values[:10]) == 10
    assert table.add(values[MOST:]) == 0
    assert table.items()[1].sum() == MOST + 10


@pytest.mark.parametrize("bins", [1, 2, 100])
def test_few_distinct_values_take_one_pass(bins):
    values = amounts(30_000)
    found, passes = edges_of(QuantileCounter(bins, 2**25), np.array_split(values, 4))
    assert passes == 1
    np.testing.assert_array_equal(found, quantile_edges(values, bins, field="x"))
    assert not np.signbit(found[found == 0]).any()


@pytest.mark.filterwarnings("ignore::nid_plugins.NidWarning")
@pytest.mark.parametrize("values", [np.full(9, 2.5), np.full(9, np.nan), np.empty(0)])
def test_constant_and_missing_columns(values):
    found, passes = edges_of(QuantileCounter(10, 2**25), [values])
    assert passes == 1
    assert not len(found)


MANY_VALUES = np.random.default_rng(1).normal(size=MOST + 40_000)
FEW, HALF = amounts(5000), MOST // 2 + 100


@pytest.mark.parametrize(
    "parts",
    [
        [MANY_VALUES],
        [FEW, MANY_VALUES],
        [MANY_VALUES, FEW],
        [MANY_VALUES, MANY_VALUES[::-1]],
        [MANY_VALUES[:HALF], MANY_VALUES[HALF : 2 * HALF]],  # only together they are too many
        [FEW, MANY_VALUES[:HALF], MANY_VALUES[HALF : 2 * HALF], FEW],
    ],
)
def test_many_distinct_values_go_on_by_their_digits(parts):
    found, passes = edges_of(QuantileCounter(100, 2**25), parts)
    assert passes == 2
    np.testing.assert_array_equal(found, quantile_edges(np.concatenate(parts), 100, field="x"))


def test_a_worker_without_compiled_loops_counts_by_digits(monkeypatch):
    counter = QuantileCounter(20, 2**25)
    here, elsewhere = counter.fresh(), pickle.loads(pickle.dumps(counter)).fresh()
    here.add(FEW)
    with monkeypatch.context() as patch:
        patch.setattr(loops, "_machine", None)
        elsewhere.add(FEW)
    for first, second in ((here, elsewhere), (elsewhere, here)):
        merged = counter.fresh()
        merged.merge(copy.deepcopy(first))
        merged.merge(copy.deepcopy(second))
        while not merged.done:
            merged.close()
            if not merged.done:
                merged.add(np.concatenate([FEW, FEW]))
        np.testing.assert_array_equal(
            merged.edges("x"), quantile_edges(np.concatenate([FEW, FEW]), 20, field="x")
        )


def test_little_memory_has_no_table(monkeypatch):
    def fail(*_):
        raise AssertionError("no table was to be made")

    monkeypatch.setattr(distinct.loops, "count_distinct", fail)
    values = amounts(3000)
    found, passes = edges_of(QuantileCounter(10, 2**20), [values])
    assert passes >= 2
    np.testing.assert_array_equal(found, quantile_edges(values, 10, field="x"))
