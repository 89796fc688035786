"""What a set is worth in an instance: what the ranking adds up over the instances.

``rank="count"`` is GLIDER's: 1 where the set was found. ``"gain"`` is the held-out R^2 it added there. ``"strength"`` is the
variance it gives the logit over the masks: a product of k fields coded -1/2 and +1/2 has variance 4^-k, so that a strength s
makes s^2 4^-k. Every pair's strength is known in every instance, whether it was found there or not, as far as the detector
gives the strengths of all pairs: nothing depends then on a threshold that a set just passes or just misses. Pairs found
nowhere are ranked too, as far as they are stronger than a pair that was found: in a model that is nearly the sum of its main
effects, a pair may be strong beside other pairs and yet too small beside those to pass. Larger sets, and the pairs of detectors
that do not give all, are worth something only where they were found.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from nid_plugins.detection.detector import Members
    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.detection.settings import Rank

CODED = 0.25
"""Variance of a field coded -1/2 and +1/2 that is on half of the time."""


def scores(rank: Rank, results: Sequence[InstanceResult]) -> dict[Members, float]:
    """Return, for every set that is ranked, the sum of its worth over the instances.

    These are the sets found in some instance; by strength also the pairs that are stronger than one of those found.

    Args:
        rank: What the ranking goes by.
        results: The instances, in the order of their index: sums are rounded the same way every time.
    """
    total: defaultdict[Members, float] = defaultdict(float)
    for result in results:
        for members, value in zip(result.sets, _found(rank, result), strict=True):
            total[members] += value
    triangles = _triangles(rank, results)
    pairs = [m for m in total if len(m) == 2]
    if pairs and triangles:
        squares = np.zeros(len(triangles[0]))
        for triangle in triangles:
            squares += triangle.astype(np.float64) ** 2
        squares *= CODED**2
        rows, columns = np.triu_indices(_fields(len(squares)), 1)
        ranked = squares >= squares[_places(pairs, len(squares))].min()
        sets = zip(rows[ranked].tolist(), columns[ranked].tolist(), strict=True)
        total.update(zip(sets, squares[ranked].tolist(), strict=True))
    return dict(total)


def mean_strengths(results: Sequence[InstanceResult], pairs: Sequence[Members]) -> dict[Members, float]:
    """Return the mean strengths of some pairs over all instances, which know all pairs."""
    if not pairs:
        return {}
    triangles = _triangles("strength", results)
    places = _places(pairs, len(triangles[0]))
    means: npt.NDArray[np.float64] = np.mean(
        [triangle[places] for triangle in triangles], axis=0, dtype=np.float64
    )
    return dict(zip(pairs, means.tolist(), strict=True))


def worth(
    rank: Rank, results: Sequence[InstanceResult], sets: Sequence[Members]
) -> npt.NDArray[np.floating[Any]]:
    """Return what each of some sets is worth in each instance, shape (instances, sets).

    Args:
        rank: What the ranking goes by.
        results: The instances.
        sets: The sets, each once.
    """
    # Squares of large logits are beyond float32.
    dtype = np.float64 if rank == "strength" else np.float32
    matrix = np.zeros((len(results), len(sets)), dtype=dtype)
    column = {members: i for i, members in enumerate(sets)}
    for row, result in enumerate(results):
        for members, value in zip(result.sets, _found(rank, result), strict=True):
            if members in column:
                matrix[row, column[members]] = value
    triangles = _triangles(rank, results)
    pairs = [m for m in sets if len(m) == 2]
    if pairs and triangles:
        columns = [column[m] for m in pairs]
        places = _places(pairs, len(triangles[0]))
        for row, triangle in enumerate(triangles):
            matrix[row, columns] = CODED**2 * triangle[places].astype(np.float64) ** 2
    return matrix


def _found(rank: Rank, result: InstanceResult) -> Sequence[float]:
    """Return what the sets found in an instance are worth there."""
    if rank == "gain":
        return result.gains
    if rank == "strength":
        return [s * s * CODED ** len(m) for m, s in zip(result.sets, result.strengths, strict=True)]
    return [1.0] * len(result.sets)


def _triangles(rank: Rank, results: Sequence[InstanceResult]) -> list[npt.NDArray[np.float32]]:
    """Return the strengths of all pairs of each instance; none where they are not asked for or not known throughout."""
    known = [r.pairs for r in results if r.pairs is not None] if rank == "strength" else []
    return known if len(known) == len(results) else []


def _fields(pairs: int) -> int:
    """Return how many fields make so many pairs."""
    return (1 + math.isqrt(1 + 8 * pairs)) // 2


def _places(pairs: Sequence[Members], count: int) -> npt.NDArray[np.intp]:
    """Return where pairs stand in the upper triangle of all pairs, row by row."""
    fields = _fields(count)
    a, b = np.array(pairs, dtype=np.intp).T
    places: npt.NDArray[np.intp] = a * (2 * fields - a - 1) // 2 + b - a - 1
    return places
