"""What the combinations of a cross do: clicks observed and predicted, and where the model is furthest from the clicks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.members import MemberIds
from nid_plugins.crosses.offsets import fit_offsets, sigmoid
from nid_plugins.crosses.screening import checked_logits
from nid_plugins.errors import SettingError
from nid_plugins.frames import read_label, read_matrix
from nid_plugins.schema import DenseField

if TYPE_CHECKING:
    from nid_plugins.crosses.features import CrossFeatures
    from nid_plugins.crosses.vocabulary import Cross


@dataclass(frozen=True, slots=True)
class Combination:
    """Values of a cross's members that occur together.

    Attributes:
        values: One text a member: an id, or the range of a bin.
        rows: Number of rows that hold it.
        observed: Share of these rows with a click.
        predicted: Mean probability the model gives them.
        offset: What would have to be added to the model's logit of these rows, shrunk towards 0 the more the fewer
            rows there are; 0 for all when the clicks speak for no such offsets.
    """

    values: tuple[str, ...]
    rows: int
    observed: float
    predicted: float
    offset: float


def strongest_combinations(
    crosses: CrossFeatures, frame: Any, label: Any, logits: npt.ArrayLike, *, most: int = 15
) -> list[list[Combination]]:
    """Return for each cross the combinations whose clicks the model is furthest from, the furthest first.

    The offsets are those crosses are screened by; see :func:`nid_plugins.screen`. Ties, and all combinations
    where no offset is worth it, go by the number of rows.

    Args:
        crosses: The crosses.
        frame: A frame of their schema, n rows, best ones the model was not trained on.
        label: 0/1 labels, shape (n,), or the name of the frame's column.
        logits: The model's logits of these rows, shape (n,).
        most: Combinations of a cross.

    Raises:
        FrameError: The frame does not fit the schema, lengths differ, or a logit is not finite.
        SettingError: ``most`` is not a positive integer.
    """
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise SettingError("most out of range", received=repr(most), expected="an integer of at least 1")
    rows = read_matrix(frame, crosses.schema, missing=True, known_only=False)
    clicks = read_label(label, frame, len(rows))
    base = checked_logits(logits, len(rows))
    probability = sigmoid(base)
    ids = crosses.transform_matrix(rows)
    members = MemberIds(rows, crosses.schema, crosses.edges)
    found = []
    for k, cross in enumerate(crosses.crosses):
        own, size = ids[:, k], cross.vocabulary + 1
        count = np.bincount(own, minlength=size)
        count[0] = 0  # rare, unseen or missing: no combination
        seen = np.maximum(count, 1)
        observed = np.bincount(own, weights=clicks, minlength=size) / seen
        predicted = np.bincount(own, weights=probability, minlength=size) / seen
        offsets = fit_offsets(own, size, base, clicks, probability=probability)
        first = np.zeros(size, dtype=np.intp)
        first[own[::-1]] = np.arange(len(own))[::-1]
        best = [i for i in np.lexsort((-count, -np.abs(offsets))) if count[i]][:most]
        found.append(
            [
                Combination(
                    _values(crosses, cross, members, int(first[i])),
                    int(count[i]),
                    float(observed[i]),
                    float(predicted[i]),
                    float(offsets[i]),
                )
                for i in best
            ]
        )
    return found


def _values(crosses: CrossFeatures, cross: Cross, members: MemberIds, row: int) -> tuple[str, ...]:
    texts = []
    for name in cross.fields:
        member = int(members[name][row])
        if not isinstance(crosses.schema[name], DenseField):
            texts.append(str(member))
            continue
        edges = crosses.edges[name]
        # Bin i holds the values with i edges not above them.
        low = f"{edges[member - 1]:.4g}" if member else ""
        high = f"{edges[member]:.4g}" if member < len(edges) else ""
        texts.append(
            f"{low} to below {high}" if low and high else f"below {high}" if high else f"{low} or more"
        )
    return tuple(texts)
