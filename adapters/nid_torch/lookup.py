"""From cross keys to cross ids in the graph: one perfect hash a cross, three gathers whatever the vocabulary.

Bisection (``torch.searchsorted``) takes 55 to 120 ns a key on a CPU, which for 40 crosses is a quarter to a half of
what a small CTR model itself costs; the gathers take about 15. The hash is hash-and-displace (Pagh, "Hash and displace:
efficient evaluation of minimal perfect hash functions", 1999): a key's first hash picks a displacement, its second
hash XOR the displacement is its slot, and displacements are chosen so that no two known keys share a slot. Every slot
keeps its key, so an unknown key is told for certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Int64Array = npt.NDArray[np.int64]

_ROUND_1 = 0x9E3779B97F4A7C15 - 2**64
_ROUND_2 = 0xBF58476D1CE4E5B9 - 2**64
_BUCKET_SHIFT = 40  # bits 40..63 pick the bucket, the low bits the slot
_MOST_BUCKETS = 2**23


class KeyLookup(nn.Module):
    """Cross ids of cross keys.

    Args:
        keys: One array a cross, int64, shape (V,), strictly ascending. The key at position ``i`` has id ``i + 1``.

    Attributes:
        keys: Buffer, all keys one cross after the other, shape (sum of V,). The only buffer in the state dict; loading
            other keys of the same number makes the hash anew.
        sizes: V of each cross.
    """

    nid_constant = True  # forward writes to no buffer

    keys: Tensor
    salt: Tensor
    bucket_mask: Tensor
    bucket_start: Tensor
    slot_mask: Tensor
    slot_start: Tensor
    displacement: Tensor
    slot_key: Tensor
    slot_id: Tensor

    def __init__(self, keys: Sequence[Int64Array]) -> None:
        super().__init__()
        self.sizes = tuple(len(own) for own in keys)
        self.register_buffer("keys", torch.from_numpy(np.concatenate(keys)))
        for name, value in _hash_all(keys).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, keys: Tensor) -> Tensor:
        """Return the ids of keys, both int64 of shape (K, n); 0 where a cross does not have the key."""
        mixed = _mix(keys, self.salt)
        bucket = (mixed >> _BUCKET_SHIFT).bitwise_and_(self.bucket_mask).add_(self.bucket_start)
        moved = self.displacement.index_select(0, bucket.view(-1)).view(keys.shape)
        slot = mixed.bitwise_and_(self.slot_mask).bitwise_xor_(moved).add_(self.slot_start).view(-1)
        found = self.slot_key.index_select(0, slot).view(keys.shape) == keys
        return self.slot_id.index_select(0, slot).view(keys.shape) * found

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        before = self.keys.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.keys.is_meta or torch.equal(before, self.keys.to(before.device)):
            return
        split = np.split(self.keys.cpu().numpy(), np.cumsum(self.sizes)[:-1])
        for name, value in _hash_all(split).items():
            setattr(self, name, value.to(self.keys.device))


def _mix(keys: Tensor, salt: Tensor) -> Tensor:
    # Only ever compared with itself, so sign-extending shifts will do; products wrap round modulo 2**64.
    mixed = (keys + salt).mul_(_ROUND_1)
    mixed.bitwise_xor_(mixed >> 29).mul_(_ROUND_2)
    return mixed.bitwise_xor_(mixed >> 32)


def _hash_all(keys: Sequence[Int64Array]) -> dict[str, Tensor]:
    parts = [_hash_one(own) for own in keys]
    buckets = np.array([len(displacement) for _, displacement, _ in parts])
    slots = np.array([len(ids) for _, _, ids in parts])
    all_ids = np.concatenate([ids for _, _, ids in parts])
    all_keys = np.concatenate(
        [np.concatenate(([0], own))[ids] for own, (_, _, ids) in zip(keys, parts, strict=True)]
    )

    def column(values: Any) -> Tensor:
        return torch.tensor([int(v) for v in values], dtype=torch.int64).view(-1, 1)

    return {
        "salt": column(salt for salt, _, _ in parts),
        "bucket_mask": column(buckets - 1),
        "bucket_start": column(np.cumsum(buckets) - buckets),
        "slot_mask": column(slots - 1),
        "slot_start": column(np.cumsum(slots) - slots),
        "displacement": torch.from_numpy(np.concatenate([displacement for _, displacement, _ in parts])),
        "slot_key": torch.from_numpy(all_keys.astype(np.int64)),
        "slot_id": torch.from_numpy(all_ids),
    }


def _hash_one(keys: Int64Array) -> tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return salt, displacements and the id in each slot (0 for a free one) for one cross."""
    n = len(keys)
    slots = 2 << max(n - 1, 1).bit_length()  # a power of two; at most half of the slots are taken
    buckets = min(1 << max(n - 1, 0).bit_length(), _MOST_BUCKETS)
    rng = np.random.default_rng(n)
    while True:
        # Two keys alike in both hashes cannot be parted; with another salt they are not alike.
        salt = int(rng.integers(-(2**62), 2**62))
        mixed = _mix(torch.from_numpy(keys.reshape(1, -1)), torch.tensor([[salt]])).numpy()[0]
        bucket = (mixed >> _BUCKET_SHIFT) & (buckets - 1)
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
