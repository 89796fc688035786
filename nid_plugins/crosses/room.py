"""Room for crosses that are not chosen yet: what of fitted crosses fits into a layer whose shapes were fixed before."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.adapting.options import positive
from nid_plugins.crosses.bins import check_bins
from nid_plugins.crosses.features import CrossFeatures
from nid_plugins.crosses.keys import cross_keys
from nid_plugins.crosses.lookup import groups_of, kind_of
from nid_plugins.crosses.members import MemberIds
from nid_plugins.crosses.perfect_hash import table_sizes
from nid_plugins.crosses.plan import CrossPlan
from nid_plugins.errors import NidWarning, SchemaError, SettingError
from nid_plugins.frames import read_matrix
from nid_plugins.schema import FeatureSchema, SparseField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses.vocabulary import Cross
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import Field

_LARGEST = 2**31 - 1
_WIDE = (2**31 - 1, 2**31 - 1)  # sizes of a cross whose codes need 64 bits


@dataclasses.dataclass(frozen=True)
class Room:
    """Room for crosses, before they are known.

    Attributes:
        schema: The fields they may be of.
        crosses: Most crosses.
        size: Most combinations of a cross.
        order: Most members of a cross.
        bins: Most bins of a dense field.

    Raises:
        SettingError: One is out of its domain, or together they are more than 32 bits can number.
    """

    schema: FeatureSchema
    crosses: int = 10
    size: int = 2000
    order: int = 3
    bins: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.schema, FeatureSchema):
            raise SettingError("not a schema", received=type(self.schema).__name__, expected="FeatureSchema")
        for name in ("crosses", "size", "order"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        object.__setattr__(self, "bins", check_bins(self.bins))
        if self.order < 2:
            raise SettingError("order out of range", received=self.order, expected="an integer of at least 2")
        slots = self.crosses * table_sizes(min(self.size, _LARGEST))[1]
        if slots > _LARGEST:
            raise SettingError(
                "too much room for crosses",
                received=f"crosses={self.crosses}, size={self.size}",
                expected=f"at most {_LARGEST} places in the lookup tables, not {slots}",
                hint="Ask for fewer crosses or combinations",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the room as JSON takes it; see :meth:`from_dict`."""
        numbers = {name: getattr(self, name) for name in ("crosses", "size", "order", "bins")}
        return {"schema": self.schema.to_dict(), **numbers}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Room:
        """Return the room that :meth:`to_dict` described."""
        return cls(**{**spec, "schema": FeatureSchema.from_dict(spec["schema"])})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the places; those of crosses are known when there are some."""
        return tuple(f"place_{k + 1}" for k in range(self.crosses))

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of combinations each place has room for."""
        return (self.size,) * self.crosses

    @property
    def edges(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """Bin edges that are known beforehand, which is none."""
        return {}

    @property
    def sparse(self) -> tuple[str, ...]:
        """Names of the sparse fields."""
        return tuple(field.name for field in self.schema.sparse)

    @property
    def dense(self) -> tuple[str, ...]:
        """Names of the dense ones."""
        return tuple(field.name for field in self.schema.dense)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields, sparse ones first, by which members are numbered."""
        return (*self.sparse, *self.dense)

    def plan(self) -> CrossPlan:
        """Return a plan of as many crosses as there is room for, none of which has a member or a combination yet.

        All have codes of 64 bits, so that which of them is in which place is a matter of the tables alone.
        """
        position = {name: i for i, name in enumerate(self.fields)}
        blank = {"fields": (), "sizes": _WIDE, "exact": True, "vocabulary": self.size}
        (group,) = groups_of([blank] * self.crosses, position)
        unknown = np.full((self.order, self.crosses), len(self.fields), np.int64)
        return CrossPlan(
            names=self.names,
            sizes=self.vocabulary_sizes,
            sparse=self.sparse,
            dense=self.dense,
            cardinalities=np.array([[field.cardinality] for field in self.schema.sparse], np.int64).reshape(
                -1, 1
            ),
            edge_counts=np.full((len(self.dense), 1), max(self.bins - 1, 1), np.int64),
            groups=(dataclasses.replace(group, members=unknown),),
            mixed=(),
            order=None,
            spec={"schema": self.schema.to_dict()},
        )

    def check_field(self, field: Field) -> None:
        """Check that a member of a cross is one of the room's fields.

        Raises:
            SchemaError: It is not, or of another kind or cardinality.
        """
        own = self.schema[field.name] if field.name in self.schema.names else None
        sizes = [one.cardinality if isinstance(one, SparseField) else None for one in (own, field)]
        if type(own) is not type(field) or sizes[0] != sizes[1]:
            raise SchemaError(
                "a cross of another field than there is room for",
                field=field.name,
                received=field,
                expected=own or f"a field of {list(self.schema.names)}",
            )

    def misfit(self, cross: Cross, edges: Mapping[str, npt.NDArray[np.float32]]) -> str | None:
        """Return why there is no room for a cross however few combinations are kept; None where there is."""
        if len(cross.fields) > self.order:
            return f"{len(cross.fields)} members, room for {self.order} (order=)"
        if kind_of(cross.sizes, exact=cross.exact) not in {"narrow", "wide"}:
            return f"{cross.space:.2g} possible combinations: more than 64 bits tell apart"
        for name in cross.fields:
            if name in edges and len(edges[name]) > max(self.bins - 1, 1):
                return f"{len(edges[name]) + 1} bins of {name!r}, room for {self.bins} (bins=)"
        return None

    def fitting(self, crosses: CrossFeatures, train: Any, most: int | None = None) -> CrossFeatures | None:
        """Return what there is room for of crosses: of the largest ones the most frequent combinations.

        Args:
            crosses: The crosses, best first, of the room's schema.
            train: The frame they were fitted on: combinations are counted in it.
            most: Most crosses to return. None: all there is room for when it is empty.

        Returns:
            Crosses that fit; None where no cross does.

        Raises:
            FrameError: The frame does not fit the schema.

        Warns:
            NidWarning: Crosses or combinations were left out, and why.
        """
        most = self.crosses if most is None else most
        problems: list[str] = []
        kept: list[Cross] = []
        rows: FloatMatrix | None = None
        for cross in crosses.crosses:
            misfit = self.misfit(cross, crosses.edges)
            if misfit is None and len(kept) == most:
                misfit = f"room for {most} crosses (crosses=)"
            if misfit is not None:
                problems.append(f"{cross.name} left out ({misfit})")
                continue
            if cross.vocabulary > self.size:
                if rows is None:
                    rows = read_matrix(
                        train, crosses.schema, what="training frame", missing=True, known_only=False
                    )
                problems.append(
                    f"{cross.name} cut to its {self.size} most frequent of {cross.vocabulary} combinations (size=)"
                )
                cross = _most_frequent(cross, crosses, rows, self.size)  # noqa: PLW2901 - what is left of it
            kept.append(cross)
        if problems:
            warnings.warn(f"no room for all of the crosses: {'; '.join(problems)}", NidWarning, stacklevel=2)
        return CrossFeatures(crosses.schema, kept, crosses.edges) if kept else None


def _most_frequent(cross: Cross, crosses: CrossFeatures, rows: FloatMatrix, size: int) -> Cross:
    """Return a cross with the combinations that occur most often, of equally frequent ones those of smaller keys."""
    members = MemberIds(rows, crosses.schema, crosses.edges)
    keys, valid = cross_keys([members[name] for name in cross.fields], cross.sizes)
    counts = np.bincount(cross.lookup(keys, valid), minlength=cross.vocabulary + 1)[1:]
    chosen = np.argsort(-counts, kind="stable")[:size]
    return dataclasses.replace(cross, keys=np.ascontiguousarray(cross.keys[np.sort(chosen)]))
