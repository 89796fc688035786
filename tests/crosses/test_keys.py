"""Keys: exact ones are injective, and NumPy agrees with plain Python on anything."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins.crosses.keys import EXACT_LIMIT, INVALID, cross_keys, dense_ids, is_exact, mix64, sparse_ids

sizes_of_any_kind = st.lists(st.integers(1, 2**40), min_size=2, max_size=6)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_exact_keys_number_the_combinations(sizes):
    every = list(itertools.product(*(range(size) for size in sizes)))
    keys, valid = cross_keys(list(np.array(every, dtype=np.int64).T.copy()), sizes)
    assert valid.all()
    assert keys.tolist() == list(range(math.prod(sizes)))


@given(sizes_of_any_kind, st.data())
def test_exact_keys_are_injective(sizes, data):
    if not is_exact(sizes):
        return
    combination = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    a, b = data.draw(combination), data.draw(combination)
    keys, _ = cross_keys([np.array(pair, dtype=np.int64) for pair in zip(a, b, strict=True)], sizes)
    assert (keys[0] == keys[1]) == (a == b)
    assert keys.min() >= 0
    assert int(keys.max()) < math.prod(sizes)


@given(sizes_of_any_kind, st.data())
def test_keys_agree_with_plain_python(slow, sizes, data):
    combination = st.tuples(*(st.one_of(st.integers(0, size - 1), st.none()) for size in sizes))
    rows = data.draw(st.lists(combination, min_size=1, max_size=8))
    ids = [
        np.array([INVALID if i is None else i for i in column], dtype=np.int64)
        for column in zip(*rows, strict=True)
    ]
    before = [column.copy() for column in ids]
    keys, valid = cross_keys(ids, sizes)
    assert [int(k) if ok else None for k, ok in zip(keys, valid, strict=True)] == [
        slow.cross_key(r, sizes) for r in rows
    ]
    assert all(np.array_equal(a, b) for a, b in zip(ids, before, strict=True)), (
        "inputs are shared between crosses"
    )


def test_the_limit_of_exact_keys():
    assert is_exact((153092023, 60247241209))  # 2**63 - 1
    assert EXACT_LIMIT == 153092023 * 60247241209
    assert not is_exact((2**31, 2**32))
    last, valid = cross_keys([np.array([153092022]), np.array([60247241208])], (153092023, 60247241209))
    assert last.tolist() == [2**63 - 2]
    assert valid.all()


def test_mixed_keys_depend_on_every_member_and_its_place():
    sizes = (2**40, 2**40)
    n = 300
    i, j = (a.ravel().astype(np.int64) for a in np.meshgrid(np.arange(n), np.arange(n)))
    keys, _ = cross_keys([i, j], sizes)
    assert len(np.unique(keys)) == n * n
    swapped, _ = cross_keys([j, i], sizes)
    assert not (keys == swapped)[i != j].any()
    # Well mixed: each of the 64 bits is set in about half of the keys.
    bits = (keys.view(np.uint64)[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.01


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_mix64_agrees_with_plain_python(slow, values):
    assert mix64(np.array(values, dtype=np.uint64)).tolist() == [slow.mix64(v) for v in values]


@given(
    st.lists(st.one_of(st.floats(width=64), st.integers(-3, 12).map(float)), min_size=1, max_size=20),
    st.integers(1, 10),
)
def test_sparse_ids_agree_with_plain_python(slow, values, cardinality):
    finite = [v if math.isfinite(v) or math.isnan(v) else -1.0 for v in values]
    expected = [slow.member_id(v, cardinality=cardinality) for v in finite]
    assert sparse_ids(np.array(values), cardinality).tolist() == [
        INVALID if i is None else i for i in expected
    ]


@given(
    st.lists(st.floats(allow_nan=True, width=64), min_size=1, max_size=20),
    st.lists(st.floats(allow_nan=False, width=32), max_size=8, unique_by=lambda e: e + 0.0),
)
def test_dense_ids_agree_with_plain_python(slow, values, edges):
    edges = sorted(edges)
    values = (
        values
        + edges
        + [math.nextafter(e, math.inf) for e in edges]
        + [math.nextafter(e, -math.inf) for e in edges]
    )
    expected = [slow.member_id(v, edges=edges) for v in values]
    ids = dense_ids(np.array(values), np.array(edges, dtype=np.float32))
    assert ids.tolist() == [INVALID if i is None else i for i in expected]
