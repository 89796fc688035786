"""Counting keys in bounded memory: exact whatever the memory, no frequent key lost, and few others let through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nid_plugins.crosses.counting import DirectCounter, FilteredCounter, counter_type


def drawn(n=20_000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.zipf(1.3, n) % 10**12 * 7919 - 10**9).astype(np.int64)


def frequent(keys, threshold):
    found, counts = np.unique(keys, return_counts=True)
    return found[counts > threshold]


def count(counter, keys, parts=7):
    passes = 0
    while not counter.done:
        for part in np.array_split(keys, parts):
            counter.add(part)
        counter.close()
        passes += 1
    return passes


@pytest.mark.parametrize("threshold", [0, 2, 9.5, 200])
@pytest.mark.parametrize("memory", [1, 20_000, 2**22])
def test_result_does_not_depend_on_memory(memory, threshold):
    keys = drawn()
    counter = FilteredCounter(memory, threshold, len(keys))
    passes = count(counter, keys)
    assert np.array_equal(counter.keys, frequent(keys, threshold))
    assert counter.passed >= len(counter.keys)
    assert passes == 2 if memory == 2**22 else passes >= 2


def test_little_memory_takes_more_passes_and_no_more_keys():
    keys = np.arange(5000, dtype=np.int64)
    counter = FilteredCounter(1, 0, len(keys))
    assert count(counter, keys) > 10
    assert np.array_equal(counter.keys, keys)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=80),
    st.integers(0, 4),
    st.integers(1, 5),
)
def test_any_int64_keys(listed, threshold, parts):
    keys = np.array(listed, dtype=np.int64)
    counter = FilteredCounter(1, threshold, len(keys))
    count(counter, keys, parts)
    assert np.array_equal(counter.keys, frequent(keys, threshold))


def test_share_of_rare_keys_let_through_stays_below_the_bound():
    # Many keys of one row each, so that what passes is false but for the frequent ones.
    rng = np.random.default_rng(1)
    n, threshold = 400_000, 40.0
    rare = rng.integers(10**6, 2**62, n - 50_000)
    keys = rng.permutation(np.concatenate([rare, np.repeat(np.arange(1000), 50)]))
    counter = FilteredCounter(2**23, threshold, n)
    count(counter, keys)
    assert np.array_equal(counter.keys, np.arange(1000))
    counters = 2 ** int(np.log2(128 * n / threshold))  # at least
    bound = n / (threshold * counters)
    assert counter.leak <= bound
    false = counter.passed - 1000
    # What passed is binomial: five standard deviations above its mean.
    expected = counter.leak * len(rare)
    assert false <= expected + 5 * np.sqrt(expected)
    assert 0 < counter.leak < 0.01


def test_counters_shared_out_add_up():
    keys = drawn(seed=3)
    whole = FilteredCounter(20_000, 3, len(keys))
    count(whole, keys)
    first = FilteredCounter(20_000, 3, len(keys))
    while not first.done:
        second = first.fresh()
        first.add(keys[:5000])
        second.add(keys[5000:])
        first.merge(second)
        first.close()
    assert np.array_equal(first.keys, whole.keys)


def test_direct_counters():
    rng = np.random.default_rng(2)
    keys = rng.zipf(1.5, 3000) % 50
    one = DirectCounter(50, 10, 3000)
    two = one.fresh()
    one.add(keys[:1000])
    two.add(keys[1000:])
    one.merge(two)
    one.close()
    assert one.done
    assert np.array_equal(one.keys, frequent(keys, 10))


def test_counters_are_wide_enough_for_the_rows():
    assert np.iinfo(counter_type(2**32 - 1)).max >= 2**32 - 1
    assert np.iinfo(counter_type(2**32)).max >= 2**32
