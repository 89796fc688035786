"""Cross keys: one int64 for the ids of a cross's members, the same in every framework.

The format is written down in ``docs/keys.md`` and pinned by ``nid_plugins/testing/golden_keys.json``. Nothing here may change
without a new schema version of the stored artefact: keys are saved, and computed again inside models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

INVALID = -1
"""Member id of a missing, fractional or out-of-range value; the whole cross then has id 0."""

EXACT_LIMIT = 2**63 - 1
"""Largest product of member sizes for which keys are exact."""

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, made odd: the increment of splitmix64."""

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def is_exact(sizes: Sequence[int]) -> bool:
    """Return whether members of these sizes have exact (collision-free) keys."""
    return math.prod(int(size) for size in sizes) <= EXACT_LIMIT


def sparse_ids(values: npt.NDArray[np.float64], cardinality: int) -> Int64Array:
    """Return the member ids of a sparse field, shape (n,).

    The id itself, or :data:`INVALID` where the value is NaN, fractional, negative or at least ``cardinality``.

    Args:
        values: Shape (n,).
        cardinality: Number of ids of the field.
    """
    with np.errstate(invalid="ignore"):  # what int64 has no room for is some other number then
        ids = values.astype(np.int64)
    known = ids == values
    known &= (ids >= 0) & (ids < cardinality)
    return ids if known.all() else np.where(known, ids, INVALID)


def dense_ids(values: npt.NDArray[np.floating], edges: npt.NDArray[np.float32]) -> Int64Array:
    """Return the member ids (bins) of a dense field, shape (n,).

    The value is rounded to float32 first, because that is what a model's input tensor holds; its id is the number of
    edges not above it. NaN gives :data:`INVALID`.

    Args:
        values: Shape (n,).
        edges: Shape (E,), ascending; there are ``E + 1`` bins.
    """
    with np.errstate(over="ignore"):  # a value beyond float32 is infinity there, in the last bin
        rounded = values.astype(np.float32, copy=False)
    ids = np.searchsorted(edges, rounded, side="right").astype(np.int64, copy=False)
    missing = np.isnan(rounded)
    if missing.any():
        ids[missing] = INVALID
    return ids


def mix64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's finaliser of each value, arithmetic modulo 2**64.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), with the constants
    of Stafford's variant 13.
    """
    x = (x ^ (x >> np.uint64(30))) * _MULTIPLIER_1
    x = (x ^ (x >> np.uint64(27))) * _MULTIPLIER_2
    return x ^ (x >> np.uint64(31))


def cross_keys(ids: Sequence[Int64Array], sizes: Sequence[int]) -> tuple[Int64Array, BoolArray]:
    """Return the keys of a cross and which of them mean something.

    Exact when the product of the sizes is at most :data:`EXACT_LIMIT`: the mixed-radix number
    ``((id0 * s1) + id1) * s2 + id2 ...``. Otherwise ``h = 0``, then for each id ``h = mix64(h + GOLDEN + id)`` modulo
    2**64, read as a signed integer.

    Args:
        ids: One array of shape (n,) a member, in the cross's member order.
        sizes: Number of ids of each member.

    Returns:
        Keys, shape (n,), and validity, shape (n,); keys of invalid rows are arbitrary.
    """
    valid = ids[0] >= 0
    for member in ids[1:]:
        valid &= member >= 0
    if is_exact(sizes):
        keys = ids[0]
        for member, size in zip(ids[1:], sizes[1:], strict=True):
            keys = keys * np.int64(size)
            keys += member
        return keys, valid
    golden = np.uint64(GOLDEN)
    mixed = np.zeros(len(valid), dtype=np.uint64)
    for member in ids:
        mixed = mix64(mixed + (golden + member.astype(np.uint64)))
    return mixed.view(np.int64), valid
