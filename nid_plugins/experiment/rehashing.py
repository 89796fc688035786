"""Buckets of the same ids under thousands of seeds: the ids are laid out for the hash once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nid_plugins.experiment.hashing import OFFSET, PRIME, _hash_digits, buckets_of, fnv1a32

if TYPE_CHECKING:
    from nid_plugins.experiment.units import Units

_CHUNK = 32_768  # ids at a time: what is worked on stays in the cache
_LARGEST = 1 << 28
"""Bytes the layout may take; ids beyond are hashed from their text each time."""


class Repeated:
    """Ids whose buckets are asked for again and again; see :func:`nid_plugins.experiment.hashing.buckets_of`.

    Args:
        ids: The ids, read.
    """

    def __init__(self, ids: Units) -> None:
        self._ids = ids
        self._codes: npt.NDArray[np.uint8] | None = None
        if not isinstance(ids, list) or not ids or not all(map(str.isascii, ids)):
            return
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        longest = int(lengths.max(initial=0))
        if longest * len(ids) > _LARGEST:
            return
        self._order = np.argsort(-lengths, kind="stable")  # longest first: those still at work are a prefix
        fixed = np.array(ids, dtype=f"S{max(1, longest)}")[self._order]
        self._codes = np.ascontiguousarray(fixed.view(np.uint8).reshape(len(ids), -1).T)
        self._active = np.searchsorted(-lengths[self._order], -np.arange(longest), side="left")

    def buckets(self, seed: str) -> npt.NDArray[np.float64]:
        """Return the bucket of each id under a seed, hash version 2, shape (n,)."""
        if self._codes is None:
            return buckets_of(self._ids, seed)
        n, prime = len(self._ids), np.uint32(PRIME)
        out = np.empty(n, dtype=np.float64)
        state = fnv1a32(seed)
        for first in range(0, n, _CHUNK):
            codes = self._codes[:, first : first + _CHUNK]
            hashes = np.full(codes.shape[1], state, dtype=np.uint32)
            for position, active in enumerate(self._active):
                k = min(max(int(active) - first, 0), len(hashes))
                if not k:
                    break
                np.bitwise_xor(hashes[:k], codes[position, :k], out=hashes[:k])
                np.multiply(hashes[:k], prime, out=hashes[:k])
            digests = _hash_digits(hashes, np.full(len(hashes), OFFSET, dtype=np.uint32))
            out[self._order[first : first + _CHUNK]] = (digests % np.uint32(10_000)) / 10_000
        return out
