"""The perfect hash tells every known key from every other."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.crosses.perfect_hash import BUCKET_SHIFT, hash_tables, layout, mix, table_sizes


def looked_up(tables, keys):
    mixed = mix(keys + tables.salt)
    bucket = ((mixed >> BUCKET_SHIFT) & tables.bucket_mask) + tables.bucket_start
    slot = ((mixed & tables.slot_mask) ^ tables.displacement[bucket]) + tables.slot_start
    return np.where(tables.slot_key[slot] == keys, tables.slot_id[slot], 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 20_000])
def test_it_finds_what_bisection_finds(size):
    rng = np.random.default_rng(size)
    dense = np.sort(rng.choice(4 * size, size=size, replace=False)).astype(np.int64)
    wide = np.unique(rng.integers(-(2**63), 2**63 - 1, size=size))
    asked = np.stack(
        [
            rng.integers(-3, 4 * size + 3, size=500),
            np.concatenate([rng.choice(wide, size=250), rng.integers(-(2**63), 2**63 - 1, size=250)]),
        ]
    )
    found = looked_up(hash_tables([dense, wide]), asked)
    for keys, query, ids in zip((dense, wide), asked, found, strict=True):
        at = np.searchsorted(keys, query).clip(max=len(keys) - 1)
        np.testing.assert_array_equal(ids, np.where(keys[at] == query, at + 1, 0))


def test_the_extremes_of_int64_are_keys_like_others():
    keys = np.array([-(2**63), -1, 0, 2**63 - 1])
    assert looked_up(hash_tables([keys]), keys.reshape(1, -1)).tolist() == [[1, 2, 3, 4]]
    assert looked_up(hash_tables([keys]), np.array([[1, -2, 2**62, 5]])).tolist() == [[0, 0, 0, 0]]


def test_the_layout_follows_from_the_sizes_alone():
    keys = [np.arange(5), np.arange(1), np.arange(300)]
    tables = hash_tables(keys)
    for name, values in layout([5, 1, 300]).items():
        np.testing.assert_array_equal(getattr(tables, name), values)
    buckets, slots = np.array([table_sizes(len(own)) for own in keys]).sum(axis=0)
    assert tables.displacement.shape == (buckets,)
    assert tables.slot_key.shape == tables.slot_id.shape == (slots,)


def test_saved_models_rely_on_these_numbers():
    # Worked out by hand with Python's integers.
    def by_hand(key):
        def wrapped(x):
            return (x + 2**63) % 2**64 - 2**63

        x = wrapped(key * 0x9E3779B97F4A7C15)
        x = wrapped((x ^ (x >> 29)) * 0xBF58476D1CE4E5B9)
        return x ^ (x >> 32)

    keys = [0, 1, -1, 12345678901234567, -(2**63), 2**63 - 1]
    assert mix(np.array(keys)).tolist() == [by_hand(key) for key in keys]
    assert [table_sizes(size) for size in (1, 2, 3, 4, 5, 1000, 2**24)] == [
        (1, 4),
        (2, 4),
        (4, 8),
        (4, 8),
        (8, 16),
        (1024, 2048),
        (2**23, 2**25),
    ]
