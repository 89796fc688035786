"""Numbers for few of many keys: a field's frequent ids as 1 .. F, a cross's kept combinations as 1 .. V, 0 for the rest.

With members numbered like that the combinations of a cross are few enough for an array, and a missing or rare member
needs no mask: it is the digit 0 of a mixed-radix number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import EXACT_LIMIT, Int64Array, cross_keys, is_exact
from nid_plugins.crosses.perfect_hash import displace, table_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TABLE_LIMIT = 2**20
"""Largest key space that gets an array of all keys; larger ones are hashed."""


class KeyNumbers:
    """Numbers of distinct int64 keys: the key at position ``i`` has number ``i + 1``, any other one 0.

    Args:
        keys: Distinct, shape (n,).
        space: When keys lie in ``0 .. space - 1``; what is looked up is then ``-1 .. space - 1``. None: any int64.
    """

    def __init__(self, keys: Int64Array, space: int | None = None) -> None:
        self._table: npt.NDArray[np.int32] | None = None
        if space is not None and space <= TABLE_LIMIT:
            self._table = np.zeros(space + 1, dtype=np.int32)  # the last is that of -1
            self._table[keys] = np.arange(1, len(keys) + 1, dtype=np.int32)
            return
        rng = np.random.default_rng(len(keys))
        buckets, slots = table_sizes(len(keys))
        self._bucket_shift = np.uint64(64 - max(buckets.bit_length() - 1, 1))
        self._bucket_mask = np.int64(buckets - 1)
        self._slot_mask = np.uint64(slots - 1)
        while True:
            self._odd = np.uint64(int(rng.integers(0, 2**62)) * 2 + 1)
            bucket, place = self._hash(keys)
            found = displace(bucket.astype(np.int32), place.astype(np.int32), len(keys), rng)
            if found is not None:
                break
        self._displacement, self._number = found[0].astype(np.int64), found[1]
        self._keys = np.append(np.int64(0), keys)  # by number; 0 is any key's, and its number is 0

    def _hash(self, keys: Int64Array) -> tuple[Int64Array, Int64Array]:
        word = keys.view(np.uint64) * self._odd
        bucket = (word >> self._bucket_shift).view(np.int64) & self._bucket_mask
        word ^= word >> np.uint64(32)
        return bucket, (word & self._slot_mask).view(np.int64)

    def __call__(self, keys: Int64Array) -> npt.NDArray[np.int32]:
        """Return the numbers of keys, int32, shape (n,)."""
        if self._table is not None:
            return self._table[keys]
        bucket, place = self._hash(keys)
        place ^= self._displacement[bucket]
        number = self._number[place]
        number *= self._keys[number] == keys
        return number


class MemberCodes:
    """Codes 1 .. F of some ids of a field, 0 for any other and for none.

    Args:
        size: Number of ids of the field.
        ids: The ids that have a code, ascending. None: all, the code being the id plus 1.
    """

    def __init__(self, size: int, ids: Int64Array | None = None) -> None:
        self._ids = ids
        self._numbers = None if ids is None else KeyNumbers(ids, size)
        self.base = (size if ids is None else len(ids)) + 1

    def codes(self, ids: Int64Array) -> Int64Array:
        """Return the codes of ids, of which :data:`~nid_plugins.crosses.keys.INVALID` may be one."""
        if self._numbers is None:
            return ids + 1
        return self._numbers(ids).astype(np.int64)

    def ids(self, codes: Int64Array) -> Int64Array:
        """Return the ids of codes from 1."""
        return codes - 1 if self._ids is None else self._ids[codes - 1]


class CrossCode:
    """How the combinations of a cross are numbered by the codes of its members.

    A mixed-radix number where 63 bits have room for it, with a digit 0 where a member has no code; else the key of the
    format itself.

    Args:
        fields: The members.
        sizes: Their numbers of ids.
        members: Codes of each field.
    """

    def __init__(
        self, fields: Sequence[str], sizes: Sequence[int], members: Mapping[str, MemberCodes]
    ) -> None:
        self.fields = tuple(fields)
        self._sizes = tuple(sizes)
        self._members = [members[name] for name in fields]
        self._bases = [member.base for member in self._members]
        self.space = math.prod(self._bases)
        self.radix = self.space <= EXACT_LIMIT

    def numbers(self, codes: Sequence[Int64Array]) -> Int64Array:
        """Return the number of each row's combination, shape (n,), of rows whose codes have no 0 unless it is a radix."""
        if not self.radix:
            ids = [member.ids(own) for member, own in zip(self._members, codes, strict=True)]
            return cross_keys(ids, self._sizes)[0]
        number = codes[0]
        for own, base in zip(codes[1:], self._bases[1:], strict=True):
            number = number * np.int64(base)
            number += own
        return number

    def keys(self, numbers: Int64Array) -> Int64Array:
        """Return the format's keys, ascending, of numbers; those with a digit 0 are left out."""
        if self.radix:
            digits: list[Int64Array] = []
            rest = numbers
            for base in reversed(self._bases[1:]):
                rest, own = np.divmod(rest, np.int64(base))
                digits.append(own)
            codes = [rest, *reversed(digits)]
            known = np.logical_and.reduce([own > 0 for own in codes])
            ids = [member.ids(own[known]) for member, own in zip(self._members, codes, strict=True)]
            numbers = cross_keys(ids, self._sizes)[0]
        return np.sort(numbers) if is_exact(self._sizes) else np.unique(numbers)
