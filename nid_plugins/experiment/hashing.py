"""The hash that gives each unit its bucket: GrowthBook's, over whole columns at a time.

Written from GrowthBook's public specification for its kits (docs.growthbook.io/lib/build-your-own): FNV-1a with 32 bits
over the UTF-16 code units of the text, which for ASCII are its bytes. Version 2 is
``fnv1a32(str(fnv1a32(seed + value))) % 10000 / 10000``; version 1, which GrowthBook's namespaces use, is
``fnv1a32(value + seed) % 1000 / 1000``.

Ids outside ASCII: the JavaScript kit and the Python kit since 4.0 hash UTF-16 code units, and so does this. Kits that hash
the bytes of UTF-8, or whole code points, put such ids elsewhere, and the two kinds of kit must not share an experiment
with them. An integer is hashed as its decimal digits; give other kits the same text, because to them a number is a float
of JavaScript, which has no digits beyond 2**53, and 0 is no id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SettingError
from nid_plugins.experiment.units import Units, read_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.experiment.variants import Namespace

Hashes = npt.NDArray[np.uint32]

OFFSET = 0x811C9DC5
PRIME = 0x01000193
_PRIME = np.uint32(PRIME)
_CHUNK = 32_768  # ids at a time: what is worked on stays in the cache
_FEW = 8  # so few texts are hashed faster one by one


def bucket(
    unit_ids: Any, seed: str = "exp-1", version: int = 2, *, name: str = "unit_ids"
) -> npt.NDArray[np.float64]:
    """Return the bucket of each unit, equal to GrowthBook's.

    Args:
        unit_ids: Array, list, or pandas, Polars or Arrow column, of text or integers.
        seed: Seed of the hash.
        version: 2, or 1 for the older hash.
        name: Column's name, for errors.

    Returns:
        Array of shape (n,) in [0, 1): multiples of 1e-4 (version 2) or of 1e-3 (version 1).

    Raises:
        FrameError: A null, a float, a bool, bytes or empty text among the ids; the rows are named.
        SettingError: The seed is not text, or there is no such version.
    """
    if not isinstance(seed, str):
        raise SettingError("not text", field="seed", received=repr(seed), expected="the seed of the hash")
    if version not in {1, 2} or isinstance(version, bool):
        raise SettingError(
            "no such hash version", field="version", received=repr(version), expected="2, or 1"
        )
    return buckets_of(read_units(unit_ids, name), seed, version)


def buckets_of(units: Units, seed: str, version: int = 2) -> npt.NDArray[np.float64]:
    """Return the bucket of each of some ids that have been read."""
    out = np.empty(len(units), dtype=np.float64)
    state = fnv1a32(seed) if version == 2 else OFFSET
    ending = _code_units(seed) if version == 1 else ()
    for first in range(0, len(units), _CHUNK):
        part = units[first : first + _CHUNK]
        hashes = _hash_texts(part, state) if isinstance(part, list) else _hash_integers(part, state)
        if version == 1:
            for code in ending:
                hashes = (hashes ^ np.uint32(code)) * _PRIME
            out[first : first + _CHUNK] = (hashes % np.uint32(1_000)) / 1_000
        else:
            start = np.full(len(hashes), OFFSET, dtype=np.uint32)
            digests = _hash_digits(hashes, start)
            out[first : first + _CHUNK] = (digests % np.uint32(10_000)) / 10_000
    return out


def in_namespace(units: Units, namespace: Namespace) -> npt.NDArray[np.bool_]:
    """Return whether each unit is in the slice of a namespace, shape (n,)."""
    first = namespace.hash_version == 1
    steps = buckets_of(units, "__" + namespace.name if first else namespace.name, namespace.hash_version)
    return (steps >= namespace.start) & (steps < namespace.stop)


def fnv1a32(text: str, state: int = OFFSET) -> int:
    """Return the FNV-1a hash of one text, over its UTF-16 code units, from a state on."""
    for code in _code_units(text):
        state = ((state ^ code) * PRIME) & 0xFFFFFFFF
    return state


def _code_units(text: str) -> Sequence[int]:
    if text.isascii():
        return text.encode("ascii")
    return memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H").tolist()


def _hash_texts(texts: list[str], state: int) -> Hashes:
    """Hash many texts side by side: the first code unit of all, then the second of all that have one, ..."""
    joined = "".join(texts)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    if joined.isascii():
        codes: npt.NDArray[Any] = np.frombuffer(joined.encode("ascii"), dtype=np.uint8)
    else:
        codes = np.frombuffer(joined.encode("utf-16-le", "surrogatepass"), dtype="<u2")
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        # Characters beyond the first plane are two code units.
        pairs = np.concatenate([[0], np.cumsum(points > 0xFFFF)])
        ends = np.cumsum(lengths)
        lengths = lengths + pairs[ends] - pairs[ends - lengths]
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")  # longest first, so that those still at work are a prefix
    starts, lengths = starts[order], lengths[order]
    hashes = np.full(len(texts), state, dtype=np.uint32)
    longest = int(lengths[0]) if len(texts) else 0
    active = np.searchsorted(-lengths, -np.arange(longest), side="left")
    position = 0
    while position < longest and active[position] > _FEW:
        k = active[position]
        hashes[:k] = (hashes[:k] ^ codes[starts[:k] + position].astype(np.uint32)) * _PRIME
        position += 1
    for row in range(int(active[position]) if position < longest else 0):
        value = int(hashes[row])
        for code in codes[starts[row] + position : starts[row] + lengths[row]].tolist():
            value = ((value ^ code) * PRIME) & 0xFFFFFFFF
        hashes[row] = value
    out = np.empty_like(hashes)
    out[order] = hashes
    return out


def _hash_integers(values: npt.NDArray[np.integer[Any]], state: int) -> Hashes:
    hashes = np.full(len(values), state, dtype=np.uint32)
    if values.dtype.kind == "u":
        return _hash_digits(values, hashes)
    negative = values < 0
    # Two's complement by hand: the least integer has no positive counterpart of its own type.
    magnitude = values.astype(np.int64).view(np.uint64)
    if negative.any():
        magnitude = np.where(negative, ~magnitude + np.uint64(1), magnitude)
        hashes = np.where(negative, (hashes ^ np.uint32(ord("-"))) * _PRIME, hashes)
    return _hash_digits(magnitude, hashes)


def _hash_digits(values: npt.NDArray[np.integer[Any]], hashes: Hashes) -> Hashes:
    """Hash the decimal digits of unsigned integers, from the first digit that is not 0 on."""
    top = int(values.max(initial=0))
    wide: Any = np.uint32 if top < 2**32 else np.uint64
    rest: npt.NDArray[Any] = values.astype(wide)
    for place in reversed(range(len(str(top)))):
        power = wide(10**place)
        digit = rest // power
        rest = rest - digit * power
        stepped = (hashes ^ (digit.astype(np.uint32) + np.uint32(48))) * _PRIME
        # Zeros in front are no digits; the last digit always is one.
        hashes = stepped if place == 0 else np.where(values >= power, stepped, hashes)
    return hashes
