"""Crosses as the arrays of one place each in a layer with room for them, and back: the arrays say all there is to know.

A place holds members (positions among the room's fields), the multipliers of their ids, and the lookup tables of its
combinations; see :mod:`nid_plugins.crosses.lookup`. Bin edges are shared by all places. The codes in the tables are
one-to-one, so that crosses are read back from a checkpoint of nothing but weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.features import CrossFeatures
from nid_plugins.crosses.lookup import hashed
from nid_plugins.crosses.ranking import cross_name
from nid_plugins.crosses.vocabulary import Cross
from nid_plugins.errors import SettingError, UnsupportedError

if TYPE_CHECKING:
    from nid_plugins.crosses.room import Room

Ints = npt.NDArray[np.integer[Any]]


@dataclass(eq=False)
class Places:
    """All places of a room, as arrays; see :meth:`fill` and :meth:`crosses`.

    Attributes:
        members: Shape (order, K), int32; the number of fields where a cross has no further member.
        multiplier: Shape (order, K, 1), int64.
        displacement: Buckets of all places side by side, int32.
        slot_code: Slots of all places side by side, int64.
        slot_row: As these, int32; 0 in a free slot.
        edge_counts: Bin edges of each dense field, shape (D, 1), int32.
        edges: Shape (D, longest), float32, infinity behind the last.
    """

    members: Ints
    multiplier: Ints
    displacement: Ints
    slot_code: Ints
    slot_row: Ints
    edge_counts: Ints
    edges: npt.NDArray[np.float32]

    def taken(self, room: Room) -> list[int]:
        """Return the places that hold a cross."""
        return [int(k) for k in np.flatnonzero(self.members[0] != len(room.fields))]

    def fill(self, room: Room, crosses: CrossFeatures) -> list[int]:
        """Put crosses into the first free places.

        Args:
            room: What the arrays are of.
            crosses: The crosses; see :meth:`~nid_plugins.crosses.room.Room.fitting`.

        Returns:
            Their places.

        Raises:
            SettingError: There is no room for one of them, or not for its bin edges beside those that are used.
            SchemaError: They are of other fields.
            UnsupportedError: One of them is there already.
        """
        taken = self.taken(room)
        free = [k for k in range(room.crosses) if k not in taken]
        self._check(room, crosses, taken, len(free))
        places = free[: len(crosses)]
        for place, cross in zip(places, crosses.crosses, strict=True):
            numbers = [room.fields.index(name) for name in cross.fields]
            self.members[:, place] = len(room.fields)
            self.members[: len(numbers), place] = numbers
            parts = hashed("wide", cross, place * room.size, room.order, room.size)
            self.multiplier[:, place, 0] = parts[0]
            for table, part in zip(
                (self.displacement, self.slot_code, self.slot_row), parts[1:], strict=True
            ):
                table.reshape(room.crosses, -1)[place] = part
        for name, own in crosses.edges.items():
            row = room.dense.index(name)
            self.edge_counts[row] = len(own)
            self.edges[row] = np.inf
            self.edges[row, : len(own)] = own
        return places

    def _check(self, room: Room, crosses: CrossFeatures, taken: list[int], free: int) -> None:
        if len(crosses) > free:
            raise SettingError(
                "no room for so many crosses",
                received=f"{len(crosses)} crosses",
                expected=f"at most {free}: {len(taken)} of {room.crosses} places are taken",
                hint="Reserve room for more (crosses=)",
            )
        present = self._field_sets(room, taken)
        for cross in crosses.crosses:
            for name in cross.fields:
                room.check_field(crosses.schema[name])
            if tuple(sorted(room.fields.index(name) for name in cross.fields)) in present:
                raise UnsupportedError("the layer has this cross already", received=cross.name)
            problem = room.misfit(cross, crosses.edges)
            if problem is None and cross.vocabulary > room.size:
                problem = f"{cross.vocabulary} combinations, room for {room.size} (size=)"
            if problem is not None:
                raise SettingError(
                    f"no room for cross {cross.name!r}",
                    received=problem,
                    hint="Reserve more room, or take what Room.fitting(crosses, train) leaves",
                )
        used = {room.fields[i] for own in present for i in own}
        for name, edges in crosses.edges.items():
            if name in used and not np.array_equal(edges, self.edges_of(room, name)):
                raise SettingError(
                    "a dense field has other bins in the crosses that are there",
                    field=name,
                    received=f"{len(edges)} edges",
                    expected=f"the {len(self.edges_of(room, name))} edges that are used",
                    hint="Fit further crosses on the same training frame, with the same bins",
                )

    def _field_sets(self, room: Room, taken: list[int]) -> list[tuple[int, ...]]:
        columns = (self.members[:, k] for k in taken)
        return [tuple(sorted(int(i) for i in column if i < len(room.fields))) for column in columns]

    def edges_of(self, room: Room, name: str) -> npt.NDArray[np.float32]:
        """Return the bin edges of a dense field."""
        row = room.dense.index(name)
        return self.edges[row, : int(self.edge_counts[row, 0])]

    def crosses(self, room: Room) -> CrossFeatures | None:
        """Return the crosses that are in the places, named after their members; None where there are none."""
        found: list[Cross] = []
        names = set(room.schema.names)
        used = {name for k in self.taken(room) for name in self._names(room, k)}
        edges = {name: self.edges_of(room, name).copy() for name in room.dense if name in used}
        sizes = {field.name: int(field.cardinality) for field in room.schema.sparse}
        sizes |= {name: len(own) + 1 for name, own in edges.items()}
        for place in self.taken(room):
            fields = self._names(room, place)
            name = cross_name(fields, names)
            names.add(name)
            own = tuple(sizes[field] for field in fields)
            found.append(Cross(name, fields, own, True, self._keys(room, place, own)))
        return CrossFeatures(room.schema, found, edges) if found else None

    def _names(self, room: Room, place: int) -> tuple[str, ...]:
        return tuple(room.fields[i] for i in self.members[:, place] if i < len(room.fields))

    def _keys(self, room: Room, place: int, sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return the keys of a place, by turning its codes back into member ids."""
        rows = self.slot_row.reshape(room.crosses, -1)[place]
        codes = self.slot_code.reshape(room.crosses, -1)[place][rows > 0].astype(np.int64)
        codes = codes[np.argsort(rows[rows > 0])]
        odd = int(self.multiplier[len(sizes) - 1, place, 0])
        inverse = np.uint64(pow(odd, -1, 2**64))
        rest = (codes.view(np.uint64) * inverse).view(np.int64)
        ids = []
        for size in reversed(sizes):
            rest, own = np.divmod(rest, np.int64(size + 1))
            ids.append(own)
        keys = np.zeros(len(codes), np.int64)
        for own, size in zip(reversed(ids), sizes, strict=True):
            keys = keys * np.int64(size) + own
        return keys

    def sizes(self, room: Room) -> list[int]:
        """Return the number of combinations of each place, in order; 0 of a free one."""
        return [int(own) for own in np.count_nonzero(self.slot_row.reshape(room.crosses, -1), axis=1)]


def empty_places(room: Room) -> Places:
    """Return the arrays of a room nothing is in."""
    (group,) = room.plan().groups
    longest = max(room.bins - 1, 1)
    return Places(
        members=np.full((room.order, room.crosses), len(room.fields), np.int32),
        multiplier=np.zeros((room.order, room.crosses, 1), np.int64),
        displacement=np.zeros(group.buckets, np.int32),
        slot_code=np.zeros(group.slots, np.int64),
        slot_row=np.zeros(group.slots, np.int32),
        edge_counts=np.zeros((len(room.dense), 1), np.int32),
        edges=np.full((len(room.dense), longest), np.inf, np.float32),
    )
