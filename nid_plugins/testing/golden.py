"""The golden file of cross ids, and its rows in the dtypes that a framework's inputs have."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import Cross, CrossFeatures
from nid_plugins.schema import FeatureSchema, SparseField

if TYPE_CHECKING:
    from nid_plugins.frames import FloatMatrix

KINDS = (
    "an id above 2**24",
    "an id above 2**31",
    "a negative id",
    "an id out of range",
    "a fractional id",
    "a missing id",
    "a missing dense value",
)
"""What the golden rows hold that inputs may be unable to carry."""


@dataclass(frozen=True, slots=True)
class IdInput:
    """One way in which a framework takes a batch, for the test of ids.

    Attributes:
        name: Passed to the hook ``cross_ids``, e.g. ``"matrix of float32"``.
        sparse: Dtype of ids in it: of NumPy, integer or float.
        dense: Dtype of dense values in it: float.
    """

    name: str
    sparse: npt.DTypeLike
    dense: npt.DTypeLike


@dataclass(frozen=True, eq=False)
class Golden:
    """The content of the golden file.

    Attributes:
        crosses: Exact and mixed ones, of two to seven members.
        rows: Shape (n, p), in schema order, NaN for missing.
        ids: The cross ids of the rows, shape (n, K): made by plain Python, not by the package.
    """

    crosses: CrossFeatures
    rows: FloatMatrix
    ids: npt.NDArray[np.int32]


@functools.cache
def golden(*, dense: bool = True) -> Golden:
    """Read the golden file.

    Args:
        dense: Whether to keep dense fields and the crosses that have one.
    """
    text = resources.files("nid_plugins.testing").joinpath("golden_keys.json").read_text(encoding="utf-8")
    content = json.loads(text)
    declared = FeatureSchema.from_dict(content["schema"])
    fields = [field for field in declared if dense or isinstance(field, SparseField)]
    schema = FeatureSchema(fields)
    listed = [cross for cross in content["crosses"] if set(cross["fields"]) <= set(schema.names)]
    crosses = [
        Cross(
            cross["name"],
            tuple(cross["fields"]),
            tuple(cross["sizes"]),
            cross["exact"],
            np.array(cross["vocabulary"], dtype=np.int64),
        )
        for cross in listed
    ]
    edges = {name: np.array(own, dtype=np.float32) for name, own in content["edges"].items()}
    rows = np.array(
        [[np.nan if v is None else v for v in row[: len(declared)]] for row in content["rows"]], dtype=float
    )
    return Golden(
        CrossFeatures(schema, crosses, edges),
        rows[:, [declared.index_of(field.name) for field in fields]],
        np.column_stack([cross["expected_ids"] for cross in listed]).astype(np.int32),
    )


def carried(
    rows: FloatMatrix, schema: FeatureSchema, way: IdInput
) -> tuple[dict[str, npt.NDArray[Any]], FloatMatrix]:
    """Return rows as the columns of a way of input, and the values these columns hold, which may be others.

    A float column holds what rounding makes of a value. An integer column holds 0 in place of what it cannot.

    Returns:
        Name to column (n,) of the way's dtypes; and the same values as rows (n, p), float64.
    """
    columns = {
        field.name: _cast(rows[:, j], np.dtype(way.sparse if isinstance(field, SparseField) else way.dense))
        for j, field in enumerate(schema)
    }
    return columns, np.column_stack([column.astype(np.float64) for column in columns.values()])


def _cast(values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond its range a value becomes infinite: part of the format
            return values.astype(dtype)
    limits = np.iinfo(dtype)
    # 2**63 is a float64 and not an int64: the upper limit is excluded.
    fits = (values == np.floor(values)) & (values >= float(limits.min)) & (values < float(limits.max) + 1)
    return np.where(fits, values, 0).astype(dtype)


def kinds_of(rows: FloatMatrix, held: FloatMatrix, schema: FeatureSchema) -> set[str]:
    """Return which :data:`KINDS` of value rows have whose columns hold them as they are.

    Args:
        rows: The golden rows, shape (n, p).
        held: What the columns hold in their place; see :func:`carried`.
        schema: Of the rows.
    """
    found: set[str] = set()
    same = (rows == held) | (np.isnan(rows) & np.isnan(held))
    for j, field in enumerate(schema):
        values = rows[same[:, j], j]
        whole = values == np.floor(values)
        if not isinstance(field, SparseField):
            found |= {"a missing dense value"} if np.isnan(values).any() else set()
            continue
        known = whole & (values >= 0) & (values < field.cardinality)
        tests = {
            # Odd, so that float32 cannot hold them: it rounds to multiples of 2 from 2**24, and of 256 from 2**31.
            "an id above 2**24": known & (values > 2**24) & (values < 2**25) & (values % 2 == 1),
            "an id above 2**31": known & (values > 2**31) & (values < 2**32) & (values % 2 == 1),
            "a negative id": values < 0,
            "an id out of range": whole & (values >= field.cardinality),
            "a fractional id": np.isfinite(values) & ~whole,
            "a missing id": np.isnan(values),
        }
        found |= {kind for kind, which in tests.items() if which.any()}
    return found
