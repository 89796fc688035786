"""Numbers for few of many keys: a field's frequent ids as 1 .. F, a cross's kept combinations as 1 .. V, 0 for the rest.

With members numbered like that the combinations of a cross are few enough for an array, and a missing or rare member
needs no mask: it is the digit 0 of a mixed-radix number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops
from nid_plugins.crosses.keys import EXACT_LIMIT, Int64Array, cross_keys, is_exact
from nid_plugins.crosses.perfect_hash import displace, table_sizes
from nid_plugins.crosses.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TABLE_BYTES = 2**27
"""Most memory for arrays of all ids of fields, and as much for those of all keys of crosses; other ones are hashed."""

_NARROW = 2**31 - 1
_BLOCK = 2**15  # keys hashed at a time: what is in between stays in cache

Integers = npt.NDArray[np.integer[Any]]


def table_room(memory: int) -> int:
    """Return the bytes for tables beside so many for rows and counters."""
    return min(memory // 8, TABLE_BYTES)


def with_tables(spaces: Mapping[Any, tuple[int, int]], memory: int) -> set[Any]:
    """Return which key spaces have a table, the smallest ones, as many as memory holds.

    Args:
        spaces: Number of keys in each, and of those that have a number.
        memory: Bytes.
    """
    chosen, left = set(), memory
    sizes = {name: space * np.dtype(_width(keys)).itemsize for name, (space, keys) in spaces.items()}
    for name, size in sorted(sizes.items(), key=lambda one: one[1]):
        left -= size
        if left < 0:
            break
        chosen.add(name)
    return chosen


def _width(keys: int) -> type[np.uint16 | np.int32]:
    return np.uint16 if keys < 2**16 else np.int32


class KeyNumbers:
    """Numbers of distinct int64 keys: the key at position ``i`` has number ``i + 1``, any other one 0.

    Args:
        keys: Distinct, shape (n,).
        space: When keys lie in ``0 .. space - 1`` and shall have a table; what is looked up is then ``-1 .. space - 1``.
            None: any int64, hashed.
    """

    def __init__(self, keys: Int64Array, space: int | None = None) -> None:
        self._table: Integers | None = None
        if space is not None:
            self._table = np.zeros(space + 1, dtype=_width(len(keys)))  # the last is that of -1
            self._table[keys] = np.arange(1, len(keys) + 1, dtype=self._table.dtype)
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

    @property
    def _hash_table(self) -> tuple[Any, ...]:
        numbers = self._odd, self._bucket_shift, np.uint64(self._bucket_mask), self._slot_mask
        return (*numbers, self._displacement, self._number, self._keys)

    def _hash(self, keys: Int64Array) -> tuple[Int64Array, Int64Array]:
        word = keys.view(np.uint64) * self._odd
        bucket = (word >> self._bucket_shift).view(np.int64) & self._bucket_mask
        word ^= word >> np.uint64(32)
        return bucket, (word & self._slot_mask).view(np.int64)

    def __call__(
        self, keys: Integers, out: npt.NDArray[np.int32] | None = None, scratch: Scratch | None = None
    ) -> npt.NDArray[np.int32]:
        """Return the numbers of keys, int32, shape (n,), in ``out`` where it is given."""
        if out is None:
            out = np.empty(len(keys), dtype=np.int32)
        if self._table is not None:
            if loops.take(self._table, keys, out):
                return out
            # "wrap" takes -1 for the last, and is the mode that looks at no key twice.
            if self._table.dtype == np.int32:
                return np.take(self._table, keys, mode="wrap", out=out)
            short = (scratch or Scratch())("short", len(keys), self._table.dtype)
            np.copyto(out, np.take(self._table, keys, mode="wrap", out=short))
            return out
        if loops.take_hashed(keys, out, self._hash_table):
            return out
        for start in range(0, len(keys), _BLOCK):
            self._hashed(
                keys[start : start + _BLOCK].astype(np.int64, copy=False), out[start : start + _BLOCK]
            )
        return out

    def of_digits(self, digits: Sequence[Integers], bases: Sequence[int], out: npt.NDArray[np.int32]) -> bool:
        """Write the numbers of mixed-radix keys, and return True; False where the keys must be worked out first."""
        return self._table is not None and loops.take_numbers(self._table, digits, bases, out)

    def _hashed(self, keys: Int64Array, out: npt.NDArray[np.int32]) -> None:
        bucket, place = self._hash(keys)
        place ^= np.take(self._displacement, bucket, mode="wrap")
        np.take(self._number, place, mode="wrap", out=out)
        out *= np.take(self._keys, out, mode="wrap") == keys


class MemberCodes:
    """Codes 1 .. F of some ids of a field, 0 for any other and for none.

    Args:
        size: Number of ids of the field.
        ids: The ids that have a code, ascending. None: all, the code being the id plus 1.
        table: Whether to have an array of all ids of the field, which is faster than to hash.
    """

    def __init__(self, size: int, ids: Int64Array | None = None, *, table: bool = True) -> None:
        self._ids = ids
        self._numbers = None if ids is None else KeyNumbers(ids, size if table else None)
        self.base = (size if ids is None else len(ids)) + 1

    def codes(
        self, ids: Integers, out: npt.NDArray[np.int32] | None = None, scratch: Scratch | None = None
    ) -> Integers:
        """Return the codes of ids, of which :data:`~nid_plugins.crosses.keys.INVALID` may be one.

        They are int32 where it holds them; those that are looked up are in ``out`` where it is given.
        """
        if self._numbers is None:
            codes: Integers = ids + np.int64(1)
            return codes.astype(np.int32) if self.base <= _NARROW else codes
        return self._numbers(ids, out, scratch)

    def ids(self, codes: Integers) -> Int64Array:
        """Return the ids of codes from 1."""
        return codes.astype(np.int64) - 1 if self._ids is None else self._ids[codes - 1]


class CrossCode:
    """How the combinations of a cross are numbered by the codes of its members.

    A mixed-radix number where 63 bits have room for it, with a digit 0 where a member has no code; else the key of the
    format itself.

    Args:
        fields: The members.
        sizes: Their numbers of ids.
        members: Codes of each field.

    Attributes:
        fields: As given.
        bases: Number of codes of each member, 0 included.
        space: Number of combinations of codes.
        radix: Whether combinations are numbered by a mixed-radix number.
    """

    def __init__(
        self, fields: Sequence[str], sizes: Sequence[int], members: Mapping[str, MemberCodes]
    ) -> None:
        self.fields = tuple(fields)
        self._sizes = tuple(sizes)
        self._members = [members[name] for name in fields]
        self.bases = [member.base for member in self._members]
        self.space = math.prod(self.bases)
        self.radix = self.space <= EXACT_LIMIT
        self._kind: type[np.integer[Any]] = np.int32 if self.space <= _NARROW else np.int64

    def numbers(self, codes: Sequence[Integers], scratch: Scratch | None = None) -> Integers:
        """Return the number of each row's combination, shape (n,), of rows whose codes have no 0 unless it is a radix.

        They are int32 where it holds all of them, else int64; in an array of the scratch where it is given.
        """
        if not self.radix:
            ids = [member.ids(own) for member, own in zip(self._members, codes, strict=True)]
            return cross_keys(ids, self._sizes)[0]
        first = codes[0].astype(self._kind, copy=False)
        number = (scratch or Scratch())("numbers", len(first), self._kind)
        for own, base in zip(codes[1:], self.bases[1:], strict=True):
            np.multiply(first, self._kind(base), out=number)
            number += own
            first = number
        return number

    def keys(self, numbers: Int64Array) -> Int64Array:
        """Return the format's keys, ascending, of numbers; those with a digit 0 are left out."""
        if self.radix:
            digits: list[Int64Array] = []
            rest = numbers
            for base in reversed(self.bases[1:]):
                rest, own = np.divmod(rest, np.int64(base))
                digits.append(own)
            codes = [rest, *reversed(digits)]
            known = np.logical_and.reduce([own > 0 for own in codes])
            ids = [member.ids(own[known]) for member, own in zip(self._members, codes, strict=True)]
            numbers = cross_keys(ids, self._sizes)[0]
        return np.sort(numbers) if is_exact(self._sizes) else np.unique(numbers)
