"""The ten synthetic functions of NID (Tsang et al. 2018, table 1) with the interactions their formulas hold."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Function:
    """One function of ten inputs.

    Args:
        name: ``F1`` .. ``F10``.
        call: Takes inputs of shape (10, n), returns (n,).
        sets: Its interactions, fields counted from 1 as in the paper.
    """

    name: str
    call: Callable[[Floats], Floats]
    sets: tuple[tuple[int, ...], ...]

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw inputs, shape (n, 10): uniform on [-1, 1], for F1 on [0, 1] and [0.6, 1]."""
        if self.name != "F1":
            return rng.uniform(-1, 1, (n, 10))
        low = np.where(np.isin(np.arange(1, 11), (4, 5, 8, 10)), 0.6, 0.0)
        return rng.uniform(low, 1.0, (n, 10))

    def __call__(self, x: Floats) -> Floats:
        """Evaluate at inputs of shape (n, 10)."""
        return self.call(x.T)

    def true_pairs(self) -> npt.NDArray[np.bool_]:
        """Return which of the 45 pairs interact, shape (10, 10)."""
        truth = np.zeros((10, 10), dtype=bool)
        for members in self.sets:
            for a, b in combinations(members, 2):
                truth[a - 1, b - 1] = truth[b - 1, a - 1] = True
        return truth


def _f1(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, _, x7, x8, x9, x10 = x
    return (
        np.pi ** (x1 * x2) * np.sqrt(2 * x3)
        - np.arcsin(x4)
        + np.log(x3 + x5)
        - (x9 / x10) * np.sqrt(x7 / x8)
        - x2 * x7
    )


def _f2(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, _, x7, x8, x9, x10 = x
    return (
        np.pi ** (x1 * x2) * np.sqrt(2 * np.abs(x3))
        - np.arcsin(0.5 * x4)
        + np.log(np.abs(x3 + x5) + 1)
        - x9 / (1 + np.abs(x10)) * np.sqrt(np.abs(x7) / (1 + np.abs(x8)))
        - x2 * x7
    )


def _f3(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, _, x7, x8, x9, x10 = x
    return (
        np.exp(np.abs(x1 - x2))
        + np.abs(x2 * x3)
        - np.abs(x3) ** (2 * np.abs(x4))
        + np.log(x4**2 + x5**2 + x7**2 + x8**2)
        + x9
        + 1 / (1 + x10**2)
    )


def _f4(x: Floats) -> Floats:
    return _f3(x) + (x[0] * x[3]) ** 2


def _f5(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10 = x
    return 1 / (1 + x1**2 + x2**2 + x3**2) + np.sqrt(np.exp(x4 + x5)) + np.abs(x6 + x7) + x8 * x9 * x10


def _f6(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, x6, _, x8, x9, x10 = x
    return (
        np.exp(np.abs(x1 * x2) + 1)
        - np.exp(np.abs(x3 + x4) + 1)
        + np.cos(x5 + x6 - x8)
        + np.sqrt(x8**2 + x9**2 + x10**2)
    )


def _f7(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, x6, x7, x8, x9, _ = x
    return (
        (np.arctan(x1) + np.arctan(x2)) ** 2
        + np.maximum(x3 * x4 + x6, 0)
        - 1 / (1 + (x4 * x5 * x6 * x7 * x8) ** 2)
        + (np.abs(x7) / (1 + np.abs(x9))) ** 5
        + x.sum(axis=0)
    )


def _f8(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10 = x
    return (
        x1 * x2
        + 2.0 ** (x3 + x5 + x6)
        + 2.0 ** (x3 + x4 + x5 + x7)
        + np.sin(x7 * np.sin(x8 + x9))
        + np.arccos(0.9 * x10)
    )


def _f9(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10 = x
    return (
        np.tanh(x1 * x2 + x3 * x4) * np.sqrt(np.abs(x5))
        + np.exp(x5 + x6)
        + np.log((x6 * x7 * x8) ** 2 + 1)
        + x9 * x10
        + 1 / (1 + np.abs(x10))
    )


def _f10(x: Floats) -> Floats:
    x1, x2, x3, x4, x5, _, x7, _, x9, _ = x
    return np.sinh(x1 + x2) + np.arccos(np.tanh(x3 + x5 + x7)) + np.cos(x4 + x5) + 1 / np.cos(x7 * x9)


FUNCTIONS = (
    Function("F1", _f1, ((1, 2, 3), (3, 5), (7, 8, 9, 10), (2, 7))),
    Function("F2", _f2, ((1, 2, 3), (3, 5), (7, 8, 9, 10), (2, 7))),
    Function("F3", _f3, ((1, 2), (2, 3), (3, 4), (4, 5, 7, 8))),
    Function("F4", _f4, ((1, 2), (2, 3), (3, 4), (1, 4), (4, 5, 7, 8))),
    Function("F5", _f5, ((1, 2, 3), (4, 5), (6, 7), (8, 9, 10))),
    Function("F6", _f6, ((1, 2), (3, 4), (5, 6, 8), (8, 9, 10))),
    Function("F7", _f7, ((1, 2), (3, 4, 6), (4, 5, 6, 7, 8), (7, 9))),
    Function("F8", _f8, ((1, 2), (3, 5, 6), (3, 4, 5, 7), (7, 8, 9))),
    Function("F9", _f9, ((1, 2, 3, 4, 5), (5, 6), (6, 7, 8), (9, 10))),
    Function("F10", _f10, ((1, 2), (3, 5, 7), (4, 5), (7, 9))),
)
