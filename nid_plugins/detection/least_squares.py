"""All pairs, and the triples they suggest, in closed form.

With masks shared by every instance, the design matrix of a pairwise model is the same for all of them: it is factorised
once, and an instance then costs two matrix products. A quadratic model in the coded masks w = z - 1/2 is a truncated
Walsh expansion of the model on the hypercube between instance and baseline; the coefficient of w_a w_b is the second
difference of the logit in fields a and b averaged over the contexts the masks draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.detector import Detector, Explanation, Members, rounding
from nid_plugins.detection.masks import Floats, MaskDesign, Masks, r_squared
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class LeastSquares(Detector):
    """Ridge regression of the logits on main effects and all pairs, then a scan of triples on what it leaves.

    Args:
        orders: Largest order searched: 2 or 3.
        pairs: Number of strongest pairs whose extensions to triples are scanned.
        triples: Number of triples reported per instance.
        penalties: Ridge penalties to choose from, per instance on the held-out masks, relative to the mean squared
            norm of a column.
    """

    orders: int = 3
    pairs: int = 24
    triples: int = 12
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    name: ClassVar[str] = "least_squares"

    def __post_init__(self) -> None:
        if self.orders not in {2, 3}:
            raise SettingError("orders out of range", received=self.orders, expected="2 or 3")
        for name in ("pairs", "triples"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise SettingError(
                    f"{name} out of range", received=getattr(self, name), expected="a positive integer"
                )
        penalties = self.penalties
        if (
            not isinstance(penalties, list | tuple)
            or not penalties
            or not all(isinstance(v, int | float) and 0 < v < np.inf for v in penalties)
        ):
            raise SettingError(
                "penalties out of range", received=penalties, expected="one or more positive numbers"
            )

    def prepare(self, masks: Masks) -> _Solver:
        """Factorise the design shared by all instances."""
        design = MaskDesign(masks)
        p = masks.shape[1]
        count = p * (p - 1) // 2
        kind = _Primal if count <= PRIMAL_LIMIT else _Dual
        solver = kind(design, self.penalties)
        if self.orders > 2 and p > 2:
            solver.measure()
        return solver

    def fit(
        self, state: _Solver, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Solve for all pairs of all instances at once, then look for triples instance by instance."""
        design = state.design
        residuals = design.residuals(targets)
        pairs, left = state.solve(residuals)
        r2 = r_squared(targets[:, design.test], left[:, design.test])
        least = rounding(targets)
        return [self._one(state, pairs[b], left[b], float(r2[b]), least[b]) for b in range(len(targets))]

    def _one(self, state: _Solver, pairs: Floats, left: Floats, r2: float, least: float) -> Explanation:
        p = len(pairs)
        strengths = np.abs(pairs)
        # All strong pairs, not all p(p-1)/2: the report keeps the full matrix beside them.
        rows, columns = np.triu_indices(p, 1)
        values = strengths[rows, columns]
        top = np.argsort(-values, kind="stable")[:MAX_PAIRS]
        top = top[values[top] > least]
        found: list[tuple[float, Members, float]] = [
            (values[i] * PAIR_SD, (int(rows[i]), int(columns[i])), float(values[i])) for i in top
        ]
        if self.orders > 2 and p > 2:
            triples = self._triples(state, [members for _, members, _ in found[: self.pairs]], left)
            found += [item for item in triples if item[2] > least]
        # A product of k coded fields has standard deviation 2^-k: ranking by effect size puts orders on one scale.
        found.sort(key=lambda item: -item[0])
        return Explanation(
            [members for _, members, _ in found],
            np.array([s for _, _, s in found], dtype=np.float64),
            r2,
            strengths,
        )

    def _triples(
        self, state: _Solver, pairs: list[Members], left: Floats
    ) -> list[tuple[float, Members, float]]:
        design = state.design
        train = design.train
        p = design.masks.shape[1]
        if p * (p - 1) * (p - 2) // 6 <= SCAN_LIMIT:
            pairs = list(combinations(range(p), 2))
        if not pairs or not left.any():
            return []
        coded = state.coded32[train]
        index = np.array(pairs)
        # The residual times a pair, against every third field: one product of (pairs x rows) and (rows x p).
        products = state.coded_t[index[:, 0]] * state.coded_t[index[:, 1]]
        inner = (products[:, train] * left[train].astype(np.float32)) @ coded
        seen: dict[Members, float] = {}
        for k, c in zip(*np.divmod(np.argsort(-np.abs(inner), axis=None, kind="stable"), p), strict=True):
            a, b = pairs[k]
            if c in (a, b):
                continue
            i, j, m = sorted((a, b, int(c)))
            seen.setdefault((i, j, m), abs(float(inner[k, c])) / (len(coded) * state.triple_square))
            if len(seen) >= self.triples:
                break
        return [(value * TRIPLE_SD, members, value) for members, value in seen.items()]


PAIR_SD = 0.25
TRIPLE_SD = 0.125
MAX_PAIRS = 100
PRIMAL_LIMIT = 1300
"""Pairs up to which the Gram matrix of the pairs is factorised (51 fields); above it that of the rows is."""
SCAN_LIMIT = 1500
"""Triples up to which every triple is scanned (21 fields)."""


class _Solver:
    """Pairwise ridge over masks shared by all instances.

    Attributes:
        triple_square: Mean square of a triple's column, less what main effects and pairs explain of it.
    """

    def __init__(self, design: MaskDesign) -> None:
        self.design = design
        self.triple_square = TRIPLE_SD**2
        self.coded32 = design.coded.astype(np.float32)
        self.coded_t = np.ascontiguousarray(self.coded32.T)

    def solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        """Return pair coefficients (B, p, p) and what the model leaves of the residuals (B, M)."""
        raise NotImplementedError

    def measure(self) -> None:
        """Measure :attr:`triple_square` on a few triples; masks treat all fields alike, so it serves every triple."""
        design, p = self.design, self.design.masks.shape[1]
        some = np.array([design.product((i, (i + 1) % p, (i + 2) % p)) for i in range(0, p, max(1, p // 8))])
        left = self.solve(design.residuals(some))[1]
        square = float((left[:, design.train] * some[:, design.train]).mean())
        # With fewer rows than pairs hardly anything is left; a triple's strength must not explode for that.
        self.triple_square = max(square, TRIPLE_SD**2 / 20)

    def _choose(self, residuals: Floats, fits: list[Floats]) -> npt.NDArray[np.intp]:
        valid = self.design.valid
        errors = [((residuals[:, valid] - fit[:, valid]) ** 2).mean(axis=1) for fit in fits]
        choice: npt.NDArray[np.intp] = np.argmin(np.array(errors), axis=0)
        return choice


class _Primal(_Solver):
    """Eigendecomposition of the pairs' Gram matrix: every penalty then costs a diagonal scaling."""

    def __init__(self, design: MaskDesign, penalties: tuple[float, ...]) -> None:
        super().__init__(design)
        p = design.masks.shape[1]
        self.rows, self.columns = np.triu_indices(p, 1)
        products = np.array(
            [design.coded[:, a] * design.coded[:, b] for a, b in zip(self.rows, self.columns, strict=True)]
        )
        self.products = design.orthogonal(products)  # (pairs, M)
        train = self.products[:, design.train]
        values, self.vectors = np.linalg.eigh(train @ train.T)
        scale = max(float(values.mean()), 1e-12)
        self.inverse = [1.0 / (np.maximum(values, 0.0) + penalty * scale) for penalty in penalties]
        # Rotated once, so that a fit is one product: fit = (residual train^T V) diag (V^T products).
        self.rotated = self.vectors.T @ self.products

    def solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        design = self.design
        inner = residuals[:, design.train] @ self.rotated[:, design.train].T
        valid = self.rotated[:, design.valid]
        scaled = [inner * inverse for inverse in self.inverse]
        errors = [((residuals[:, design.valid] - s @ valid) ** 2).mean(axis=1) for s in scaled]
        choice = np.argmin(np.array(errors), axis=0)
        best = np.array(scaled)[choice, np.arange(len(residuals))]
        left = residuals - best @ self.rotated
        coefficients = best @ self.vectors.T
        p = design.masks.shape[1]
        pairs = np.zeros((len(residuals), p, p))
        pairs[:, self.rows, self.columns] = coefficients
        pairs[:, self.columns, self.rows] = coefficients
        return pairs, left


class _Dual(_Solver):
    """Cholesky factors of the rows' kernel matrix: no array of all pairs times rows is ever formed.

    The kernel of the pair products is ((w . v)^2 - p/16) / 2, and the coefficient of pair (a, b) is
    sum_m alpha_m w_ma w_mb: memory is O(M^2 + p^2).
    """

    def __init__(self, design: MaskDesign, penalties: tuple[float, ...]) -> None:
        super().__init__(design)
        from scipy.linalg import cho_factor

        w = design.coded[design.train]
        p = w.shape[1]
        kernel = ((w @ w.T) ** 2 - p / 16) / 2
        # Main effects are taken out of the products here too: from both sides of their kernel.
        basis = design.main_basis
        kernel -= basis @ (basis.T @ kernel)
        kernel -= (kernel @ basis) @ basis.T
        scale = float(np.diag(kernel).mean()) * len(w) / (p * (p - 1) / 2)
        self.factors = []
        # Factoring costs more than in the primal, and the least penalty rarely wins with more pairs than rows.
        for penalty in penalties[1:] or penalties:
            regular = kernel.copy()
            regular[np.diag_indices(len(w))] += max(penalty * scale, 1e-9)
            self.factors.append(cho_factor(regular, lower=True, overwrite_a=True, check_finite=False))

    def solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        from scipy.linalg import cho_solve

        design = self.design
        w = design.coded
        train = w[design.train]
        kernel_all = ((w @ train.T) ** 2 - w.shape[1] / 16) / 2
        alphas = [cho_solve(f, residuals[:, design.train].T, check_finite=False).T for f in self.factors]
        fits = [design.residuals(alpha @ kernel_all.T) for alpha in alphas]
        choice = self._choose(residuals, fits)
        instances = np.arange(len(residuals))
        alpha = np.array(alphas)[choice, instances]
        left = residuals - np.array(fits)[choice, instances]
        pairs = np.array([(train * a[:, None]).T @ train for a in alpha])
        pairs[:, np.arange(w.shape[1]), np.arange(w.shape[1])] = 0.0
        return pairs, left
