"""Rows of a frame in memory, in blocks, as the rows of files come in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.frames import matrix_of
from nid_plugins.schema import DenseField, FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import Field

BLOCK = 2**16
"""Rows worked on at a time: few enough for caches, and enough for a cross's table to be worth fetching."""

SHARED_BLOCK = 2**17
"""Rows worked on at a time where threads share a process: with shorter steps they wait for each other's turn at Python."""

_PIECES = 64  # of a pass: enough for threads to end together


def block_of(threads: int) -> int:
    """Return how many rows so many threads work on at a time."""
    return BLOCK if threads == 1 else SHARED_BLOCK


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Some rows of a frame.

    Attributes:
        columns: All of the frame's, by name, shape (n,).
        first: Number of the first row.
        stop: Number of the row behind the last.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def where(self) -> str:
        """The rows, for messages."""
        return f"the frame from row {self.first}"

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column, shape (n,)."""
        return np.ascontiguousarray(self.columns[name][self.first : self.stop])

    def blocks(self, size: int) -> Iterator[FrameRows]:
        """Yield the rows, at most so many at a time."""
        for first in range(self.first, self.stop, size):
            yield FrameRows(self.columns, first, min(first + size, self.stop))


class FrameSource:
    """Rows of a frame, checked beforehand.

    Args:
        columns: Of numbers, by name, shape (n,) each.
        rows: n.

    Attributes:
        columns: As given.
        rows: As given.
    """

    checked = True

    def __init__(self, columns: Mapping[str, npt.NDArray[Any]], rows: int) -> None:
        self.columns = columns
        self.rows = rows

    @classmethod
    def of_matrix(cls, matrix: FloatMatrix, schema: FeatureSchema) -> FrameSource:
        """Return the rows of a matrix of shape (n, p) in schema order, unchecked."""
        return cls({name: matrix[:, j] for j, name in enumerate(schema.names)}, len(matrix))

    @classmethod
    def of_columns(
        cls, columns: Mapping[str, npt.NDArray[Any]], schema: FeatureSchema, *, what: str, known_only: bool
    ) -> FrameSource:
        """Return the rows of a frame's columns, all of them checked as :func:`nid_plugins.frames.read_matrix` does.

        Args:
            columns: See :func:`nid_plugins.frames.schema_columns`.
            schema: The fields.
            what: Name of the frame in error messages.
            known_only: Whether ids outside ``0 .. cardinality - 1`` are an error.

        Raises:
            FrameError: Non-numeric dtype, id out of range or fractional, infinity.
        """
        if all(_is_sound(field, columns[field.name], known_only=known_only) for field in schema):
            return cls(columns, len(columns[schema.names[0]]))
        # Columns of another kind, or something is wrong, and this says what.
        matrix = matrix_of(columns, schema, what=what, missing=True, known_only=known_only)
        return cls.of_matrix(matrix, schema)

    def require(self, columns: Iterable[str]) -> None:
        """Do nothing: a frame was read by its schema."""

    def pieces(self) -> list[list[range]]:
        """Return all rows as ranges of whole blocks, about :data:`_PIECES` of them."""
        size = -(-self.rows // (_PIECES * SHARED_BLOCK)) * SHARED_BLOCK
        return [[range(start, min(start + size, self.rows))] for start in range(0, self.rows, size or 1)]

    def batches(
        self, columns: Sequence[str], size: int, pieces: Iterable[range] | None = None
    ) -> Iterator[FrameRows]:
        """Yield the rows in order, of whatever columns, in pieces that take no memory."""
        del columns, size
        for piece in [range(self.rows)] if pieces is None else pieces:
            yield FrameRows(self.columns, piece.start, piece.stop)


def _is_sound(field: Field, column: npt.NDArray[Any], *, known_only: bool) -> bool:
    """Return whether a column is certain to pass all checks, and of a type that is worked on as it is."""
    kind = column.dtype.kind
    if kind not in "iuf" or column.dtype.itemsize > np.dtype(np.float64).itemsize:
        return False
    dense = isinstance(field, DenseField)
    blocks = (column[first : first + BLOCK] for first in range(0, len(column), BLOCK))
    if kind != "f":
        return dense or not known_only or all(_within(block, field) for block in blocks)
    if dense:
        return not any(np.isinf(block).any() for block in blocks)
    return all(_are_ids(block, field, known_only=known_only) for block in blocks)


def _within(ids: npt.NDArray[Any], field: Field) -> bool:
    return isinstance(field, DenseField) or (int(ids.min()) >= 0 and int(ids.max()) < field.cardinality)


def _are_ids(values: npt.NDArray[np.floating[Any]], field: Field, *, known_only: bool) -> bool:
    missing = np.isnan(values)
    present = values[~missing] if missing.any() else values
    if not len(present):
        return True
    if np.isinf(present).any() or bool((np.floor(present) != present).any()):
        return False
    return not known_only or _within(present, field)
