"""Numbers for few of many keys."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.crosses.compact import CrossCode, KeyNumbers, MemberCodes, with_tables
from nid_plugins.crosses.keys import cross_keys


@pytest.mark.parametrize("n", [0, 1, 2, 1000, 30_000])
def test_hashed_numbers_are_places(n):
    rng = np.random.default_rng(n)
    keys = rng.permutation(
        np.unique(np.append(rng.integers(-(2**63), 2**63 - 1, n), np.zeros(min(n, 1), np.int64)))
    )
    numbers = KeyNumbers(keys)
    assert np.array_equal(numbers(keys), np.arange(1, len(keys) + 1))
    others = np.setdiff1d(np.concatenate([keys + 1, keys ^ 2**40, np.arange(-50, 50)]), keys)
    assert not numbers(others).any()
    assert not len(numbers(np.empty(0, np.int64)))


def test_tables_know_that_minus_one_is_no_key():
    assert KeyNumbers(np.array([0, 4]), 5)(np.array([-1, 0, 3, 4])).tolist() == [0, 1, 0, 2]


def test_tables_of_many_and_of_few_keys():
    for n in (2**16 - 1, 2**16):
        keys = np.arange(n) * 2
        numbers = KeyNumbers(keys, 2 * n)(np.arange(-1, 2 * n))
        assert numbers.dtype == np.int32
        assert np.array_equal(numbers[1::2], np.arange(1, n + 1))
        assert not numbers[::2].any()


@pytest.mark.parametrize("table", [True, False])
def test_member_codes_go_back_to_ids(table):
    size = 6
    some = MemberCodes(size, np.array([1, 5]), table=table)
    assert some.codes(np.array([-1, 0, 1, 5])).tolist() == [0, 0, 1, 2]
    assert some.ids(np.array([1, 2])).tolist() == [1, 5]
    everything = MemberCodes(size)
    assert everything.codes(np.array([-1, 0, 5])).tolist() == [0, 1, 6]
    assert (some.base, everything.base) == (3, size + 1)


@pytest.mark.parametrize("size", [40, 2**21, 2**31, 3_037_000_499, 2**40])
def test_keys_come_back_from_numbers(size):
    # The last but one has exact keys and no room for a further id a member, the last has mixed keys.
    ids = [np.array([0, 3, 7, size - 1]), np.array([2, 2, 0, size - 1])]
    members = {"a": MemberCodes(size), "b": MemberCodes(size)}
    code = CrossCode(["a", "b"], [size, size], members)
    codes = [members[name].codes(own) for name, own in zip("ab", ids, strict=True)]
    found = code.keys(code.numbers(codes))
    assert np.array_equal(found, np.sort(cross_keys(ids, [size, size])[0]))
    assert code.radix == (size <= 2**31)


def test_numbers_with_a_missing_member_have_no_key():
    members = {name: MemberCodes(10, np.array([2, 4])) for name in "ab"}
    code = CrossCode(["a", "b"], [10, 10], members)
    numbers = code.numbers([np.array([0, 1, 2, 2]), np.array([1, 0, 1, 2])])
    assert code.keys(numbers).tolist() == [42, 44]


def test_the_smallest_spaces_have_tables():
    assert with_tables({"a": (10, 3), "b": (300, 3), "c": (50, 3)}, 120) == {"a", "c"}
    assert with_tables({"a": (10, 3)}, 19) == set()
    # Many numbers are wider.
    assert with_tables({"a": (10**5, 2**16)}, 399_999) == set()
    assert with_tables({"a": (10**5, 2**16 - 1)}, 399_999) == {"a"}


def test_numbers_go_where_they_are_asked_to():
    keys = np.array([5, 2**40, -7])
    for numbers, wanted in (
        (KeyNumbers(keys), keys),
        (KeyNumbers(np.array([0, 3]), 9), np.array([3, -1, 8])),
    ):
        out = np.full(3, 9, dtype=np.int32)
        assert numbers(wanted, out) is out
        assert np.array_equal(out, numbers(wanted))
