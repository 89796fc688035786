"""The suite's data: a small click log with planted interactions, and crosses fitted on it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses import CrossFeatures, fit_crosses
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from nid_plugins.schema import Field

Frame = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ClickLog:
    """A click log.

    Attributes:
        schema: Its fields, dense ones between sparse ones: adapters must not rely on an order of kinds.
        frame: Name to column of shape (n,): ids int64, dense values float32.
        label: Clicks, 0 or 1, shape (n,), float32.
        crosses: Fitted on all rows; some combinations of each are too rare and have id 0.
    """

    schema: FeatureSchema
    frame: Frame
    label: npt.NDArray[np.float32]
    crosses: CrossFeatures

    def rows(self, start: int, stop: int) -> Frame:
        """Return some rows of the frame."""
        return {name: column[start:stop] for name, column in self.frame.items()}


@functools.cache
def click_log(*, dense: bool = True) -> ClickLog:
    """Return the click log, always the same.

    Args:
        dense: Whether it has dense fields.
    """
    rng = np.random.default_rng(20)
    n = 480
    frame: Frame = {
        "site": rng.integers(0, 6, n),
        "price": rng.lognormal(size=n).astype(np.float32),
        "item": np.minimum(rng.zipf(1.6, n), 12) - 1,
        "age": rng.normal(40.0, 12.0, n).astype(np.float32) / np.float32(100),
        "hour": rng.integers(0, 4, n),
    }
    logit = 2.0 * ((frame["site"] + frame["item"]) % 2) - 1.0
    logit += 0.8 * (frame["price"] > 1) * (frame["item"] == 0)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    fields: list[Field] = [
        SparseField("site", 6),
        DenseField("price"),
        SparseField("item", 12),
        DenseField("age"),
        SparseField("hour", 4),
    ]
    sets = [("site", "item"), ("price", "item"), ("site", "item", "hour")]
    if not dense:
        fields = [field for field in fields if isinstance(field, SparseField)]
        sets[1] = ("item", "hour")
    schema = FeatureSchema(fields)
    kept = {name: frame[name] for name in schema.names}
    return ClickLog(schema, kept, label, fit_crosses(sets, kept, schema, bins=8, min_count=2))


def strange_crosses() -> CrossFeatures:
    """Return crosses of fields that no model of the suite has."""
    schema = FeatureSchema([SparseField("shop", 5), SparseField("brand", 3)])
    rng = np.random.default_rng(21)
    frame = {"shop": rng.integers(0, 5, 200), "brand": rng.integers(0, 3, 200)}
    return fit_crosses([("shop", "brand")], frame, schema)
