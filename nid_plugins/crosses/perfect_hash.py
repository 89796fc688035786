"""A perfect hash for the keys of each cross: what lets a model's graph find cross ids by three gathers.

Bisection costs 55 to 120 ns a key on a CPU, which for 40 crosses is a quarter to a half of what a small CTR model
itself costs; the gathers take about 15. The hash is hash-and-displace (Pagh, "Hash and displace: efficient evaluation
of minimal perfect hash functions", 1999): a key's first hash picks a displacement, its second hash XOR the displacement
is its slot, and displacements are chosen so that no two known keys share a slot. Every slot keeps its key, so an
unknown key is told for certain.

Models that are saved with these tables are read by later versions: :func:`mix` and :func:`table_sizes` stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Int64Array = npt.NDArray[np.int64]

ROUND_1 = 0x9E3779B97F4A7C15 - 2**64
ROUND_2 = 0xBF58476D1CE4E5B9 - 2**64
SHIFT_1, SHIFT_2 = 29, 32
BUCKET_SHIFT = 40
"""Bits 40 to 63 of a mixed key pick its bucket, the low bits its slot."""

_MOST_BUCKETS = 2**23


@dataclass(frozen=True, eq=False)
class HashTables:
    """The hash of K crosses, their tables one after the other.

    ``mixed = mix(key + salt)``; ``bucket = (mixed >> 40) & bucket_mask + bucket_start``;
    ``slot = ((mixed & slot_mask) ^ displacement[bucket]) + slot_start``; the id is ``slot_id[slot]`` where
    ``slot_key[slot] == key``, else 0.

    Attributes:
        salt: Shape (K, 1), int64; likewise the masks and starts.
        bucket_mask: Buckets of a cross, a power of two, less 1.
        bucket_start: Where its buckets start.
        slot_mask: Slots of a cross, a power of two, less 1.
        slot_start: Where its slots start.
        displacement: One a bucket, int32.
        slot_key: One a slot, int64; 0 in a free one.
        slot_id: One a slot, int32; 0 in a free one.
    """

    salt: Int64Array
    bucket_mask: Int64Array
    bucket_start: Int64Array
    slot_mask: Int64Array
    slot_start: Int64Array
    displacement: npt.NDArray[np.int32]
    slot_key: Int64Array
    slot_id: npt.NDArray[np.int32]


def table_sizes(size: int) -> tuple[int, int]:
    """Return the numbers of buckets and slots for a vocabulary of some size; at most half of the slots are taken."""
    buckets = min(1 << max(size - 1, 0).bit_length(), _MOST_BUCKETS)
    return buckets, 2 << max(size - 1, 1).bit_length()


def layout(sizes: Sequence[int]) -> dict[str, Int64Array]:
    """Return the masks and starts of :class:`HashTables` for vocabularies of these sizes, shape (K, 1) each."""
    both = np.array([table_sizes(size) for size in sizes], dtype=np.int64).reshape(-1, 2)
    starts = np.cumsum(both, axis=0) - both
    buckets, slots = both[:, :1], both[:, 1:]
    return {
        "bucket_mask": buckets - 1,
        "bucket_start": starts[:, :1],
        "slot_mask": slots - 1,
        "slot_start": starts[:, 1:],
    }


def mix(keys: Int64Array) -> Int64Array:
    """Return keys mixed, int64; products wrap round modulo 2**64 and shifts keep the sign.

    Only ever compared with itself, so sign-extending shifts will do.
    """
    mixed = keys * np.int64(ROUND_1)
    mixed = (mixed ^ (mixed >> SHIFT_1)) * np.int64(ROUND_2)
    return np.asarray(mixed ^ (mixed >> SHIFT_2))


def hash_tables(keys: Sequence[Int64Array]) -> HashTables:
    """Return the hash of the vocabularies of some crosses.

    Args:
        keys: One array a cross, int64, shape (V,), strictly ascending. The key at position ``i`` has id ``i + 1``.
    """
    parts = [_hash_one(own) for own in keys]
    ids = np.concatenate([own for _, _, own in parts])
    held = [np.concatenate(([0], own))[taken] for own, (_, _, taken) in zip(keys, parts, strict=True)]
    return HashTables(
        salt=np.array([[salt] for salt, _, _ in parts], dtype=np.int64),
        displacement=np.concatenate([displacement for _, displacement, _ in parts]),
        slot_key=np.concatenate(held).astype(np.int64),
        slot_id=ids,
        **layout([len(own) for own in keys]),
    )


def _hash_one(keys: Int64Array) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return salt, displacements and the id in each slot (0 for a free one) for one cross."""
    n = len(keys)
    buckets, slots = table_sizes(n)
    rng = np.random.default_rng(n)
    while True:
        # Two keys alike in both hashes cannot be parted; with another salt they are not alike.
        salt = int(rng.integers(-(2**62), 2**62))
        mixed = mix(keys + np.int64(salt))
        bucket = (mixed >> BUCKET_SHIFT) & (buckets - 1)
        slot = mixed & (slots - 1)
        if len(np.unique(bucket * slots + slot)) == n:
            return (salt, *_displace(bucket, slot, buckets, slots, rng))


def _displace(
    bucket: Int64Array, slot: Int64Array, buckets: int, slots: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    displacement = np.zeros(buckets, dtype=np.int32)
    ids = np.zeros(slots, dtype=np.int32)
    order = np.argsort(bucket, kind="stable")
    names, starts, sizes = np.unique(bucket[order], return_index=True, return_counts=True)
    for size in np.unique(sizes)[::-1]:  # the fullest first, while there is room
        waiting = np.flatnonzero(sizes == size)
        members = order[starts[waiting][:, None] + np.arange(size)]  # (buckets of this size, size)
        while len(waiting):
            trial = rng.integers(0, slots, size=len(waiting))
            place = slot[members] ^ trial[:, None]
            free = (ids[place] == 0).all(axis=1)
            # Of the buckets that want the same slot, the one writing last has it.
            claimed = np.full(slots, -1, dtype=np.int64) if len(waiting) * 4 > slots else None
            won = free & _unclaimed(place, free, claimed)
            displacement[names[waiting[won]]] = trial[won]
            ids[place[won]] = members[won] + 1
            waiting, members = waiting[~won], members[~won]
    return displacement, ids


def _unclaimed(
    place: Int64Array, free: npt.NDArray[np.bool_], claimed: Int64Array | None
) -> npt.NDArray[np.bool_]:
    """Return which buckets got every slot they want when all free ones ask at once."""
    owner = np.broadcast_to(np.arange(len(place))[:, None], place.shape)
    if claimed is None:  # few buckets: number the slots in question instead of touching all of them
        _, numbered = np.unique(place, return_inverse=True)
        place = numbered.reshape(place.shape)
        claimed = np.full(int(place.max()) + 1, -1, dtype=np.int64)
    claimed[place[free]] = owner[free]
    return np.asarray((claimed[place] == owner).all(axis=1))
