"""The tables a graph finds cross ids by agree with bisection, for vocabularies of every size and shape."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nid_plugins.crosses import Cross
from nid_plugins.crosses.keys import cross_keys, is_exact
from nid_plugins.crosses.lookup import PLACE_SHIFT, groups_of, kind_of, tables_of


def rows_by_the_book(group, tables, members):
    """Follow the module's docstring, in NumPy. ``members``: ids of each member of each cross, (longest, k, n)."""
    dtype = np.int32 if group.kind == "narrow" else np.int64
    with np.errstate(over="ignore"):
        code = (members.astype(dtype) * tables["multiplier"]).sum(axis=0, dtype=dtype)
        word = code if group.kind == "narrow" else (code >> 32).astype(np.int32)
        place = code ^ (code >> PLACE_SHIFT) if group.kind == "narrow" else code.astype(np.int32) ^ word
    bucket = ((word >> group.bucket_shift) & group.bucket_mask) + group.bucket_start
    slot = ((place & group.slot_mask) ^ tables["displacement"][bucket]) + group.slot_start
    if group.kind == "narrow":
        entry = tables["entry"][slot]
        return np.where((entry >> 32) == code, entry & 0xFFFFFFFF, 0)
    return np.where(tables["slot_code"][slot] == code, tables["slot_row"][slot], 0)


def ids_by_the_book(crosses, positions, ids):
    """Return ids by way of the tables, for member ids (fields, n) where a missing one is the field's size."""
    spec = [
        {"fields": c.fields, "sizes": c.sizes, "exact": c.exact, "vocabulary": c.vocabulary} for c in crosses
    ]
    out = np.zeros((len(crosses), ids.shape[1]), dtype=np.int64)
    ids = np.concatenate([ids, np.zeros((1, ids.shape[1]), np.int64)])
    for group in groups_of(spec, positions):
        tables = tables_of(group, crosses)
        assert {name: (own.shape, own.dtype.name) for name, own in tables.items()} == group.shapes()
        if group.kind == "mixed":
            members = np.stack(
                [
                    cross_keys([ids[positions[n]] for n in crosses[k].fields], crosses[k].sizes)[0]
                    for k in group.positions
                ]
            )[None]
        else:
            members = ids[group.members]
        found = rows_by_the_book(group, tables, members)
        out[list(group.positions)] = np.maximum(found - group.first_row, 0)
    return out


def cross_of(name, fields, sizes, keys):
    return Cross(name, fields, sizes, is_exact(sizes), np.unique(np.asarray(keys, dtype=np.int64)))


def expected_ids(cross, ids, positions):
    members = [
        np.where(ids[positions[n]] < s, ids[positions[n]], -1)
        for n, s in zip(cross.fields, cross.sizes, strict=True)
    ]
    return cross.lookup(*cross_keys(members, cross.sizes))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 2**22), min_size=2, max_size=5), st.integers(1, 300), st.integers(0, 2**32))
def test_random_crosses_of_random_fields(cardinalities, kept, seed):
    rng = np.random.default_rng(seed)
    names = [f"f{i}" for i in range(len(cardinalities))]
    positions = {name: i for i, name in enumerate(names)}
    seen = np.stack([rng.integers(0, size, kept) for size in cardinalities])
    asked = np.concatenate(
        [seen, np.stack([rng.integers(0, size + 1, 200) for size in cardinalities])], axis=1
    )
    crosses = []
    for fields in itertools.islice(itertools.chain(itertools.combinations(names, 2), [tuple(names)]), 8):
        at = [positions[n] for n in fields]
        sizes = tuple(cardinalities[i] for i in at)
        keys, valid = cross_keys([seen[i] for i in at], sizes)
        crosses.append(cross_of("__x__".join(fields) + str(len(crosses)), fields, sizes, keys[valid]))
    found = ids_by_the_book(crosses, positions, asked)
    for k, cross in enumerate(crosses):
        np.testing.assert_array_equal(found[k], expected_ids(cross, asked, positions))
        assert found[k, :kept].all()


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ((2, 2), "narrow"),
        ((46340, 46339), "narrow"),
        ((46341, 46341), "wide"),
        ((2**31 - 1, 2**31 - 1), "wide"),
        ((2**31, 2**32 - 1), "masked"),
        ((2**32, 2**32), "mixed"),
    ],
)
def test_the_kind_follows_from_the_sizes(sizes, kind):
    assert kind_of(sizes, exact=is_exact(sizes)) == kind
    assert (math.prod(sizes) <= 2**63 - 1) == (kind != "mixed")


@pytest.mark.parametrize("sizes", [(3, 5), (7, 60_000), (46341, 46341), (2**31, 2**32 - 1), (2**32, 2**32)])
def test_missing_members_are_found_nowhere_and_the_last_ids_are(sizes):
    rng = np.random.default_rng(1)
    positions = {"a": 0, "b": 1}
    corners = np.array(list(itertools.product(*[(0, size - 1) for size in sizes]))).T
    seen = np.concatenate([corners, np.stack([rng.integers(0, size, 100) for size in sizes])], axis=1)
    keys, valid = cross_keys(list(seen), sizes)
    cross = cross_of("ab", ("a", "b"), sizes, keys[valid])
    asked = np.concatenate(
        [seen, [[sizes[0]] * 3, [0, 1, sizes[1] - 1]], [[0, 1, sizes[0]], [sizes[1]] * 3]], axis=1
    )
    found = ids_by_the_book([cross], positions, asked)[0]
    expected = expected_ids(cross, asked, positions)
    if kind_of(sizes, exact=cross.exact) == "masked":  # whoever computes them masks these
        found[-6:] = 0
    np.testing.assert_array_equal(found, expected)
    assert found[:104].all()
    assert not found[104:].any()


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(50_000),
        np.arange(0, 50_000 * 4096, 4096),
        np.arange(0, 2**30, 2**14 + 1),
        np.concatenate([np.arange(i * 32768, i * 32768 + 3) for i in range(10_000)]),
        (np.arange(200)[:, None] * 65537 + np.arange(200)).ravel(),
    ],
    ids=["dense", "every 4096th", "sparse", "three a row", "grid"],
)
@pytest.mark.parametrize("size", [2**16, 2**31 - 2, 2**40], ids=["narrow", "wide", "wider"])
def test_regular_vocabularies_find_their_places(keys, size):
    first = max(2, -(-int(keys.max() + 1) // size) + 1)
    cross = cross_of("ab", ("a", "b"), (first, size), keys)
    ids = np.stack(np.divmod(cross.keys, size))
    found = ids_by_the_book([cross], {"a": 0, "b": 1}, ids)[0]
    np.testing.assert_array_equal(found, np.arange(1, len(cross.keys) + 1))
