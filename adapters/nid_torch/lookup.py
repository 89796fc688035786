"""From cross keys to cross ids in the graph, by the perfect hash of :mod:`nid_plugins.crosses.perfect_hash`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nid_plugins.crosses.perfect_hash import BUCKET_SHIFT, ROUND_1, ROUND_2, SHIFT_1, SHIFT_2, hash_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

Int64Array = npt.NDArray[np.int64]


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
        bucket = (mixed >> BUCKET_SHIFT).bitwise_and_(self.bucket_mask).add_(self.bucket_start)
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
    mixed = (keys + salt).mul_(ROUND_1)
    mixed.bitwise_xor_(mixed >> SHIFT_1).mul_(ROUND_2)
    return mixed.bitwise_xor_(mixed >> SHIFT_2)


def _hash_all(keys: Sequence[Int64Array]) -> dict[str, Tensor]:
    tables = hash_tables(keys)
    return {field.name: torch.from_numpy(getattr(tables, field.name)) for field in fields(tables)}
