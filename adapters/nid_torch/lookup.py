"""From member ids to rows of the embedding table in the graph, by the tables of :mod:`nid_plugins.crosses.lookup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nid_plugins.crosses.keys import GOLDEN
from nid_plugins.crosses.lookup import PLACE_SHIFT, LookupGroup, tables_of
from nid_plugins.crosses.vocabulary import Cross

if TYPE_CHECKING:
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.plan import CrossPlan

_GOLDEN = GOLDEN - 2**64
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64
_STATIC = ("members", "bucket_shift", "bucket_mask", "bucket_start", "slot_mask", "slot_start")


class KeyLookup(nn.Module):
    """Rows of the embedding table for member ids.

    Args:
        crosses: The crosses, fitted.
        plan: Their plan.

    Attributes:
        keys: Buffer, the keys of all vocabularies one cross after the other, shape (sum of V,), int64. The only buffer
            in the state dict; loading other keys of the same number makes the tables anew.
    """

    nid_constant = True  # forward writes to no buffer

    keys: Tensor
    field_sizes: Tensor
    order: Tensor

    def __init__(self, crosses: CrossFeatures, plan: CrossPlan) -> None:
        super().__init__()
        self._specs = [(cross.name, cross.fields, cross.sizes, cross.exact) for cross in crosses.crosses]
        self._sizes = plan.sizes
        self._groups = plan.groups
        self._mixed = plan.mixed
        self._masked = any(group.kind == "masked" for group in plan.groups)
        self.register_buffer(
            "keys", torch.from_numpy(np.concatenate([cross.keys for cross in crosses.crosses]))
        )
        sizes = np.concatenate([plan.field_sizes, [[1]]]) if plan.padded else plan.field_sizes
        self._constant("field_sizes", sizes)
        self._ordered = plan.order is None
        if plan.order is not None:
            self._constant("order", plan.order)
        for group in plan.groups:
            for name in _STATIC:
                self._constant(f"{group.kind}_{name}", getattr(group, name))
            for name, values in tables_of(group, crosses.crosses).items():
                self._constant(f"{group.kind}_{name}", values)

    def forward(self, ids: Tensor) -> Tensor:
        """Return rows, (K, n); 0 is that of all unknown combinations.

        Args:
            ids: Member ids, shape (fields, n), with a last row of zeros where the plan is padded; the id of a missing
                value is the field's size.
        """
        parts = [self._rows_of(group, ids) for group in self._groups]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        return rows if self._ordered else rows.index_select(0, self.order)

    def _rows_of(self, group: LookupGroup, ids: Tensor) -> Tensor:
        def own(name: str) -> Tensor:
            found: Tensor = getattr(self, f"{group.kind}_{name}")
            return found

        narrow = group.kind == "narrow"
        code = self._code(group, ids, own("multiplier"))
        word = code if narrow else (code >> 32).to(torch.int32)
        place = (
            (code >> PLACE_SHIFT).bitwise_xor_(code) if narrow else code.to(torch.int32).bitwise_xor_(word)
        )
        bucket = (word >> own("bucket_shift")).bitwise_and_(own("bucket_mask")).add_(own("bucket_start"))
        moved = own("displacement").index_select(0, bucket.view(-1)).view(code.shape)
        slot = place.bitwise_and_(own("slot_mask")).bitwise_xor_(moved).add_(own("slot_start")).view(-1)
        if narrow:
            entry = own("entry").index_select(0, slot).view(code.shape)
            rows = entry.to(torch.int32) * ((entry >> 32) == code)
        else:
            found = own("slot_code").index_select(0, slot).view(code.shape) == code
            rows = own("slot_row").index_select(0, slot).view(code.shape) * found
        if group.kind == "masked":
            known = (ids < self.field_sizes).index_select(0, own("members").view(-1))
            rows = rows * known.view(len(group.members), *code.shape).all(dim=0)
        return rows

    def _code(self, group: LookupGroup, ids: Tensor, multiplier: Tensor) -> Tensor:
        if group.kind == "mixed":
            wide = ids.to(torch.int64)
            return torch.stack([_mixed_key(wide, members) for members in self._mixed]) * multiplier[0]
        members: Tensor = getattr(self, f"{group.kind}_members")
        code = ids.index_select(0, members[0]).to(multiplier.dtype) * multiplier[0]
        for r in range(1, len(members)):
            code = code.add_(ids.index_select(0, members[r]).to(multiplier.dtype) * multiplier[r])
        return code

    def _constant(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        before = self.keys.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.keys.is_meta or torch.equal(before, self.keys.to(before.device)):
            return
        split = np.split(self.keys.cpu().numpy(), np.cumsum(self._sizes)[:-1])
        crosses = [Cross(*spec, keys) for spec, keys in zip(self._specs, split, strict=True)]
        for group in self._groups:
            for name, values in tables_of(group, crosses).items():
                setattr(self, f"{group.kind}_{name}", torch.from_numpy(values).to(self.keys.device))


def _mixed_key(ids: Tensor, members: tuple[int, ...]) -> Tensor:
    key = torch.zeros_like(ids[0])
    for member in members:
        key = _mix64(key + ids[member] + _GOLDEN)
    return key


def _mix64(x: Tensor) -> Tensor:
    # torch has no unsigned 64-bit shift: shift with the sign, then mask it away. Products wrap round modulo 2**64.
    x = (x ^ _logical_shift(x, 30)) * _MULTIPLIER_1
    x = (x ^ _logical_shift(x, 27)) * _MULTIPLIER_2
    return x ^ _logical_shift(x, 31)


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)
