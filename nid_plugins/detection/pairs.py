"""All pairs of fields as columns of a regression: what detector and selection need of them, worked out once for all instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nid_plugins.detection.masks import Floats, MaskDesign

FEW = 1300
"""Most pairs that are worked out all at once (51 fields): 13 MB of Gram matrix, 31 MB of products under 6,000 masks."""


class Pairs:
    """The products of all pairs of coded fields, less what main effects explain of them.

    Products are plus or minus a quarter, exact in float32, and so are sums of products of them: a few thousand sixteenths.
    Residuals have no main effects on the training rows, so the products themselves may be multiplied with them there.

    Args:
        design: The masks.

    Attributes:
        rows: First field of each pair, in the order of the upper triangle, shape (n,).
        columns: Its second field.
        products: The products under all masks, shape (n, M), float32.
        shared: What main effects explain on the training rows, in terms of their orthonormal basis.
        main: The same as coefficients, the constant first, shape (n, p + 1).
        gram: Products of the columns, less main effects, with each other on the training rows, shape (n, n).
        held: The columns, less main effects, on the validation rows and then the test rows, shape (n, 2 H), float32.
    """

    def __init__(self, design: MaskDesign) -> None:
        coded = np.ascontiguousarray(design.coded.T, dtype=np.float32)
        train, rest = design.train, slice(design.train.stop, None)
        self.fields = len(coded)
        self.rows, self.columns = np.triu_indices(self.fields, 1)
        self.products: npt.NDArray[Any] = coded[self.rows] * coded[self.columns]
        own = self.products[:, train]
        sums = np.column_stack([own.sum(axis=1, dtype=np.float64), own @ coded[:, train].T])
        self.shared: Floats = sums @ design.main_weights
        self.main: Floats = self.shared @ design.main_weights.T
        self.gram: Floats = (own @ own.T).astype(np.float64)
        self.gram -= self.shared @ self.shared.T
        self.held: npt.NDArray[np.float32] = self.products[:, rest] - design.additive(self.main, rest).astype(
            np.float32
        )

    def places(self, pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return where pairs (..., 2) stand among all pairs."""
        first, second = pairs[..., 0], pairs[..., 1]
        found: npt.NDArray[np.intp] = first * (2 * self.fields - first - 3) // 2 + second - 1
        return found

    def inner(self, residuals: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the products of all pairs with residuals (B, rows) on the training rows, shape (B, n)."""
        train = slice(residuals.shape[1])
        found: npt.NDArray[np.float32] = (self.products[:, train] @ residuals.astype(np.float32).T).T
        return found
