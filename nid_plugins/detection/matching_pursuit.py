"""Pairs among hundreds or thousands of fields, without an array of all pairs.

A sparse recovery: of p(p - 1)/2 pairs few interact, so that a few thousand masks tell which, though there are a hundred
times as many pairs. The residual of the main effects is correlated with the products of all pairs, a block of fields at a
time, and only the best are kept; those that stand out of the noise enter a regression; what it leaves is scanned again
for pairs the strong ones had hidden. This is orthogonal matching pursuit, several columns a step (Donoho, Tsaig, Drori
and Starck 2012, "Sparse solution of underdetermined systems of linear equations by stagewise orthogonal matching
pursuit").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.detector import Detector, Explanation, rounding
from nid_plugins.detection.masks import Floats, MaskDesign, Masks, r_squared
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pairs = npt.NDArray[np.intp]

STANDING_OUT = 0.8
"""A pair is taken when it correlates more than this share of the largest of as many correlations with pure noise."""


@dataclass(frozen=True)
class MatchingPursuit(Detector):
    """Stagewise orthogonal matching pursuit over all pairs: for many fields, pairs only.

    Beside the masks it holds ``block * p`` correlations and ``rounds * pairs`` columns, whatever the number of pairs.

    Args:
        pairs: Most pairs taken a round.
        rounds: Most rounds; it ends sooner when nothing stands out any more.
        block: Fields whose pairs are scanned at once.
    """

    pairs: int = 32
    rounds: int = 3
    block: int = 64
    name: ClassVar[str] = "matching_pursuit"

    def __post_init__(self) -> None:
        for name in ("pairs", "rounds", "block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(
                    f"{name} out of range", received=repr(value), expected="a positive integer"
                )

    def masks(self, fields: int, perturbations: int, rng: np.random.Generator) -> Masks:
        """Return random masks.

        Raises:
            SettingError: There are so few that main effects alone explain them, which leaves nothing to scan.
        """
        masks = super().masks(fields, perturbations, rng)
        rows = MaskDesign(masks).train.stop
        if rows < 2 * (fields + 1):
            raise SettingError(
                "too few perturbations for so many fields",
                received=f"{perturbations} perturbations, {rows} of them to fit on, for {fields} fields",
                expected=f"at least {2 * (fields + 1)} to fit on",
                hint=f"Take about {3 * fields}, or more",
            )
        return masks

    def prepare(self, masks: Masks) -> _Scanner:
        """Code the masks once for all instances."""
        return _Scanner(MaskDesign(masks), self.block)

    def fit(
        self, state: _Scanner, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Pursue instance by instance."""
        residuals = state.design.residuals(targets)
        least = rounding(targets)
        return [self._one(state, targets[b], residuals[b], least[b]) for b in range(len(targets))]

    def _one(self, state: _Scanner, targets: Floats, residual: Floats, least: float) -> Explanation:
        design = state.design
        train, test = design.train, design.test
        taken: Pairs = np.empty((0, 2), dtype=np.intp)
        columns = state.common
        coefficients, left = _regress(columns, residual, train)
        for _ in range(self.rounds):
            if np.sqrt(np.mean(left[train] ** 2)) <= least:
                break
            found = state.scan(left[train], self.pairs + len(taken))
            new = found[~_among(found, taken)][: self.pairs]
            if not len(new):
                break
            taken = np.vstack([taken, new])
            products = design.coded[:, new[:, 0]] * design.coded[:, new[:, 1]]
            columns = np.vstack([columns, design.orthogonal(products.T)])
            coefficients, left = _regress(columns, residual, train)
        strengths = np.abs(coefficients[1:])
        order = np.argsort(-strengths, kind="stable")
        order = order[strengths[order] > least]
        return Explanation(
            [(int(a), int(b)) for a, b in taken[order]],
            strengths[order],
            float(r_squared(targets[test], left[test])),
        )


class _Scanner:
    """Scans all pairs for those that correlate with a residual.

    Attributes:
        common: What the products of all pairs share: the square of the number of fields on, less its main effects.
            Shape (1, M). Left in the residual, it would lift every pair.
    """

    def __init__(self, design: MaskDesign, block: int) -> None:
        self.design = design
        self.block = block
        self.coded = design.coded[design.train].astype(np.float32)
        # The number on is the number of fields times the mean; centred, its square is of the size of one product.
        total = design.coded.mean(axis=1)
        self.common = design.orthogonal((total**2)[None])
        p = self.coded.shape[1]
        self.count = p * (p - 1) // 2
        self.limit = STANDING_OUT * np.sqrt(2.0 * np.log(max(self.count, 2)))

    def scan(self, left: Floats, most: int) -> Pairs:
        """Return the pairs that stand out of the noise, strongest first, at most so many; shape (n, 2)."""
        coded = self.coded
        p = coded.shape[1]
        # A product of two coded fields is 1/4 or -1/4, so its norm is that of left when both are scaled like this; pure
        # noise then gives standard normal correlations, and the largest of n is about sqrt(2 log n).
        scaled = (4.0 / np.linalg.norm(left) * left).astype(np.float32)
        best: Pairs = np.empty((0, 2), dtype=np.intp)
        values = np.empty(0, dtype=np.float32)
        for start in range(0, p, self.block):
            stop = min(start + self.block, p)
            inner = np.abs((coded[:, start:stop] * scaled[:, None]).T @ coded[:, start:])
            inner[np.tril_indices(stop - start, 0, inner.shape[1])] = 0.0
            rows, others = np.nonzero(inner > max(self.limit, values[-1] if len(values) == most else 0.0))
            best = np.vstack([best, np.column_stack([rows, others]) + start])
            values = np.concatenate([values, inner[rows, others]])
            order = np.argsort(-values, kind="stable")[:most]
            best, values = best[order], values[order]
        return best


def _among(pairs: Pairs, taken: Pairs) -> npt.NDArray[np.bool_]:
    known = set(map(tuple, taken.tolist()))
    return np.array([tuple(pair) in known for pair in pairs.tolist()], dtype=bool)


def _regress(columns: Floats, residual: Floats, rows: slice) -> tuple[Floats, Floats]:
    """Return coefficients by least squares on some rows, and what is left on all.

    A touch of ridge settles columns that coincide. The first, what all pairs share, gets more: among few fields all
    pairs together amount to it, and should then have it.
    """
    fitted = columns[:, rows]
    gram = fitted @ fitted.T
    diagonal = np.diag(gram)
    ridge = np.full(len(gram), 1e-6)
    ridge[0] = 1e-2
    gram[np.diag_indices(len(gram))] += ridge * np.maximum(
        diagonal, 1e-12 * max(float(diagonal.max()), 1e-300)
    )
    coefficients = np.linalg.solve(gram, fitted @ residual[rows]).astype(np.float64, copy=False)
    return coefficients, residual - coefficients @ columns
