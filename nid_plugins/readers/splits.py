"""Splitting rows into training, validation and test parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SettingError
from nid_plugins.frames import read_label

if TYPE_CHECKING:
    from collections.abc import Sequence

Indices = npt.NDArray[np.int64]

FRACTIONS = (0.8, 0.1, 0.1)


def split_by_order(rows: int, fractions: Sequence[float] = FRACTIONS) -> tuple[Indices, ...]:
    """Split rows in their order: what a log in order of time needs, since a model serves the future.

    Args:
        rows: Number of rows.
        fractions: Share of each part, summing to 1.

    Returns:
        Row numbers of each part.

    Raises:
        SettingError: Fractions that do not sum to 1, or a part without rows.
    """
    return tuple(np.split(np.arange(rows), _cuts(rows, fractions)))


def split_stratified(
    label: npt.ArrayLike, fractions: Sequence[float] = FRACTIONS, *, seed: int = 0
) -> tuple[Indices, ...]:
    """Split rows at random, each part with the same share of clicks.

    Args:
        label: 0 and 1, shape (n,).
        fractions: Share of each part, summing to 1.
        seed: Same seed, same split.

    Returns:
        Row numbers of each part, increasing.

    Raises:
        SettingError: Fractions that do not sum to 1, or too few clicks or non-clicks for every part to have one.
        FrameError: Labels are not 0/1.
    """
    clicked = read_label(np.asarray(label), {}, len(np.asarray(label)))
    rng = np.random.default_rng(seed)
    parts: list[list[Indices]] = [[] for _ in fractions]
    for value in (0, 1):
        of_class = rng.permutation(np.flatnonzero(clicked == value))
        for part, rows in zip(parts, np.split(of_class, _cuts(len(of_class), fractions)), strict=True):
            part.append(rows)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _cuts(rows: int, fractions: Sequence[float]) -> Indices:
    shares = np.asarray(fractions, dtype=np.float64)
    if not len(shares) or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise SettingError(
            "not a division into parts", received=list(fractions), expected="positive shares summing to 1"
        )
    cuts = np.rint(np.cumsum(shares)[:-1] * rows).astype(np.int64)
    if (np.diff([0, *cuts, rows]) < 1).any():
        raise SettingError(
            "too few rows to split",
            received=f"{rows} rows for shares {list(fractions)}",
            expected="at least one row a part",
        )
    return cuts
