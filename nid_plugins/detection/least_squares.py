"""All pairs, and the triples they suggest, in closed form.

With masks shared by every instance, the design matrix of a pairwise model is the same for all of them: it is factorised
once, and an instance then costs two matrix products. A quadratic model in the coded masks w = z - 1/2 is a truncated
Walsh expansion of the model on the hypercube between instance and baseline; the coefficient of w_a w_b is the second
difference of the logit in fields a and b averaged over the contexts the masks draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.detector import Detector, Explanation, Members, rounding
from nid_plugins.detection.masks import Floats, MaskDesign, Masks, r_squared
from nid_plugins.detection.pairs import FEW
from nid_plugins.detection.refit import refitted
from nid_plugins.errors import SettingError
from nid_plugins.turns import Turn

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
        """Choose the solver of the design shared by all instances; it is factorised when it is first asked."""
        p = masks.shape[1]
        kind = _Primal if p * (p - 1) // 2 <= FEW else _Dual
        return kind(MaskDesign(masks), self.penalties)

    def fit(
        self, state: _Solver, targets: Floats, seeds: Sequence[np.random.SeedSequence]
    ) -> list[Explanation]:
        """Solve for all pairs of all instances at once, then look for triples instance by instance."""
        design = state.design
        residuals = design.residuals(targets)
        pairs, left = state.solve(residuals)
        # Sets are chosen by held-out masks and found without them; what a ranking adds up may use them all.
        known = np.abs(state.refit(residuals, pairs))
        r2 = r_squared(targets[:, design.test], left[:, design.test]).tolist()
        strengths = np.abs(pairs)
        rows, columns = np.triu_indices(design.masks.shape[1], 1)
        values = strengths[:, rows, columns]
        # All strong pairs, not all p(p-1)/2: the report keeps the full matrix beside them.
        tops = largest(values, MAX_PAIRS)
        leasts = rounding(targets)
        counts = (np.take_along_axis(values, tops, axis=1) > leasts[:, None]).sum(axis=1).tolist()
        members: list[list[Members]] = [
            list(zip(rows[top[:count]].tolist(), columns[top[:count]].tolist(), strict=True))
            for top, count in zip(tops, counts, strict=True)
        ]
        triples = self._triples(state, [own[: self.pairs] for own in members], left, leasts)
        found = []
        for b, (sets, (more, sizes)) in enumerate(zip(members, triples, strict=True)):
            pair_sizes = values[b, tops[b, : len(sets)]]
            everything = [*sets, *more]
            # A product of k coded fields has standard deviation 2^-k: ranking by effect size puts orders on one scale.
            order = np.argsort(np.concatenate([pair_sizes * -PAIR_SD, sizes * -TRIPLE_SD]), kind="stable")
            found.append(
                Explanation(
                    [everything[i] for i in order.tolist()],
                    np.concatenate([pair_sizes, sizes])[order],
                    float(r2[b]),
                    known[b],
                )
            )
        return found

    def _triples(
        self, state: _Solver, pairs: list[list[Members]], left: Floats, least: Floats
    ) -> list[tuple[list[Members], Floats]]:
        """Return the strongest triples of each instance that extend its pairs, and their strengths."""
        p = state.design.masks.shape[1]
        found: list[tuple[list[Members], Floats]] = [([], np.empty(0)) for _ in pairs]
        if self.orders < 3 or p < 3:
            return found
        if p * (p - 1) * (p - 2) // 6 <= SCAN_LIMIT:
            pairs = [list(combinations(range(p), 2))] * len(pairs)
        some = [b for b, own in enumerate(pairs) if own and left[b].any()]
        if not some:
            return found
        most = max(len(pairs[b]) for b in some)
        # Where an instance has fewer pairs than another its first is taken again, and counts once.
        given = np.array([pairs[b] + pairs[b][:1] * (most - len(pairs[b])) for b in some])
        fresh = np.arange(most) < np.array([len(pairs[b]) for b in some])[:, None]
        products = self._extended(state, given, left[some])
        for b, (more, sizes) in zip(some, self._strongest(state, given, fresh, products), strict=True):
            keep = int((sizes > least[b]).sum())
            found[b] = more[:keep], sizes[:keep]
        return found

    def _extended(self, state: _Solver, pairs: npt.NDArray[np.intp], left: Floats) -> npt.NDArray[np.float32]:
        """Return the products of what is left with pairs (B, n, 2) and every third field, shape (B, n, p)."""
        rows, p = state.design.train.stop, state.design.masks.shape[1]
        batch, most, _ = pairs.shape
        single = left[:, None, :rows].astype(np.float32)
        found = np.empty((batch, most, p), dtype=np.float32)
        together = max(1, TOGETHER // (most * rows))
        for start in range(0, batch, together):
            these = slice(start, start + together)
            # One product of (pairs x rows) and (rows x p).
            products = state.pair_products(pairs[these].reshape(-1, 2)).reshape(-1, most, rows)
            products *= single[these]
            found[these] = (products.reshape(-1, rows) @ state.thirds)[:, :p].reshape(-1, most, p)
        return found

    def _strongest(
        self,
        state: _Solver,
        pairs: npt.NDArray[np.intp],
        fresh: npt.NDArray[np.bool_],
        products: npt.NDArray[np.float32],
    ) -> list[tuple[list[Members], Floats]]:
        """Return the strongest triples of each instance by the products of :meth:`_extended`, and their strengths."""
        batch, most, p = products.shape
        inner = np.abs(products)
        third = np.arange(p)
        known = (pairs[:, :, :1] != third) & (pairs[:, :, 1:] != third) & fresh[:, :, None]
        # A triple comes from three pairs at most; the strongest of them counts.
        length = min(3 * self.triples, most * p)
        values = np.where(known, inner, np.float32(-1)).reshape(batch, -1)
        order = largest(values, length)
        values = np.take_along_axis(values, order, axis=1)
        pair, last = np.divmod(order, p)
        triples = np.sort(
            np.concatenate([np.take_along_axis(pairs, pair[:, :, None], axis=1), last[:, :, None]], axis=2),
            axis=2,
        )
        code = (triples[:, :, 0] * p + triples[:, :, 1]) * p + triples[:, :, 2]
        by_code = np.argsort(code, axis=1, kind="stable")
        ranked = np.take_along_axis(code, by_code, axis=1)
        first = np.empty(code.shape, dtype=bool)
        np.put_along_axis(first, by_code, np.diff(ranked, axis=1, prepend=-1) > 0, axis=1)
        first &= values >= 0
        first &= np.cumsum(first, axis=1) <= self.triples
        scale = state.design.train.stop * state.triple_square
        return [
            (list(map(tuple, triples[b, first[b]].tolist())), values[b, first[b]] / scale)
            for b in range(batch)
        ]


def largest(values: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
    """Return where the largest values of each row stand, largest first; of equal ones the first comes first."""
    smallest = -values
    if count < values.shape[1] // 2:
        some = np.sort(np.argpartition(smallest, count, axis=1)[:, :count], axis=1)
        chosen = np.take_along_axis(smallest, some, axis=1)
        # Where the last one has its equals among the others, which of them were chosen is left to chance.
        if ((smallest <= chosen.max(axis=1, keepdims=True)).sum(axis=1) == count).all():
            return np.take_along_axis(some, np.argsort(chosen, axis=1, kind="stable"), axis=1)
    return np.argsort(smallest, axis=1, kind="stable")[:, :count]


PAIR_SD = 0.25
TRIPLE_SD = 0.125
MAX_PAIRS = 100
SCAN_LIMIT = 1500
"""Triples up to which every triple is scanned (21 fields)."""
TOGETHER = 500_000
"""Most pairs x rows whose extensions to triples are scanned at once: 2 MB of float32."""
NOTHING = 1e-9
"""Share of a product's square that is rounding when main effects are taken out of it."""
SINGLE_SIZE = 1_000_000
"""Numbers from which on the products of all pairs are multiplied in float32."""


class _Solver:
    """Pairwise ridge over masks shared by all instances, made ready by the first who asks: often beside the first queries.

    Args:
        design: The masks.
        penalties: Ridge penalties to choose from.

    Attributes:
        coded_t: The coded masks, shape (p, M), float32.
        thirds: The same on the training rows, shape (rows, p and what it takes to be a multiple of eight).
    """

    def __init__(self, design: MaskDesign, penalties: tuple[float, ...]) -> None:
        self.design = design
        self.penalties = penalties
        self.coded_t = np.ascontiguousarray(design.coded.T, dtype=np.float32)
        # Columns of nothing beside the fields: the product takes a third longer where eight do not go into them.
        rows, p = design.train.stop, len(self.coded_t)
        self.thirds = np.zeros((rows, -(-p // 8) * 8), dtype=np.float32)
        self.thirds[:, :p] = self.coded_t[:, :rows].T
        self._turn = Turn()
        self._ready = False

    def solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        """Return pair coefficients (B, p, p) and what the model leaves of the residuals (B, M)."""
        with self._turn:
            if not self._ready:
                self._factorise()
                self._ready = True
        return self._solve(residuals)

    def refit(self, residuals: Floats, pairs: Floats) -> Floats:
        """Return pair coefficients (B, p, p) from all masks, or those there are where that is not worth it."""
        return pairs

    def _factorise(self) -> None:
        raise NotImplementedError

    def _solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        raise NotImplementedError

    def pair_products(self, pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the products of pairs (n, 2) of coded fields on the training rows, shape (n, rows): a new array."""
        first, second = pairs.T
        train = self.design.train
        products: npt.NDArray[np.float32] = self.coded_t[first, train] * self.coded_t[second, train]
        return products

    @cached_property
    def triple_square(self) -> float:
        """Mean square of a triple's column, less what main effects and pairs explain of it.

        Measured on a few triples; masks treat all fields alike, so it serves every triple.
        """
        design, p = self.design, self.design.masks.shape[1]
        some = np.array([design.product((i, (i + 1) % p, (i + 2) % p)) for i in range(0, p, max(1, p // 8))])
        left = self.solve(design.residuals(some))[1]
        square = float((left[:, design.train] * some[:, design.train]).mean())
        # With fewer rows than pairs hardly anything is left; a triple's strength must not explode for that.
        return max(square, TRIPLE_SD**2 / 20)

    def _choose(self, residuals: Floats, fits: list[Floats]) -> npt.NDArray[np.intp]:
        """Return, for each instance, which fit of the validation rows is the best."""
        valid = residuals[:, self.design.valid]
        errors = [((valid - fit) ** 2).mean(axis=1) for fit in fits]
        choice: npt.NDArray[np.intp] = np.argmin(np.array(errors), axis=0)
        return choice


class _Primal(_Solver):
    """Eigendecomposition of the pairs' Gram matrix: every penalty then costs a diagonal scaling.

    Residuals have no main effects on the training rows, so products need not be freed of theirs to be multiplied with
    them; what main effects a fit has is taken out of it afterwards. Products are then plus or minus a quarter, exact in
    float32, and so are the Gram matrix's sums. Where products are many and rows suffice to tell the pairs apart,
    the two products with them that an instance costs are float32: half the memory to go through, which is what they take.
    """

    def _factorise(self) -> None:
        design, pairs = self.design, self.design.pairs
        assert pairs is not None
        rows = design.train.stop
        values, self.vectors = np.linalg.eigh(pairs.gram)
        scale = float(values.mean())
        self.inverse = np.zeros((len(self.penalties), len(values)))
        # With no more rows than main effects nothing is left of the products, and the matrix is rounding.
        if scale > NOTHING * rows * PAIR_SD**2:
            for inverse, penalty in zip(self.inverse, self.penalties, strict=True):
                inverse[:] = 1.0 / (np.maximum(values, 0.0) + penalty * scale)
        single = pairs.products.size >= SINGLE_SIZE and rows >= 3 * len(values)
        self.pairs = pairs
        self.products = pairs.products if single else pairs.products.astype(np.float64)
        # The validation rows turned to the eigenvectors: penalties are compared there.
        valid = pairs.products[:, design.valid] - design.additive(pairs.main, design.valid)
        self.valid = (self.vectors.T @ valid).astype(self.products.dtype)
        self.all = refitted(design, self.products, self.penalties) if self.inverse.any() else None

    def _solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        design, kind = self.design, self.products.dtype
        inner = self.products[:, design.train] @ residuals[:, design.train].astype(kind).T
        scaled = (inner.T @ self.vectors) * self.inverse[:, None]  # (penalties, B, pairs)
        choice = self._choose(residuals, [each.astype(kind) @ self.valid for each in scaled])
        best = scaled[choice, np.arange(len(residuals))] @ self.vectors.T
        fit = best.astype(kind) @ self.products
        left = residuals - fit + design.additive(best @ self.pairs.main, slice(None))
        return self._matrices(best), left

    def refit(self, residuals: Floats, pairs: Floats) -> Floats:
        """Return pair coefficients (B, p, p) from all masks, where those to fit on are few for the pairs."""
        return pairs if self.all is None else self._matrices(self.all.coefficients(residuals))

    def _matrices(self, coefficients: Floats) -> Floats:
        p = self.design.masks.shape[1]
        pairs = np.zeros((len(coefficients), p, p))
        pairs[:, self.pairs.rows, self.pairs.columns] = coefficients
        pairs[:, self.pairs.columns, self.pairs.rows] = coefficients
        return pairs

    def pair_products(self, pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the products of pairs (n, 2) of coded fields on the training rows, shape (n, rows): a new array."""
        return self.pairs.products[self.pairs.places(pairs)][:, self.design.train]


class _Dual(_Solver):
    """Cholesky factors of the rows' kernel matrix: no array of all pairs times rows is ever formed.

    The kernel of the pair products is ((w . v)^2 - p/16) / 2, and the coefficient of pair (a, b) is
    sum_m alpha_m w_ma w_mb: memory is O(M^2 + p^2).
    """

    def _factorise(self) -> None:
        from scipy.linalg import cho_factor

        design, penalties = self.design, self.penalties
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

    def _solve(self, residuals: Floats) -> tuple[Floats, Floats]:
        from scipy.linalg import cho_solve

        design = self.design
        w = design.coded
        train = w[design.train]
        kernel_all = ((w @ train.T) ** 2 - w.shape[1] / 16) / 2
        alphas = [cho_solve(f, residuals[:, design.train].T, check_finite=False).T for f in self.factors]
        fits = [design.residuals(alpha @ kernel_all.T) for alpha in alphas]
        choice = self._choose(residuals, [fit[:, design.valid] for fit in fits])
        instances = np.arange(len(residuals))
        alpha = np.array(alphas)[choice, instances]
        left = residuals - np.array(fits)[choice, instances]
        pairs = np.array([(train * a[:, None]).T @ train for a in alpha])
        pairs[:, np.arange(w.shape[1]), np.arange(w.shape[1])] = 0.0
        return pairs, left
