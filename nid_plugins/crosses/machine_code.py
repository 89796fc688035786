"""The loops of :mod:`nid_plugins.crosses.loops`, compiled by numba. Imported where numba is there, and only then.

Each does what the NumPy code beside its caller does, with the same result to the bit, in one pass through memory, and lets go
of Python's lock meanwhile. A loop is compiled when it is first called with arrays of some type, and the machine code is kept on
disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np

from nid_plugins.crosses.keys import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[Any]

_GOLDEN = np.uint64(GOLDEN)
_MINUS_ZERO = np.uint32(0x80000000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_INFINITY = np.uint32(0x7F800000)  # what has a larger magnitude is NaN

Loop = TypeVar("Loop", bound="Callable[..., Any]")


def _compiled(loop: Loop) -> Loop:
    try:
        return cast("Loop", numba.njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # no folder that can be written: compiled anew in each process
        return cast("Loop", numba.njit(nogil=True)(loop))


@_compiled
def count(counters: Array, keys: Array) -> None:
    """Count keys, each of them the place of its counter."""
    for i in range(len(keys)):
        counters[keys[i]] += 1


@_compiled
def count_hashed(counters: Array, keys: Array, odd: np.uint64, shift: np.uint64) -> None:
    """Count int64 keys, each in the counter that its hash picks."""
    for i in range(len(keys)):
        counters[(np.uint64(keys[i]) * odd) >> shift] += 1


@_compiled
def count_pairs(counters: Array, first: Array, second: Array, base: int) -> None:
    """Count two-digit numbers."""
    for i in range(len(first)):
        counters[np.int64(first[i]) * base + np.int64(second[i])] += 1


@_compiled
def count_triples(counters: Array, first: Array, second: Array, third: Array, base: int, last: int) -> None:
    """Count three-digit numbers."""
    for i in range(len(first)):
        counters[(np.int64(first[i]) * base + np.int64(second[i])) * last + np.int64(third[i])] += 1


@_compiled
def take(table: Array, keys: Array, out: Array) -> None:
    """Look keys up; -1 is the last."""
    for i in range(len(keys)):
        out[i] = table[keys[i]]


@_compiled
def take_pairs(table: Array, first: Array, second: Array, base: int, out: Array) -> None:
    """Look two-digit numbers up."""
    for i in range(len(first)):
        out[i] = table[np.int64(first[i]) * base + np.int64(second[i])]


@_compiled
def take_triples(
    table: Array, first: Array, second: Array, third: Array, base: int, last: int, out: Array
) -> None:
    """Look three-digit numbers up."""
    for i in range(len(first)):
        out[i] = table[(np.int64(first[i]) * base + np.int64(second[i])) * last + np.int64(third[i])]


@_compiled
def take_hashed(
    keys: Array,
    out: Array,
    odd: np.uint64,
    bucket_shift: np.uint64,
    bucket_mask: np.uint64,
    slot_mask: np.uint64,
    displacement: Array,
    number: Array,
    known: Array,
) -> None:
    """Look int64 keys up in a perfect hash table."""
    for i in range(len(keys)):
        key = np.int64(keys[i])
        word = np.uint64(key) * odd
        place = (word ^ (word >> np.uint64(32))) & slot_mask
        place ^= np.uint64(displacement[(word >> bucket_shift) & bucket_mask])
        found = number[place]
        out[i] = found if known[found] == key else 0


@_compiled
def bin_codes(
    values: Array, words: Array, below: Array, steps: Array, crowded: Array, edges: Array, out: Array
) -> None:
    """Number the bins of float32 values, whose bits are the words, from 1 on; 0 where a value is missing."""
    # Loop after loop rather than all in one: each is short enough for the compiler to do several values at once.
    for i in range(len(words)):
        out[i] = below[np.uint64(words[i] >> np.uint32(16))]
    for step in range(len(steps)):
        edge = steps[step]
        for i in range(len(words)):
            out[i] += np.int32(values[i] >= edge[np.uint64(words[i] >> np.uint32(16))])
    if len(crowded):
        for i in range(len(words)):
            if crowded[np.uint64(words[i] >> np.uint32(16))]:
                low, high = 0, len(edges)
                while low < high:
                    middle = (low + high) // 2
                    if edges[middle] <= values[i]:
                        low = middle + 1
                    else:
                        high = middle
                out[i] = low + 1
    for i in range(len(words)):
        if np.isnan(values[i]):
            out[i] = 0


@_compiled
def count_leading(counters: Array, words: Array, shift: np.uint32) -> None:
    """Count float32 values by the leading bits of their words; NaN is left out."""
    for i in range(len(words)):
        word = words[i]
        if word & _MAGNITUDE <= _INFINITY:
            counters[np.uint64((word if word != _MINUS_ZERO else np.uint32(0)) >> shift)] += 1


@_compiled
def count_following(
    counters: Array,
    words: Array,
    places: Array,
    shift: np.uint32,
    digit_shift: np.uint32,
    digit_mask: np.uint32,
) -> None:
    """Count float32 values by the place of their leading bits and the digit behind these; NaN is left out."""
    for i in range(len(words)):
        word = words[i]
        if word & _MAGNITUDE <= _INFINITY:
            word = word if word != _MINUS_ZERO else np.uint32(0)
            digit = (word >> digit_shift) & digit_mask
            counters[np.int64(places[np.uint64(word >> shift)]) + np.int64(digit)] += 1


@_compiled
def count_distinct(
    words: Array, counts: Array, given: Array, numbers: Array, known: int, most: int
) -> tuple[int, int]:
    """Count float32 values by their bits in a table, NaN left out, until there are too many distinct ones.

    ``numbers`` is how often each is counted, or nothing: once. Returns how many were taken, and the distinct ones.
    """
    mask = len(words) - 1
    for i in range(len(given)):
        word = given[i]
        if word & _MAGNITUDE > _INFINITY:
            continue
        if word == _MINUS_ZERO:
            word = np.uint32(0)
        # The high bits of the product: the low ones of round numbers are all 0.
        place = np.int64((np.uint64(word) * _GOLDEN) >> np.uint64(40)) & mask
        while counts[place] != 0 and words[place] != word:
            place = (place + 1) & mask
        if counts[place] == 0:
            if known == most:
                return i, known
            known += 1
            words[place] = word
        counts[place] += numbers[i] if len(numbers) else 1
    return len(given), known
