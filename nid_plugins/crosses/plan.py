"""How a graph computes cross keys: the arithmetic of ``docs/keys.md`` for all crosses at once, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.lookup import LookupGroup, groups_of
from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses.features import CrossFeatures

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossPlan:
    """Crosses without their vocabulary and bins, ready to be computed for a batch in a graph.

    Attributes:
        names: Names of the crosses, K.
        sizes: Vocabulary size V of each.
        sparse: Names of the sparse fields that are members of some cross.
        dense: Names of the dense ones.
        cardinalities: Of the sparse fields, shape (len(sparse), 1), int64.
        edge_counts: Bin edges of the dense fields, shape (len(dense), 1), int64.
        groups: Crosses that are computed alike; see :mod:`nid_plugins.crosses.lookup`.
        mixed: Positions among the fields of the members of each cross with mixed keys.
        order: Where each cross is among those of all groups, shape (K,); None where that changes nothing.
        spec: The plan as JSON takes it; see :meth:`from_spec`.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    sparse: tuple[str, ...]
    dense: tuple[str, ...]
    cardinalities: Int64Array
    edge_counts: Int64Array
    groups: tuple[LookupGroup, ...]
    mixed: tuple[tuple[int, ...], ...]
    order: Int64Array | None
    spec: dict[str, Any]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that are members of some cross, sparse ones first."""
        return (*self.sparse, *self.dense)

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Vocabulary size V of each cross, by the name it has in ``CrossFeatures``."""
        return self.sizes

    @property
    def field_sizes(self) -> Int64Array:
        """Number of ids of each member field, shape (fields, 1), int64; in a graph it is the id of a missing value."""
        return np.concatenate([self.cardinalities, self.edge_counts + 1])

    @property
    def padded(self) -> bool:
        """Whether some group has crosses of several lengths, and so a further last field whose id is always 0."""
        return any(int(group.members.max()) == len(self.fields) for group in self.groups)

    @property
    def narrow_ids(self) -> bool:
        """Whether 32 bits hold every id, that of a missing value included."""
        return int(self.field_sizes.max(initial=0)) < 2**31

    @property
    def longest_edges(self) -> int:
        """The largest number of bin edges of a dense field."""
        return int(self.edge_counts.max(initial=0))

    @property
    def schema_names(self) -> tuple[str, ...]:
        """Names of all fields of the schema the crosses were fitted on."""
        return FeatureSchema.from_dict(self.spec["schema"]).names

    @classmethod
    def of(cls, crosses: CrossFeatures) -> CrossPlan:
        """Return the plan of crosses."""
        return cls.from_spec(
            {
                "schema": crosses.schema.to_dict(),
                "crosses": [
                    {
                        "name": cross.name,
                        "fields": list(cross.fields),
                        "sizes": [int(size) for size in cross.sizes],
                        "exact": bool(cross.exact),
                        "vocabulary": int(cross.vocabulary),
                    }
                    for cross in crosses.crosses
                ],
                "edges": {name: len(own) for name, own in crosses.edges.items()},
            }
        )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> CrossPlan:
        """Return the plan a ``spec`` describes.

        Raises:
            SettingError: It is not one.
        """
        try:
            return cls._made(spec)
        except (KeyError, TypeError, AttributeError, SchemaError) as error:
            raise SettingError(
                "not the specification of crosses",
                received=repr(spec)[:200],
                expected="CrossFeatures, or what get_config() of a layer holds",
            ) from error

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> CrossPlan:
        schema = FeatureSchema.from_dict(spec["schema"])
        crosses = spec["crosses"]
        used = {name for cross in crosses for name in cross["fields"]}
        sparse = [field for field in schema.sparse if field.name in used]
        dense = tuple(field.name for field in schema.dense if field.name in used)
        position = {name: i for i, name in enumerate((*(field.name for field in sparse), *dense))}
        groups = groups_of(crosses, position)
        order = np.argsort([k for group in groups for k in group.positions], kind="stable")
        return cls(
            names=tuple(cross["name"] for cross in crosses),
            sizes=tuple(int(cross["vocabulary"]) for cross in crosses),
            sparse=tuple(field.name for field in sparse),
            dense=dense,
            cardinalities=np.array([[field.cardinality] for field in sparse], np.int64).reshape(-1, 1),
            edge_counts=np.array([[int(spec["edges"][name])] for name in dense], np.int64).reshape(-1, 1),
            groups=groups,
            mixed=tuple(
                tuple(position[name] for name in cross["fields"]) for cross in crosses if not cross["exact"]
            ),
            order=None if (order == np.arange(len(order))).all() else order,
            spec=dict(spec),
        )

    def edge_table(self, edges: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return the bin edges of the dense fields side by side, shape (len(dense), longest), infinity behind the last."""
        table = np.full((len(self.dense), self.longest_edges), np.inf, dtype=np.float32)
        for row, name in zip(table, self.dense, strict=True):
            row[: len(edges[name])] = edges[name]
        return table

    @property
    def ragged(self) -> bool:
        """Whether dense fields differ in the number of edges; a value of infinity then counts the filling ones too."""
        return len(set(self.edge_counts.ravel().tolist())) > 1
