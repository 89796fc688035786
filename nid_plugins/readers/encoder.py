"""Coding raw values as ids and scaled numbers, as learned from the training rows alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import ArtefactError, FrameError, SettingError
from nid_plugins.frames import columns_of
from nid_plugins.readers.columns import is_dense, numbers_of, tokens_of
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from collections.abc import Sequence


OOV_ID = 0
"""Id of values that were rare or absent in training."""
MISSING_ID = 1
"""Id of a missing value."""
_FIRST_ID = 2
_FORMAT, _VERSION = "nid-encoder", 1


@dataclass(frozen=True, slots=True)
class SparseCode:
    """How a categorical field is coded: 0 rare or unseen, 1 missing, from 2 the values, most frequent first.

    Args:
        name: Column name.
        values: The values that have an id of their own, spelt as text.
    """

    name: str
    values: tuple[str, ...]

    @property
    def field(self) -> SparseField:
        """The field this gives."""
        return SparseField(self.name, len(self.values) + _FIRST_ID, oov=OOV_ID)

    def apply(self, column: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return ids, shape (n,)."""
        tokens = tokens_of(column)
        known = {value: at for at, value in enumerate(self.values, _FIRST_ID)}
        ids = np.array([*(known.get(value, OOV_ID) for value in tokens.texts), MISSING_ID], dtype=np.int64)
        return ids[tokens.codes]


@dataclass(frozen=True, slots=True)
class DenseCode:
    """How a numeric field is coded: ``(t(x) - mean) / scale``, where t is the transform.

    Args:
        name: Column name.
        transform: ``"log"``, sign(x) log(1 + abs(x)), or ``"none"``.
        mean: Mean of t(x) in training.
        scale: Standard deviation of t(x) in training; 1 for a constant field.
        missing: What a missing value becomes: one scale below the least training value, so that it is told apart.
    """

    name: str
    transform: str
    mean: float
    scale: float
    missing: float

    @property
    def field(self) -> DenseField:
        """The field this gives."""
        return DenseField(self.name)

    def apply(self, column: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return coded values, shape (n,).

        Raises:
            FrameError: A value is neither a finite number nor missing.
        """
        values = (_transformed(numbers_of(self.name, column), self.transform) - self.mean) / self.scale
        return np.where(np.isnan(values), self.missing, values).astype(np.float32)


def _transformed(values: npt.NDArray[np.float64], transform: str) -> npt.NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values)) if transform == "log" else values


class Encoder:
    """The coding of a whole frame. Made by :meth:`fit`, or read by :meth:`load`.

    Args:
        codes: One code a field, in schema order.
    """

    def __init__(self, codes: Sequence[SparseCode | DenseCode]) -> None:
        self.codes = tuple(codes)
        self.schema = FeatureSchema(code.field for code in self.codes)

    def __repr__(self) -> str:
        return f"Encoder({len(self.schema.sparse)} sparse, {len(self.schema.dense)} dense fields)"

    @classmethod
    def fit(
        cls,
        train: Any,
        *,
        sparse: Sequence[str] = (),
        dense: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_count: int | None = None,
        transform: str = "log",
    ) -> Encoder:
        """Learn a coding from training rows.

        Columns named neither sparse nor dense are dense when they hold numbers of which some have a fraction;
        whole numbers are taken for categories, as ids are.

        Args:
            train: Training rows: a mapping of name to 1-D array, or a pandas, Polars or Arrow table.
            sparse: Columns that are categories.
            dense: Columns that are numbers.
            exclude: Columns to leave out, such as the label.
            min_count: A value gets an id of its own when it occurs at least so often; ``None`` for one in 10,000
                rows, but at least 2.
            transform: Of dense fields: ``"log"`` or ``"none"``.

        Raises:
            FrameError: No rows, a dense column that is not numeric, or a column that is not there.
            SettingError: An option is out of its domain.
        """
        columns = columns_of(train)
        if transform not in ("log", "none"):
            raise SettingError("unknown transform", received=repr(transform), expected='"log" or "none"')
        if min_count is not None and min_count < 1:
            raise SettingError("min_count out of range", received=min_count, expected="1 or more")
        for name in (*sparse, *dense, *exclude):
            if name not in columns:
                raise FrameError("no such column", field=name, expected=f"one of {sorted(columns)}")
        both = sorted(set(sparse) & set(dense))
        if both:
            raise SettingError("asked for as sparse and as dense", field=both[0], hint="Name it once")
        kept = {name: column for name, column in columns.items() if name not in exclude}
        rows = len(next(iter(kept.values()))) if kept else 0
        if not rows:
            raise FrameError("nothing to learn a coding from", received=f"{rows} rows, {len(kept)} columns")
        least = max(2, rows // 10_000) if min_count is None else min_count
        codes: list[SparseCode | DenseCode] = []
        for name, column in kept.items():
            if name in dense or (name not in sparse and is_dense(column)):
                codes.append(_fit_dense(name, column, transform))
            else:
                codes.append(_fit_sparse(name, column, least))
        return cls(codes)

    def transform(self, frame: Any) -> dict[str, npt.NDArray[Any]]:
        """Return a frame coded: ids int64, dense values float32.

        Raises:
            FrameError: A column is missing, or a dense value is not a finite number.
        """
        columns = columns_of(frame)
        absent = [name for name in self.schema.names if name not in columns]
        if absent:
            raise FrameError(
                "the frame lacks columns",
                field=absent[0],
                received=f"missing {absent}",
                expected=list(self.schema.names),
            )
        return {code.name: code.apply(columns[code.name]) for code in self.codes}

    def save(self, path: str | Path) -> None:
        """Write the coding as JSON."""
        spec = {"format": _FORMAT, "version": _VERSION, "fields": [_spec(code) for code in self.codes]}
        Path(path).write_text(json.dumps(spec, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Encoder:
        """Read what :meth:`save` wrote.

        Raises:
            ArtefactError: No such file, damaged, not an encoder, or from a newer version.
        """
        try:
            spec = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"the encoder {path} cannot be read", received=f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(spec, dict) or spec.get("format") != _FORMAT:
            raise ArtefactError(f"{path} is not a saved encoder", expected=f'"format": "{_FORMAT}"')
        if not isinstance(spec.get("version"), int) or spec["version"] > _VERSION:
            raise ArtefactError(
                f"the encoder {path} was written by a newer version",
                received=f"version {spec.get('version')}",
                expected=f"version {_VERSION} or older",
                hint="Upgrade nid-plugins",
            )
        try:
            return cls([_code(field) for field in spec["fields"]])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtefactError(
                f"the encoder {path} is damaged", received=f"{type(error).__name__}: {error}"
            ) from error


def _fit_sparse(name: str, column: npt.NDArray[Any], least: int) -> SparseCode:
    tokens = tokens_of(column)
    counts = np.bincount(tokens.codes[tokens.codes >= 0], minlength=len(tokens.texts))
    # Ties stay in alphabetical order, whatever the order of the rows.
    order = np.argsort(-counts, kind="stable")
    return SparseCode(name, tuple(tokens.texts[i] for i in order if counts[i] >= least))


def _fit_dense(name: str, column: npt.NDArray[Any], transform: str) -> DenseCode:
    values = _transformed(numbers_of(name, column), transform)
    values = values[~np.isnan(values)]
    if not len(values):
        raise FrameError("no value in the training rows", field=name, hint="Exclude the column")
    mean, scale = float(values.mean()), float(values.std())
    if scale < 1e-12 * max(1.0, abs(mean)):
        scale = 1.0
    return DenseCode(name, transform, mean, scale, float((values.min() - mean) / scale - 1.0))


def _spec(code: SparseCode | DenseCode) -> dict[str, Any]:
    if isinstance(code, SparseCode):
        return {"kind": "sparse", "name": code.name, "values": list(code.values)}
    numbers = {"mean": code.mean, "scale": code.scale, "missing": code.missing}
    return {"kind": "dense", "name": code.name, "transform": code.transform, **numbers}


def _code(spec: dict[str, Any]) -> SparseCode | DenseCode:
    if spec["kind"] == "sparse":
        values = spec["values"]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TypeError("values of a sparse field are not text")
        if len(set(values)) != len(values):
            raise ValueError("a value has two ids")
        return SparseCode(spec["name"], tuple(values))
    numbers = [float(spec[key]) for key in ("mean", "scale", "missing")]
    if spec["kind"] != "dense" or spec["transform"] not in {"log", "none"} or not np.isfinite(numbers).all():
        raise ValueError(f"not a coding: {spec}")
    if numbers[1] <= 0:
        raise ValueError("a scale must be positive")
    return DenseCode(spec["name"], spec["transform"], *numbers)
