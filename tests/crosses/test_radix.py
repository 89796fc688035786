"""Quantiles by counting digits: the edges of a sort, to the last bit, with any memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nid_plugins import NidWarning
from nid_plugins.crosses.bins import FastBins, ordered_bits, quantile_edges
from nid_plugins.crosses.keys import dense_ids
from nid_plugins.crosses.radix import QuantileCounter, floats_of

pytestmark = pytest.mark.filterwarnings("ignore::nid_plugins.NidWarning")


def edges_of(values, bins, memory, parts=3):
    counter = QuantileCounter(bins, memory)
    passes = 0
    while not counter.done:
        for part in np.array_split(values, parts):
            counter.add(part)
        counter.close()
        passes += 1
    return counter.edges("x"), passes


COLUMNS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "counts": lambda rng, n: rng.poisson(2, n).astype(float),
    "amounts": lambda rng, n: np.round(rng.lognormal(2, 1, n), 2),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n)),
    "gaps": lambda rng, n: np.where(rng.random(n) < 0.4, np.nan, rng.normal(size=n)),
    "tiny and huge": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-46, 300, n),
    "both zeros": lambda rng, n: rng.choice([0.0, -0.0, 1.0], n),
    "constant": lambda rng, n: np.full(n, 3.5),
    "always missing": lambda rng, n: np.full(n, np.nan),
}


@pytest.mark.parametrize("memory", [1, 3000, 2**25])
@pytest.mark.parametrize("kind", COLUMNS)
def test_edges_are_those_of_a_sort(kind, memory):
    for n, bins in ((1, 5), (7, 100), (2000, 1), (2000, 2), (2000, 100)):
        values = COLUMNS[kind](np.random.default_rng(n), n)
        found, passes = edges_of(values, bins, memory)
        expected = quantile_edges(values, bins, field="x")
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)
        assert not np.signbit(found[found == 0]).any()
        assert passes <= (2 if memory == 2**25 else 32)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)), st.integers(1, 12))
def test_any_float32(values, bins):
    assert np.array_equal(edges_of(values, bins, 1)[0], quantile_edges(values, bins, field="x"))


def test_counters_shared_out_add_up():
    values = np.random.default_rng(0).normal(size=3000)
    first = QuantileCounter(10, 2**14)
    while not first.done:
        second = first.fresh()
        first.add(values[:700])
        second.add(values[700:])
        first.merge(second)
        first.close()
    assert np.array_equal(first.edges("x"), quantile_edges(values, 10, field="x"))


def test_one_bin_is_said():
    counter = QuantileCounter(10, 2**12)
    while not counter.done:
        counter.add(np.ones(5))
        counter.close()
    with pytest.warns(NidWarning, match="'x' is constant"):
        assert not len(counter.edges("x"))


@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, allow_nan=False)))
def test_ordered_bits_order_like_values_and_go_back(values):
    bits = ordered_bits(values)
    assert np.array_equal(np.sort(bits), ordered_bits(np.sort(values)))
    assert np.array_equal(floats_of(bits), values)


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind not in {"always missing", "gaps"}])
def test_fast_bins_are_the_formats(kind):
    rng = np.random.default_rng(5)
    with np.errstate(over="ignore"):
        edges = np.unique(COLUMNS[kind](rng, 60).astype(np.float32)) + np.float32(0)
        beside = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    values = np.concatenate([COLUMNS[kind](rng, 500), edges, *beside, [np.nan, 0.0, -0.0, 1e300, -1e300]])
    fast = FastBins(edges)
    assert np.array_equal(fast(values), dense_ids(values, edges))
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    assert np.array_equal(fast(narrow), dense_ids(narrow, edges))
    assert FastBins(np.empty(0, np.float32))(np.array([1.0, np.nan])).tolist() == [0, -1]
