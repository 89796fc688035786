"""Member ids of a batch of rows of a file, checked as :func:`nid_plugins.frames.read_matrix` checks a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import INVALID, Int64Array, sparse_ids
from nid_plugins.errors import FrameError
from nid_plugins.frames import check_matrix, numeric_column
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses.bins import FastBins
    from nid_plugins.crosses.compact import MemberCodes
    from nid_plugins.crosses.sources import Batch


class FileColumns:
    """Columns of a batch, each read and checked when first asked for.

    Args:
        batch: The rows.
        schema: What the columns mean.
        known_only: Whether an id out of range is an error (in training rows), or no id.
        bins: Bins of dense fields, for :meth:`ids`.
        members: Codes of fields, for :meth:`codes`.
    """

    def __init__(
        self,
        batch: Batch,
        schema: FeatureSchema,
        *,
        known_only: bool,
        bins: Mapping[str, FastBins] | None = None,
        members: Mapping[str, MemberCodes] | None = None,
    ) -> None:
        self._batch = batch
        self._schema = schema
        self._known_only = known_only
        self._bins = bins or {}
        self._members = members or {}
        self._ids: dict[str, Int64Array] = {}
        self._codes: dict[str, Int64Array] = {}

    def __len__(self) -> int:
        return len(self._batch)

    def ids(self, name: str) -> Int64Array:
        """Return the member ids of a field, shape (n,), :data:`~nid_plugins.crosses.keys.INVALID` where there is none.

        Raises:
            FrameError: The column is not numeric, infinite, or holds a fractional id or, in training rows, an unknown one.
        """
        if name not in self._ids:
            field = self._schema[name]
            if isinstance(field, DenseField):
                self._ids[name] = self._bins[name](self.values(name))
            else:
                self._ids[name] = self._sparse(field)
        return self._ids[name]

    def codes(self, name: str) -> Int64Array:
        """Return the codes of a member, shape (n,), 0 where it is rare or missing; see :meth:`ids`."""
        if name not in self._codes:
            self._codes[name] = self._members[name].codes(self.ids(name))
        return self._codes[name]

    def values(self, name: str) -> npt.NDArray[np.floating[Any]]:
        """Return the values of a dense field, shape (n,), NaN where missing; see :meth:`ids`."""
        array = self._batch.column(name)
        values = array if array.dtype == np.float32 else self._numbers(name, array)
        if np.isinf(values).any():
            self._check(values, self._schema[name])
        return values

    def _sparse(self, field: SparseField) -> Int64Array:
        array = self._batch.column(field.name)
        if array.dtype.kind in "iu" and len(array):
            low, high = int(array.min()), int(array.max())
            if low >= 0 and high < field.cardinality:
                return array.astype(np.int64, copy=False)
            if not self._known_only:
                known = (array >= 0) & (array < field.cardinality)
                return np.where(known, array, 0).astype(np.int64) + np.where(known, 0, INVALID)
        values = self._numbers(field.name, array)
        self._check(values, field)
        return sparse_ids(values, field.cardinality)

    def _numbers(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        try:
            return numeric_column(name, array)
        except FrameError as error:
            raise FrameError(
                f"{error.problem} in the rows of {self._batch.where}",
                field=name,
                received=error.received,
                expected=error.expected,
                hint=error.hint,
            ) from None

    def _check(self, values: npt.NDArray[np.floating[Any]], field: SparseField | DenseField) -> None:
        check_matrix(
            values.astype(np.float64)[:, None],
            FeatureSchema([field]),
            what=f"rows of {self._batch.where}",
            missing=True,
            known_only=self._known_only,
        )
