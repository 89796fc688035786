"""Member ids and cross ids of a matrix of rows, straight from their definition: for few rows, and for single fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import Int64Array, cross_keys, dense_ids, sparse_ids
from nid_plugins.schema import DenseField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

_CHUNK = 2**16  # rows worked on at a time


class MemberIds:
    """Member ids of rows of shape (n, p) by field name, shape (n,), each computed when first asked for."""

    def __init__(
        self, rows: FloatMatrix, schema: FeatureSchema, edges: Mapping[str, npt.NDArray[np.float32]]
    ) -> None:
        self._rows = rows
        self._schema = schema
        self._edges = edges
        self._ids: dict[str, Int64Array] = {}

    def __getitem__(self, name: str) -> Int64Array:
        if name not in self._ids:
            field = self._schema[name]
            column = np.ascontiguousarray(self._rows[:, self._schema.index_of(name)])
            self._ids[name] = (
                dense_ids(column, self._edges[name])
                if isinstance(field, DenseField)
                else sparse_ids(column, field.cardinality)
            )
        return self._ids[name]


def bisected(rows: FloatMatrix, crosses: CrossFeatures) -> npt.NDArray[np.int32]:
    """Return the cross ids of rows, shape (n, K), by bisection of the keys: nothing has to be made first."""
    out = np.empty((len(rows), len(crosses)), dtype=np.int32)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        members = MemberIds(part, crosses.schema, crosses.edges)
        for k, cross in enumerate(crosses.crosses):
            keys, valid = cross_keys([members[name] for name in cross.fields], cross.sizes)
            out[start : start + len(part), k] = cross.lookup(keys, valid)
    return out
