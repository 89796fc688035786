"""The strengths of all pairs from all masks, held-out ones included, where masks are few.

What is chosen by held-out masks must be fitted without them. The strengths that a ranking adds up are chosen by nothing, and
where the masks to fit on are hardly more than the pairs, those held out are worth a lot: of 1,500 masks 1,000 are left to fit
741 pairs and the main effects of 39 fields, which leaves 219 to average errors over; all 1,500 leave 719. The penalty
is then that of the least generalised cross-validation, mean squared error / (1 - degrees of freedom / rows)^2 (Golub, Heath and
Wahba 1979), which needs no rows of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.detection.masks import Floats, MaskDesign

ENOUGH = 3
"""Times as many masks to fit on as pairs: from there on those held out add little."""
NOTHING = 1e-9
"""Share of the products' square that is rounding when main effects are taken out of it."""


def refitted(
    design: MaskDesign, products: npt.NDArray[np.floating[Any]], penalties: tuple[float, ...]
) -> AllMasks | None:
    """Return the regression on all masks, or None where it is not worth it or main effects leave nothing to regress.

    Args:
        design: The masks.
        products: As for :class:`AllMasks`.
        penalties: As for :class:`AllMasks`.
    """
    if design.train.stop >= ENOUGH * len(products):
        return None
    found = AllMasks(design, products, penalties)
    return found if found.possible else None


class AllMasks:
    """Ridge regression of logits on all pairs, from all masks.

    Args:
        design: The masks.
        products: The products of all pairs of coded fields, shape (pairs, M), float64.
        penalties: Ridge penalties to choose from, relative to the mean squared norm of a column.

    Attributes:
        possible: Whether masks are left once main effects have been fitted.
    """

    def __init__(
        self, design: MaskDesign, products: npt.NDArray[np.floating[Any]], penalties: tuple[float, ...]
    ) -> None:
        columns = np.hstack([np.ones((len(design.masks), 1)), design.coded])
        left, values, _ = np.linalg.svd(columns, full_matrices=False)
        self._basis: Floats = left[:, values > values[0] * 1e-10]
        self._products: Floats = products.astype(np.float64, copy=False)
        shared = self._products @ self._basis
        squares, self._vectors = np.linalg.eigh(self._products @ self._products.T - shared @ shared.T)
        self._squares: Floats = np.maximum(squares, 0.0)
        scale = float(self._squares.mean())
        self._rows = len(columns) - self._basis.shape[1]
        self.possible = self._rows > 0 and scale > NOTHING * float((self._products**2).sum(axis=1).mean())
        if self.possible:
            self._inverse: Floats = 1.0 / (self._squares + scale * np.array(penalties)[:, None])
            self._freedom: Floats = self._rows - self._inverse @ self._squares

    def coefficients(self, residuals: Floats) -> Floats:
        """Return the coefficients of all pairs, shape (B, pairs).

        Args:
            residuals: Logits, shape (B, M); it does not matter which main effects have been taken out of them.
        """
        left = residuals - (residuals @ self._basis) @ self._basis.T
        inner = (left @ self._products.T) @ self._vectors
        scaled = inner * self._inverse[:, None]
        # The squared error that is left, |y|^2 - 2 b'X'y + b'X'X b, turned to the eigenvectors.
        errors = (left**2).sum(axis=1) + (scaled * (scaled * self._squares - 2.0 * inner)).sum(axis=2)
        choice = np.argmin(np.maximum(errors, 0.0) / self._freedom[:, None] ** 2, axis=0)
        found: Floats = scaled[choice, np.arange(len(residuals))] @ self._vectors.T
        return found
