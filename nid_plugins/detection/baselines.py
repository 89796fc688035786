"""Baselines: the value a field takes when it is switched off."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.masks import Floats, Masks, perturb
from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import FeatureSchema, SparseField

if TYPE_CHECKING:
    from nid_plugins.blackbox import BlackBox


class Baseline(ABC):
    """How off fields are replaced. Register an instance in the hook ``nid_register_baselines``.

    Attributes:
        name: What users write in ``baseline=``.
        needs_background: Whether a background frame must be given.
    """

    name: ClassVar[str]
    needs_background: ClassVar[bool] = True

    @abstractmethod
    def values(self, background: Floats, schema: FeatureSchema, rng: np.random.Generator) -> Floats:
        """Return the off value of each field for one instance, shape (p,).

        Args:
            background: Rows of shape (n, p) that show what the fields usually hold.
            schema: The fields.
            rng: The instance's own source of randomness.
        """

    def query(self, box: BlackBox, row: Floats, values: Floats, masks: Masks) -> npt.NDArray[np.float64]:
        """Return the logits of one instance under masks (M, p); ``values`` is what :meth:`values` returned."""
        # Made batch by batch, the rows are in the processor's cache when the model reads them.
        return box.logits_from(len(masks), lambda part, dtype: perturb(row, values, masks[part], dtype))

    def unswitched(self, row: Floats, values: Floats) -> npt.NDArray[np.bool_]:
        """Return which fields of an instance (p,) are the same on and off, shape (p,): they cannot interact there."""
        same: npt.NDArray[np.bool_] = row == values
        return same


class Mode(Baseline):
    """Most frequent id of a sparse field, mean of a dense field, over the background."""

    name = "mode"

    def __init__(self) -> None:
        self._last: tuple[weakref.ref[Floats], FeatureSchema, Floats] | None = None

    def __reduce__(self) -> tuple[type[Mode], tuple[()]]:
        # What was learned belongs to arrays of this process.
        return (Mode, ())

    def values(self, background: Floats, schema: FeatureSchema, rng: np.random.Generator) -> Floats:
        """Return modes and means; ties go to the smaller id."""
        # Called once an instance with the same background: keep the answer, but not the background alive.
        last = self._last
        if last is not None and last[0]() is background and last[1] == schema:
            return last[2]
        off = np.empty(len(schema))
        for j, field in enumerate(schema):
            column = background[:, j]
            if isinstance(field, SparseField):
                ids, counts = np.unique(column, return_counts=True)
                off[j] = ids[counts.argmax()]
            else:
                off[j] = _mean(column)
        self._last = (weakref.ref(background), schema, off)
        return off


def _mean(column: Floats) -> float:
    # Rounding can carry the mean of equal numbers off them, and a constant field would seem to be switched.
    return float(np.clip(column.mean(), column.min(), column.max()))


class Oov(Baseline):
    """The reserved id of a sparse field; the mean of a dense field."""

    name = "oov"

    def values(self, background: Floats, schema: FeatureSchema, rng: np.random.Generator) -> Floats:
        """Return reserved ids and means.

        Raises:
            SchemaError: A sparse field has no reserved id.
        """
        off = np.empty(len(schema))
        for j, field in enumerate(schema):
            if not isinstance(field, SparseField):
                off[j] = _mean(background[:, j])
                continue
            if field.oov is None:
                raise SchemaError(
                    "the field has no reserved id",
                    field=field.name,
                    received='baseline="oov"',
                    expected=f"SparseField({field.name!r}, ..., oov=ID)",
                    hint='Declare the id unknown values are mapped to, or use baseline="mode"',
                )
            off[j] = field.oov
        return off


class Sample(Baseline):
    """One random row of the background an instance."""

    name = "sample"

    def values(self, background: Floats, schema: FeatureSchema, rng: np.random.Generator) -> Floats:
        """Return a background row."""
        drawn: Floats = background[rng.integers(len(background))]
        return drawn


class ZeroEmbedding(Baseline):
    """Embeddings of off sparse fields and values of off dense fields are zero, as in the paper's AutoInt source.

    Needs an adapter that knows which embedding table belongs to which field.
    """

    name = "zero_embedding"
    needs_background = False

    def values(self, background: Floats, schema: FeatureSchema, rng: np.random.Generator) -> Floats:
        """Return zeros: no id stands for an off field."""
        return np.zeros(len(schema))

    def query(self, box: BlackBox, row: Floats, values: Floats, masks: Masks) -> npt.NDArray[np.float64]:
        """Return the logits with the embeddings of off fields zeroed."""
        return box.logits_zeroed(row, masks)

    def unswitched(self, row: Floats, values: Floats) -> npt.NDArray[np.bool_]:
        """Return none: id 0 has an embedding like any other."""
        return np.zeros(len(row), dtype=bool)


def check_background(baseline: Baseline, background: Floats | None, p: int) -> Floats:
    """Return the background, or an empty one where the baseline needs none.

    Raises:
        SettingError: The baseline needs a background and none was given.
    """
    if background is not None:
        return background
    if baseline.needs_background:
        raise SettingError(
            f"the baseline {baseline.name!r} needs a background",
            received="background=None",
            expected="a frame of typical rows, e.g. the training frame",
        )
    return np.empty((0, p))
