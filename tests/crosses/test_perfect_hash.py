"""The perfect hash has a place for every key."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.crosses.perfect_hash import displace, table_sizes


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 20_000])
def test_no_two_keys_share_a_slot(size):
    rng = np.random.default_rng(size)
    buckets, slots = table_sizes(size)
    both = rng.choice(buckets * slots, size=size, replace=False)
    bucket, place = np.divmod(both, slots)
    found = displace(bucket.astype(np.int32), place.astype(np.int32), size, rng)
    displacement, number = found
    assert displacement.shape == (buckets,)
    assert number.shape == (slots,)
    np.testing.assert_array_equal(number[place ^ displacement[bucket]], np.arange(1, size + 1))
    assert np.count_nonzero(number) == size


def test_keys_alike_in_both_hashes_or_all_in_one_bucket_are_refused():
    rng = np.random.default_rng(0)
    assert displace(np.array([1, 1], np.int32), np.array([2, 2], np.int32), 2, rng) is None
    assert displace(np.zeros(50, np.int32), np.arange(50, dtype=np.int32), 50, rng) is None


def test_saved_models_rely_on_these_numbers():
    sizes = (1, 2, 3, 4, 5, 1000, 2**24)
    expected = [(1, 4), (2, 4), (4, 8), (4, 8), (8, 16), (1024, 2048), (2**23, 2**25)]
    assert [table_sizes(size) for size in sizes] == expected
