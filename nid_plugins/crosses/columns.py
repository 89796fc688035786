"""Member ids of a batch of rows, checked as :func:`nid_plugins.frames.read_matrix` checks a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.keys import INVALID, Int64Array, sparse_ids
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.errors import FrameError
from nid_plugins.frames import check_matrix, numeric_column
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses.bins import FastBins
    from nid_plugins.crosses.compact import Integers, MemberCodes


class Rows(Protocol):
    """Some rows of a source."""

    @property
    def where(self) -> str:
        """The rows, for messages."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column as it is, shape (n,); missing values are NaN, or None in a column of objects."""


class BatchColumns:
    """Columns of a batch, each read and checked when first asked for.

    Args:
        batch: The rows.
        schema: What the columns mean.
        known_only: Whether an id out of range is an error (in training rows), or no id.
        bins: Bins of dense fields, for :meth:`ids`.
        members: Codes of fields, for :meth:`codes`.
        check: Whether to check values. If not, integers are known ids in training rows, and elsewhere what has no
            meaning has no id.
        scratch: Where codes are kept, so that those of a batch are there until the next one's are asked for.

    Attributes:
        scratch: As given, or one of its own.
    """

    def __init__(
        self,
        batch: Rows,
        schema: FeatureSchema,
        *,
        known_only: bool,
        bins: Mapping[str, FastBins] | None = None,
        members: Mapping[str, MemberCodes] | None = None,
        check: bool = True,
        scratch: Scratch | None = None,
    ) -> None:
        self._batch = batch
        self._schema = schema
        self._known_only = known_only
        self._bins = bins or {}
        self._members = members or {}
        self._checks = check
        self.scratch = scratch or Scratch()
        self._ids: dict[str, Int64Array] = {}
        self._codes: dict[str, Integers] = {}

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
                self._ids[name] = self._sparse(field).astype(np.int64, copy=False)
        return self._ids[name]

    def codes(self, name: str) -> Integers:
        """Return the codes of a member, shape (n,), 0 where it is rare or missing; see :meth:`ids`."""
        if name not in self._codes:
            field = self._schema[name]
            out = self.scratch(f"codes of {name}", len(self), np.int32)
            self._codes[name] = (
                self._bins[name].codes(self.values(name), self.scratch, out)
                if isinstance(field, DenseField)
                else self._members[name].codes(self._sparse(field), out, self.scratch)
            )
        return self._codes[name]

    def values(self, name: str) -> npt.NDArray[np.floating[Any]]:
        """Return the values of a dense field, shape (n,), NaN where missing; see :meth:`ids`."""
        array = self._batch.column(name)
        values = array if array.dtype == np.float32 else self._numbers(name, array)
        if self._checks and np.isinf(values).any():
            self._check(values, self._schema[name])
        return values

    def sparse(self, name: str) -> Integers:
        """Return what :meth:`ids` returns of a sparse field, of whatever type of integers the column has."""
        field = self._schema[name]
        assert isinstance(field, SparseField)
        return self._sparse(field)

    def _sparse(self, field: SparseField) -> Integers:
        array = self._batch.column(field.name)
        if array.dtype.kind in "iu" and len(array):
            fits = self._known_only and not self._checks
            # As if without a sign: what is below 0 is above all that the type holds with one.
            limit = min(field.cardinality, int(np.iinfo(array.dtype).max) + 1)
            if fits or int(array.view(f"{array.dtype.byteorder}u{array.dtype.itemsize}").max()) < limit:
                return array.astype(np.int64) if array.dtype == np.uint64 else array
            if not self._known_only:
                known = (array >= 0) & (array < field.cardinality)
                return np.where(known, array, 0).astype(np.int64) + np.where(known, 0, INVALID)
        values = self._numbers(field.name, array)
        ids = sparse_ids(values, field.cardinality)
        if self._checks and np.count_nonzero(ids < 0) > np.count_nonzero(np.isnan(values)):
            self._check(values, field)
        return ids

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
