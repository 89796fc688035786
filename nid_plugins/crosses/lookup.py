"""How a graph finds cross ids: the crosses in groups that are computed alike, each group as one block of arrays.

Within a graph a combination is known by its *code*, a product of the format's key with an odd number modulo a power of
two, worked out from the member ids in one go::

    code = id0 * multiplier0 + id1 * multiplier1 + ...

That is one to one, so equality of codes is equality of combinations, and it is a hash at the same time (multiplicative
hashing). The id of a value that is missing or out of range is the field's size: the code of a combination with such a
member is no kept one's, and nothing needs to be masked. With 32 bits where the number of combinations allows it::

    narrow:  word = code;        place = code ^ (code >> 15)
    others:  word = code >> 32;  place = code ^ word          (in 32 bits)
    bucket = ((word >> bucket_shift) & bucket_mask) + bucket_start
    slot   = ((place & slot_mask) ^ displacement[bucket]) + slot_start

Shifts keep the sign. A slot holds the code and the row of the embedding table that is the combination's; a row is the
cross's first row plus the id, and 0 stands for every unknown combination.

Models are saved with these tables; what is written above stays as it is for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import EXACT_LIMIT
from nid_plugins.crosses.perfect_hash import displace, table_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.crosses.vocabulary import Cross

Kind = Literal["narrow", "wide", "masked", "mixed"]
KINDS: tuple[Kind, ...] = ("narrow", "wide", "masked", "mixed")

PLACE_SHIFT = 15
_NARROW_LIMIT = 2**31 - 1


def kind_of(sizes: Sequence[int], *, exact: bool) -> Kind:
    """Return the group of a cross whose members have these sizes.

    ``"narrow"``: codes of 32 bits; ``"wide"``: of 64. ``"masked"``: 64 bits have no room for a further id a member, so
    missing members must be masked. ``"mixed"``: the format's keys are hashes.
    """
    combinations = math.prod(int(size) + 1 for size in sizes)
    if not exact:
        return "mixed"
    if combinations <= _NARROW_LIMIT:
        return "narrow"
    return "wide" if combinations <= EXACT_LIMIT else "masked"


@dataclass(frozen=True, eq=False)
class LookupGroup:
    """Crosses computed alike, ``k`` of them. What follows from their sizes; the rest is in :func:`tables_of`.

    Attributes:
        kind: See :func:`kind_of`.
        positions: Which crosses of the plan these are.
        members: Position among the plan's fields of each member of each cross, shape (longest, k), int64; where a cross
            is shorter, that of a further last field whose id is always 0.
        sizes: Vocabulary size of each cross.
        bucket_shift: Shape (k, 1), int32; so are the following.
        bucket_mask: Buckets less 1.
        bucket_start: Where a cross's buckets start.
        slot_mask: Slots less 1.
        slot_start: Where a cross's slots start.
        first_row: Row of the embedding table before that of id 1.
        buckets: Of all crosses together.
        slots: Of all crosses together.
    """

    kind: Kind
    positions: tuple[int, ...]
    members: npt.NDArray[np.int64]
    sizes: tuple[int, ...]
    bucket_shift: npt.NDArray[np.int32]
    bucket_mask: npt.NDArray[np.int32]
    bucket_start: npt.NDArray[np.int32]
    slot_mask: npt.NDArray[np.int32]
    slot_start: npt.NDArray[np.int32]
    first_row: npt.NDArray[np.int32]
    buckets: int
    slots: int

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape and dtype of each of the group's tables; see :func:`tables_of`."""
        multiplier = (1 if self.kind == "mixed" else len(self.members), len(self.positions), 1)
        found = {
            "multiplier": (multiplier, "int32" if self.kind == "narrow" else "int64"),
            "displacement": ((self.buckets,), "int32"),
        }
        if self.kind == "narrow":
            return {**found, "entry": ((self.slots,), "int64")}
        return {**found, "slot_code": ((self.slots,), "int64"), "slot_row": ((self.slots,), "int32")}


def groups_of(crosses: Sequence[Mapping[str, Any]], position: Mapping[str, int]) -> tuple[LookupGroup, ...]:
    """Return the groups of crosses.

    Args:
        crosses: For each its ``fields``, ``sizes``, ``exact`` and ``vocabulary``, as saved crosses are specified.
        position: Place of each member field among all of them.
    """
    kinds = [kind_of(cross["sizes"], exact=cross["exact"]) for cross in crosses]
    first = np.cumsum([0, *(int(cross["vocabulary"]) for cross in crosses)])
    found = []
    for kind in KINDS:
        own = [k for k, other in enumerate(kinds) if other == kind]
        if own:
            found.append(_group(kind, own, crosses, position, first))
    return tuple(found)


def _group(
    kind: Kind,
    own: list[int],
    crosses: Sequence[Mapping[str, Any]],
    position: Mapping[str, int],
    first: npt.NDArray[np.int64],
) -> LookupGroup:
    longest = max(len(crosses[k]["fields"]) for k in own)
    members = np.full((longest, len(own)), len(position), dtype=np.int64)
    for column, k in zip(members.T, own, strict=True):
        column[: len(crosses[k]["fields"])] = [position[name] for name in crosses[k]["fields"]]
    sizes = tuple(int(crosses[k]["vocabulary"]) for k in own)
    both = np.array([table_sizes(size) for size in sizes], dtype=np.int64)
    starts = np.cumsum(both, axis=0) - both

    def column_of(values: Any) -> npt.NDArray[np.int32]:
        return np.asarray(values, dtype=np.int32).reshape(-1, 1)

    bits = [int(buckets).bit_length() - 1 for buckets, _ in both]
    return LookupGroup(
        kind=kind,
        positions=tuple(own),
        members=members,
        sizes=sizes,
        bucket_shift=column_of([32 - max(n, 1) for n in bits]),
        bucket_mask=column_of(both[:, 0] - 1),
        bucket_start=column_of(starts[:, 0]),
        slot_mask=column_of(both[:, 1] - 1),
        slot_start=column_of(starts[:, 1]),
        first_row=column_of(first[own]),
        buckets=int(both[:, 0].sum()),
        slots=int(both[:, 1].sum()),
    )


def tables_of(group: LookupGroup, crosses: Sequence[Cross]) -> dict[str, npt.NDArray[Any]]:
    """Return what a group needs besides: multipliers, displacements, and what is in the slots.

    Args:
        group: The group.
        crosses: All crosses of the plan, fitted.

    Returns:
        ``"multiplier"`` (longest, k, 1), or (1, k, 1) for the keys of mixed crosses; ``"displacement"``, int32; for
        narrow crosses ``"entry"``, int64: the code in the high and the row in the low 32 bits; for others
        ``"slot_code"``, int64, and ``"slot_row"``, int32. A free slot has row 0.
    """
    parts = [
        hashed(group.kind, crosses[k], int(first), len(group.members))
        for k, first in zip(group.positions, group.first_row[:, 0], strict=True)
    ]
    codes, rows = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    tables: dict[str, npt.NDArray[Any]] = {
        "multiplier": np.stack([part[0] for part in parts], axis=1)[:, :, None],
        "displacement": np.concatenate([part[1] for part in parts]),
    }
    if group.kind == "narrow":
        tables["entry"] = (codes.astype(np.int64) << 32) | rows
    else:
        tables |= {"slot_code": codes, "slot_row": rows}
    return tables


def hashed(
    kind: Kind, cross: Cross, first_row: int, longest: int, size: int | None = None
) -> tuple[npt.NDArray[Any], ...]:
    """Return multipliers, displacements, and code and row of each slot, of one cross.

    Args:
        kind: See :func:`kind_of`.
        cross: The cross.
        first_row: Row of the embedding table before that of id 1.
        longest: Number of multipliers; those without a member are 0.
        size: Number of combinations the tables have room for. None: as many as there are.
    """
    many = len(cross.keys)
    size = many if size is None else size
    buckets, slots = table_sizes(size)
    shift, rng = 32 - max(buckets.bit_length() - 1, 1), np.random.default_rng(many)
    members = [cross.keys] if kind == "mixed" else members_of(cross)
    room = 0 if kind in {"mixed", "masked"} else 1
    strides = [math.prod(int(own) + room for own in cross.sizes[r + 1 :]) for r in range(len(members))]
    strides = [1] if kind == "mixed" else strides
    width, dtype = (32, np.int32) if kind == "narrow" else (64, np.int64)
    while True:
        odd = int(rng.integers(0, 2**62)) * 2 + 1
        multiplier = np.array([_signed(stride * odd, width) for stride in strides], dtype=dtype)
        code: npt.NDArray[Any] = np.zeros(many, dtype=dtype)
        for ids, own in zip(members, multiplier, strict=True):
            code += ids.astype(dtype) * own
        word = code if kind == "narrow" else (code >> 32).astype(np.int32)
        place = code ^ (code >> PLACE_SHIFT) if kind == "narrow" else code.astype(np.int32) ^ word
        found = displace(
            ((word >> shift) & (buckets - 1)).astype(np.int32),
            (place & (slots - 1)).astype(np.int32),
            size,
            rng,
        )
        if found is not None:
            break
    displacement, number = found
    padded = np.zeros(1 if kind == "mixed" else longest, dtype=dtype)
    padded[: len(multiplier)] = multiplier
    codes = np.concatenate([np.zeros(1, dtype), code])[number]
    return padded, displacement, codes, np.where(number > 0, first_row + number, 0).astype(np.int32)


def members_of(cross: Cross) -> list[npt.NDArray[np.int64]]:
    """Return the member ids behind the keys of an exact cross, shape (V,) each, the first member's first."""
    found, rest = [], cross.keys
    for size in reversed(cross.sizes[1:]):
        rest, own = np.divmod(rest, np.int64(size))
        found.append(own)
    return [rest, *reversed(found)]


def _signed(value: int, bits: int) -> int:
    value %= 2**bits
    return value - 2**bits if value >= 2 ** (bits - 1) else value
