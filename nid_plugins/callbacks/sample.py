"""The rows a monitor looks at: the same ones, in the same order, at every check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.frames import read_label, read_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.crosses.held_out import Floats
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

SCREEN_ROWS = 20_000
"""Most rows that crosses are screened on; drawn once."""


@dataclass(eq=False, slots=True)
class Sample:
    """Rows of a monitor, read and drawn once.

    Args:
        instances: What is explained, shape (n, p), in the order in which it is: a check of fewer instances takes the
            first ones.
        background: What the baseline and the crosses' vocabularies are learned from, shape (m, p).
        screening: What crosses are screened on, shape (k, p); None without labels.
        labels: Their labels, shape (k,).
    """

    instances: FloatMatrix
    background: FloatMatrix
    screening: FloatMatrix | None
    labels: npt.NDArray[np.float64] | None


def draw(
    schema: FeatureSchema, rows: Any, labels: Any, background: Any, *, instances: int, seed: int
) -> Sample:
    """Read frames and draw the rows.

    Args:
        schema: The model's fields.
        rows: Frame of n rows.
        labels: Their labels, shape (n,), or the name of the frame's column, or None.
        background: Frame of typical rows; None for the rows themselves.
        instances: Most rows to explain.
        seed: Of the drawing.

    Raises:
        FrameError: A frame or the labels do not fit.
    """
    matrix = read_matrix(rows, schema, what="frame of rows")
    typical = matrix if background is None else read_matrix(background, schema, what="background")
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(5,))).permutation(len(matrix))
    screening = known = None
    if labels is not None:
        known = read_label(labels, rows, len(matrix))
        # Other rows than those explained where there are enough: their logits say more than once what is rare.
        chosen = np.sort(order[::-1][:SCREEN_ROWS])
        screening, known = matrix[chosen], known[chosen]
    return Sample(np.ascontiguousarray(matrix[order[:instances]]), typical, screening, known)


def columns(rows: Floats, schema: FeatureSchema) -> dict[str, Floats]:
    """Return rows of shape (n, p) as a frame."""
    return {name: rows[:, j] for j, name in enumerate(schema.names)}
