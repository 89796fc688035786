"""Loops over rows that take most of the time: by NumPy, or compiled by numba where that is installed and rows are many.

NumPy goes through memory once for every step of a formula and keeps Python's lock while it counts; a compiled loop does
neither. The results are the same to the bit. numba is optional (extra ``fast``), and it takes seconds to compile on
the first use ever and most of one to be imported, so that it is asked for only by work of :data:`MANY` rows or more. Once
it is there, all work in the process has it.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import NidWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = 2**22
"""Rows from which on it pays to load compiled loops."""

Integers = npt.NDArray[np.integer[Any]]

_lock = Lock()
_asked = False
_machine: Any = None


def for_rows(rows: int) -> bool:
    """Load the compiled loops if so many rows are worth it, and return whether they are there.

    Warns:
        NidWarning: numba is installed and cannot be imported.
    """
    global _asked, _machine  # noqa: PLW0603 - what a process has loaded is the process's
    if rows >= MANY:
        with _lock:
            if not _asked and importlib.util.find_spec("numba") is not None:
                try:
                    _machine = importlib.import_module("nid_plugins.crosses.machine_code")
                except ImportError as error:
                    warnings.warn(
                        "numba is installed and cannot be imported, so that rows are counted by NumPy: "
                        f"{' '.join(str(error).split())}",
                        NidWarning,
                        stacklevel=2,
                    )
            _asked = True
    return ready()


def ready() -> bool:
    """Return whether compiled loops are there."""
    return _machine is not None


def _plain(*arrays: npt.NDArray[Any]) -> bool:
    """Return whether there are compiled loops, and they take these arrays."""
    return ready() and all(array.dtype.isnative and array.ndim == 1 for array in arrays)


def count(counters: Integers, keys: Integers) -> None:
    """Add to the counters, shape (space,), one for each key, shape (n,), in ``0 .. space - 1``."""
    if _plain(keys):
        _machine.count(counters, keys)
    elif len(counters) <= len(keys):  # as fast as counting in place, and other threads go on meanwhile
        more = np.bincount(keys, minlength=len(counters))
        np.add(counters, more, out=counters, casting="unsafe")
    else:
        np.add.at(counters, keys, counters.dtype.type(1))


def hashed(keys: npt.NDArray[np.int64], odd: np.uint64, shift: np.uint64) -> npt.NDArray[np.int64]:
    """Return ``key * odd >> shift``, as uint64, of keys, shape (n,)."""
    return ((keys.view(np.uint64) * odd) >> shift).view(np.int64)


def count_hashed(counters: Integers, keys: npt.NDArray[np.int64], odd: np.uint64, shift: np.uint64) -> None:
    """Add to the counters one for each key, shape (n,), in the place that :func:`hashed` says."""
    if _plain(keys):
        _machine.count_hashed(counters, keys, odd, shift)
    else:
        np.add.at(counters, hashed(keys, odd, shift), counters.dtype.type(1))


def count_numbers(counters: Integers, digits: Sequence[Integers], bases: Sequence[int]) -> bool:
    """Add to the counters one for each mixed-radix number, and return True; False where no compiled loop does that.

    Args:
        counters: Shape (space,).
        digits: One array of shape (n,) a digit, the first being the most significant.
        bases: Of the digits.
    """
    if not _plain(*digits) or len(digits) not in {2, 3}:
        return False
    if len(digits) == 2:
        _machine.count_pairs(counters, *digits, bases[1])
    else:
        _machine.count_triples(counters, *digits, bases[1], bases[2])
    return True


def take_numbers(
    table: Integers, digits: Sequence[Integers], bases: Sequence[int], out: npt.NDArray[np.int32]
) -> bool:
    """Look mixed-radix numbers up in a table, and return True; False where no compiled loop does that."""
    if not _plain(*digits) or len(digits) not in {2, 3}:
        return False
    if len(digits) == 2:
        _machine.take_pairs(table, *digits, bases[1], out)
    else:
        _machine.take_triples(table, *digits, bases[1], bases[2], out)
    return True


def take(table: Integers, keys: Integers, out: npt.NDArray[np.int32]) -> bool:
    """Look keys, shape (n,), up in a table whose last entry is that of -1, and return True; see :func:`take_numbers`."""
    if not _plain(keys, out):
        return False
    _machine.take(table, keys, out)
    return True


def take_hashed(keys: Integers, out: npt.NDArray[np.int32], table: tuple[Any, ...]) -> bool:
    """Look keys, shape (n,), up in a perfect hash table, and return True; see :func:`take_numbers`.

    Args:
        keys: Of any type of integers.
        out: Their numbers.
        table: Odd factor, shift and mask of buckets, mask of slots; displacement by bucket, number by slot, key by number.
    """
    if not _plain(keys, out):
        return False
    _machine.take_hashed(keys, out, *table)
    return True


def bin_codes(
    values: npt.NDArray[np.float32],
    table: tuple[npt.NDArray[Any], ...],
    out: npt.NDArray[np.int32],
) -> bool:
    """Number the bins of values, shape (n,), from 1 on, and return True; see :func:`take_numbers`.

    Args:
        values: To be binned, NaN where missing: 0.
        table: By the leading 16 bits of a value: edges below plus 1, edges to compare with (steps, 2**16), whether there are
            more of them (or nothing); and all edges.
        out: The numbers.
    """
    if not _plain(values, out):
        return False
    _machine.bin_codes(values, values.view(np.uint32), *table, out)
    return True


def count_leading(counters: Integers, values: npt.NDArray[np.float32], shift: int) -> bool:
    """Count values, shape (n,), by the leading bits of them, NaN left out, and return True; see :func:`take_numbers`."""
    if not _plain(values):
        return False
    _machine.count_leading(counters, values.view(np.uint32), np.uint32(shift))
    return True


def count_following(
    counters: Integers,
    values: npt.NDArray[np.float32],
    places: Integers,
    shifts: tuple[int, int],
    mask: int,
) -> bool:
    """Count values by the place of their leading bits plus the digit behind these; see :func:`count_leading`.

    Args:
        counters: Shape (space,).
        values: Shape (n,).
        places: By leading bits.
        shifts: Bits behind the leading ones, and behind the digit.
        mask: Of the digit.
    """
    if not _plain(values):
        return False
    words = values.view(np.uint32)
    _machine.count_following(counters, words, places, *map(np.uint32, (*shifts, mask)))
    return True


def count_distinct(
    words: npt.NDArray[np.uint32],
    counts: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int64] | None,
    known: int,
    most: int,
) -> tuple[int, int]:
    """Count values, shape (n,), in a table of distinct ones, until there are more than so many; NaN is left out.

    Args:
        words: The bits of the values that are there, by place; a power of two of them.
        counts: How often each occurs; 0 where a place is free.
        values: To be counted.
        numbers: How often each is counted, shape (n,). None: once.
        known: Distinct values that are there.
        most: How many there may be.

    Returns:
        How many of the values were taken, none of them where there are no compiled loops; and the distinct ones.
    """
    if not _plain(values):
        return 0, known
    numbers = counts[:0] if numbers is None else numbers
    taken, known = _machine.count_distinct(words, counts, values.view(np.uint32), numbers, known, most)
    return taken, known
