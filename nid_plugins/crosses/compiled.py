"""Looking up cross ids of many batches: tables made once, by the codes of the ids that occur in kept combinations."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import loops
from nid_plugins.crosses.bins import FastBins
from nid_plugins.crosses.columns import BatchColumns
from nid_plugins.crosses.compact import (
    TABLE_BYTES,
    CrossCode,
    Integers,
    KeyNumbers,
    MemberCodes,
    table_room,
    with_tables,
)
from nid_plugins.crosses.frame_source import block_of
from nid_plugins.crosses.keys import Int64Array, cross_keys
from nid_plugins.crosses.lookup import members_of
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.crosses.threads import in_threads, threads_for

Int32Array = npt.NDArray[np.int32]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nid_plugins.crosses.columns import Rows
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.frame_source import FrameSource
    from nid_plugins.crosses.vocabulary import Cross
    from nid_plugins.schema import FeatureSchema


class Columns(Protocol):
    """Rows whose member ids and codes can be asked for by field."""

    @property
    def scratch(self) -> Scratch:
        """Arrays for what is worked out of them."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def ids(self, name: str) -> Int64Array:
        """Return member ids, shape (n,)."""

    def codes(self, name: str) -> Integers:
        """Return codes by :attr:`CompiledCrosses.members`, shape (n,)."""


def used_ids(crosses: CrossFeatures) -> dict[str, Int64Array]:
    """Return the ids, ascending, that occur in a kept combination, of each member of a cross with exact keys."""
    found: dict[str, list[Int64Array]] = {}
    for cross in crosses.crosses:
        if cross.exact:
            for name, ids in zip(cross.fields, members_of(cross), strict=True):
                found.setdefault(name, []).append(np.unique(ids))
    return {name: np.unique(np.concatenate(parts)) for name, parts in found.items()}


def member_fields(crosses: CrossFeatures) -> tuple[str, ...]:
    """Return the names of the members of crosses, in schema order."""
    used = {name for cross in crosses.crosses for name in cross.fields}
    return tuple(name for name in crosses.schema.names if name in used)


class CompiledCrosses:
    """The crosses of a :class:`~nid_plugins.crosses.features.CrossFeatures`, ready for batch after batch.

    They do not change by use, so that threads may share them.

    Args:
        crosses: The crosses.
        memory: Bytes for rows on their way. Tables of fields take an eighth of it at most, and those of crosses as much,
            and no more than :data:`~nid_plugins.crosses.compact.TABLE_BYTES`; what has none is hashed.

    Attributes:
        members: Codes of the members of crosses.
        bins: Bins of the dense ones.
        fields: The members, in schema order.
    """

    def __init__(self, crosses: CrossFeatures, memory: int | None = None) -> None:
        room = TABLE_BYTES if memory is None else table_room(memory)
        sizes = {
            name: size
            for cross in crosses.crosses
            for name, size in zip(cross.fields, cross.sizes, strict=True)
        }
        used = {name: ids for name, ids in used_ids(crosses).items() if name not in crosses.edges}
        tables = with_tables({name: (sizes[name], len(ids)) for name, ids in used.items()}, room)
        self.members = {
            name: MemberCodes(sizes[name], ids, table=name in tables) for name, ids in used.items()
        }
        # All bins of a dense field have codes: there are few, and values are told apart anyhow.
        self.members |= {name: MemberCodes(sizes[name]) for name in crosses.edges}
        self.bins = {name: FastBins(edges) for name, edges in crosses.edges.items()}
        self.fields = member_fields(crosses)
        codes = [
            CrossCode(cross.fields, cross.sizes, self.members) if cross.exact else None
            for cross in crosses.crosses
        ]
        tables = with_tables(
            {
                k: (code.space, crosses.crosses[k].vocabulary)
                for k, code in enumerate(codes)
                if code is not None and code.radix
            },
            room,
        )
        self._lookups = [
            _Lookup(cross, code if code is not None and code.radix else None, self.members, table=k in tables)
            for k, (cross, code) in enumerate(zip(crosses.crosses, codes, strict=True))
        ]

    def __len__(self) -> int:
        return len(self._lookups)

    def ids(self, columns: Columns, out: Int32Array | None = None) -> Int32Array:
        """Return the cross ids of rows, shape (K, n), in ``out`` where it is given."""
        if out is None:
            out = np.empty((len(self._lookups), len(columns)), dtype=np.int32)
        for lookup, row in zip(self._lookups, out, strict=True):
            lookup(columns, row)
        return out


class _Lookup:
    """One cross."""

    def __init__(
        self, cross: Cross, code: CrossCode | None, members: dict[str, MemberCodes], *, table: bool
    ) -> None:
        self._cross = cross
        self._code = code
        if code is None:
            self._numbers = KeyNumbers(cross.keys)
            return
        codes = [members[name].codes(ids) for name, ids in zip(cross.fields, members_of(cross), strict=True)]
        keys = code.numbers(codes).astype(np.int64, copy=False)
        self._numbers = KeyNumbers(keys, code.space if table else None)

    def __call__(self, columns: Columns, out: Int32Array) -> None:
        if self._code is not None:
            codes = [columns.codes(name) for name in self._cross.fields]
            if self._numbers.of_digits(codes, self._code.bases, out):
                return
            self._numbers(self._code.numbers(codes, columns.scratch), out, columns.scratch)
            return
        keys, valid = cross_keys([columns.ids(name) for name in self._cross.fields], self._cross.sizes)
        self._numbers(keys, out)
        out *= valid


def ids_of_rows(
    compiled: CompiledCrosses,
    blocks: Iterable[Rows],
    schema: FeatureSchema,
    out: Int32Array,
    scratch: Scratch,
    *,
    check: bool,
) -> None:
    """Write the cross ids of blocks of rows, one after the other, into an array of shape (n, K)."""
    start, many = 0, out.shape[1]
    for block in blocks:
        stop = start + len(block)
        columns = BatchColumns(
            block,
            schema,
            known_only=False,
            bins=compiled.bins,
            members=compiled.members,
            check=check,
            scratch=scratch,
        )
        # Cross by cross first, then turned: steps through the result for each cross would miss the cache.
        side = scratch("side", many * len(block), np.int32).reshape(many, -1)
        out[start:stop] = compiled.ids(columns, side).T
        start = stop


def ids_of_frame(
    compiled: CompiledCrosses, source: FrameSource, schema: FeatureSchema, threads: int
) -> Int32Array:
    """Return the cross ids of a frame that was checked, shape (n, K), by at most so many threads."""
    loops.for_rows(source.rows)
    out = np.empty((source.rows, len(compiled)), dtype=np.int32)
    idle: SimpleQueue[Scratch] = SimpleQueue()
    threads = threads_for(source.rows, threads)
    for _ in range(threads):
        idle.put(Scratch())

    def work(piece: list[range]) -> None:
        scratch = idle.get()
        try:
            for rows in source.batches((), 0, piece):
                own = out[rows.first : rows.stop]
                ids_of_rows(compiled, rows.blocks(block_of(threads)), schema, own, scratch, check=False)
        finally:
            idle.put(scratch)

    for _ in in_threads(work, source.pieces(), threads):
        pass
    return out
