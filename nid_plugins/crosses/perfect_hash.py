"""Perfect hashing: a place for every key of a known set, so that a key is found, or told to be unknown, in two gathers.

Hash-and-displace (Pagh, "Hash and displace: efficient evaluation of minimal perfect hash functions", 1999): a first hash
of a key picks a displacement, a second one XOR the displacement is its slot, and displacements are chosen so that no two
keys share a slot. A bisection takes 55 to 120 ns a key on a CPU; this a few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]

_MOST_BUCKETS = 2**23
_LARGEST_BUCKET = 40


def table_sizes(size: int) -> tuple[int, int]:
    """Return the numbers of buckets and slots, powers of two, for so many keys; at most half of the slots are taken."""
    buckets = min(1 << max(size - 1, 0).bit_length(), _MOST_BUCKETS)
    return buckets, 2 << max(size - 1, 1).bit_length()


def displace(
    bucket: Int32Array, place: Int32Array, size: int, rng: np.random.Generator
) -> tuple[Int32Array, Int32Array] | None:
    """Choose displacements for keys with these hashes.

    Args:
        bucket: First hash of each key, shape (n,), below the number of buckets.
        place: Second hash, shape (n,), below the number of slots.
        size: Number of keys the tables are for; see :func:`table_sizes`.
        rng: Draws displacements.

    Returns:
        Displacement of each bucket, and the number of the key, from 1, in each slot, 0 in a free one. None where two
        keys have the same hashes or one bucket holds very many: hash differently then.
    """
    buckets, slots = table_sizes(size)
    both = bucket.astype(np.int64) * slots + place
    names, starts, sizes = np.unique(
        bucket[order := np.argsort(bucket, kind="stable")], return_index=True, return_counts=True
    )
    if sizes.max(initial=0) > _LARGEST_BUCKET or len(np.unique(both)) < len(both):
        return None
    displacement = np.zeros(buckets, dtype=np.int32)
    taken = np.zeros(slots, dtype=np.int32)
    for many in np.unique(sizes)[::-1]:  # the fullest first, while there is room
        waiting = np.flatnonzero(sizes == many)
        members = order[starts[waiting][:, None] + np.arange(many)]  # (buckets of this size, size)
        while len(waiting):
            trial = rng.integers(0, slots, size=len(waiting))
            wanted = place[members] ^ trial[:, None]
            free = (taken[wanted] == 0).all(axis=1)
            # Of the buckets that want the same slot, the one writing last has it.
            claimed = np.full(slots, -1, dtype=np.int64) if len(waiting) * 4 > slots else None
            won = free & _unclaimed(wanted, free, claimed)
            displacement[names[waiting[won]]] = trial[won]
            taken[wanted[won]] = members[won] + 1
            waiting, members = waiting[~won], members[~won]
    return displacement, taken


def _unclaimed(
    wanted: npt.NDArray[np.int64], free: npt.NDArray[np.bool_], claimed: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.bool_]:
    """Return which buckets got every slot they want when all free ones ask at once."""
    owner = np.broadcast_to(np.arange(len(wanted))[:, None], wanted.shape)
    if claimed is None:  # few buckets: number the slots in question instead of touching all of them
        _, numbered = np.unique(wanted, return_inverse=True)
        wanted = numbered.reshape(wanted.shape)
        claimed = np.full(int(wanted.max()) + 1, -1, dtype=np.int64)
    claimed[wanted[free]] = owner[free]
    return np.asarray((claimed[wanted] == owner).all(axis=1))
