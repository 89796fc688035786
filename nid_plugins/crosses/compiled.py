"""Looking up cross ids of many batches: tables made once, by the codes of the ids that occur in kept combinations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.bins import FastBins
from nid_plugins.crosses.compact import TABLE_LIMIT, CrossCode, KeyNumbers, MemberCodes
from nid_plugins.crosses.keys import Int64Array, cross_keys
from nid_plugins.crosses.lookup import members_of

if TYPE_CHECKING:
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.vocabulary import Cross


class Columns(Protocol):
    """Rows whose member ids and codes can be asked for by field."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def ids(self, name: str) -> Int64Array:
        """Return member ids, shape (n,)."""

    def codes(self, name: str) -> Int64Array:
        """Return codes by :attr:`CompiledCrosses.members`, shape (n,)."""


def used_ids(crosses: CrossFeatures) -> dict[str, Int64Array]:
    """Return the ids, ascending, that occur in a kept combination, of each member of a cross with exact keys."""
    found: dict[str, list[Int64Array]] = {}
    for cross in crosses.crosses:
        if cross.exact:
            for name, ids in zip(cross.fields, members_of(cross), strict=True):
                found.setdefault(name, []).append(np.unique(ids))
    return {name: np.unique(np.concatenate(parts)) for name, parts in found.items()}


class CompiledCrosses:
    """The crosses of a :class:`~nid_plugins.crosses.features.CrossFeatures`, ready for batch after batch.

    Args:
        crosses: The crosses.

    Attributes:
        members: Codes of the members of crosses.
        bins: Bins of the dense ones.
        fields: The members, in schema order.
    """

    def __init__(self, crosses: CrossFeatures) -> None:
        sizes = {
            name: size
            for cross in crosses.crosses
            for name, size in zip(cross.fields, cross.sizes, strict=True)
        }
        self.members = {name: MemberCodes(sizes[name], ids) for name, ids in used_ids(crosses).items()}
        self.bins = {name: FastBins(edges) for name, edges in crosses.edges.items()}
        self.fields = tuple(name for name in crosses.schema.names if name in sizes)
        self._lookups = [_Lookup(cross, self.members) for cross in crosses.crosses]

    def ids(self, columns: Columns) -> list[npt.NDArray[np.int32]]:
        """Return the cross ids of rows, an array of shape (n,) a cross."""
        return [lookup(columns) for lookup in self._lookups]


class _Lookup:
    """One cross."""

    def __init__(self, cross: Cross, members: dict[str, MemberCodes]) -> None:
        self._cross = cross
        self._code: CrossCode | None = None
        if cross.exact:
            code = CrossCode(cross.fields, cross.sizes, members)
            self._code = code if code.radix else None
        if self._code is None:
            self._numbers = KeyNumbers(cross.keys)
            return
        codes = [members[name].codes(ids) for name, ids in zip(cross.fields, members_of(cross), strict=True)]
        space = self._code.space
        self._numbers = KeyNumbers(self._code.numbers(codes), space if space <= TABLE_LIMIT else None)

    def __call__(self, columns: Columns) -> npt.NDArray[np.int32]:
        if self._code is not None:
            return self._numbers(self._code.numbers([columns.codes(name) for name in self._cross.fields]))
        keys, valid = cross_keys([columns.ids(name) for name in self._cross.fields], self._cross.sizes)
        found = self._numbers(keys)
        found *= valid
        return found
