"""Vocabularies: what is kept, and two ways of looking up that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins import SettingError
from nid_plugins.crosses.vocabulary import Cross, _lookup_sorted, _lookup_table, check_min_count

small_keys = st.lists(st.integers(0, 30), max_size=60)


@given(small_keys, st.sets(st.integers(0, 30), min_size=1))
def test_both_look_ups_agree_with_a_dictionary(keys, kept):
    valid = np.array([key % 5 != 0 for key in keys], dtype=bool)
    vocabulary = np.array(sorted(kept), dtype=np.int64)
    ids = {key: place + 1 for place, key in enumerate(sorted(kept))}
    expected = [ids.get(key, 0) if ok else 0 for key, ok in zip(keys, valid, strict=True)]
    array = np.array(keys, dtype=np.int64)
    # Keys of invalid rows are arbitrary, also outside the table.
    array[~valid] = -7
    for found in (_lookup_table(array, valid, vocabulary, 31), _lookup_sorted(array, valid, vocabulary)):
        assert found.dtype == np.int32
        assert found.tolist() == expected


@pytest.mark.parametrize(("rows", "expected"), [(100, 2), (20_000, 2), (1_000_000, 100)])
def test_default_min_count_is_the_papers(rows, expected):
    assert check_min_count(None, rows) == pytest.approx(expected)


@pytest.mark.parametrize("min_count", [-1, math.nan, math.inf, True, "3", [1]])
def test_bad_min_count(min_count):
    with pytest.raises(SettingError, match="min_count"):
        check_min_count(min_count, 10)


def keys_of(*keys):
    return np.array(keys, dtype=np.int64)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": ""}, "needs a name"),
        ({"fields": ("a",)}, "two or more fields"),
        ({"sizes": (3, 4, 5)}, "as many sizes"),
        ({"exact": False}, "wrong kind"),
        ({"keys": keys_of(2, 1)}, "ascending"),
        ({"keys": keys_of(1, 1)}, "ascending"),
        ({"keys": keys_of()}, "V >= 1"),
        ({"keys": np.array([1.0])}, "int64"),
        ({"keys": keys_of(-1, 2)}, "out of range"),
        ({"keys": keys_of(1, 12)}, "out of range"),
    ],
)
def test_a_cross_that_makes_no_sense_is_refused(change, match):
    good = {"name": "a__x__b", "fields": ("a", "b"), "sizes": (3, 4), "exact": True, "keys": keys_of(0, 11)}
    assert Cross(**good).vocabulary == 2
    with pytest.raises(SettingError, match=match):
        Cross(**(good | change))
