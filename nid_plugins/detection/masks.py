"""Masks: which fields of an instance are on (kept) and which are off (replaced by the baseline)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.pairs import FEW, Pairs
from nid_plugins.errors import SettingError

Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MIN_ROWS = 24
"""Fewest masks that leave at least two rows each to validate and to test."""
LONG = 5000
"""Numbers of perturbed rows made as one long row."""


def random_masks(fields: int, rows: int, rng: np.random.Generator) -> Masks:
    """Draw masks as MADEX does: row 0 all on; in every other row m ~ U{1..fields} random fields are off.

    The number of off fields is uniform, not binomial, so that rows near the instance and rows near the baseline are
    as frequent as those in between (Tsang et al. 2020, section 3; the scheme is LIME's).

    Args:
        fields: Number of fields p.
        rows: Number of masks M.
        rng: Source of randomness.

    Returns:
        Array of shape (rows, fields); True = on.

    Raises:
        SettingError: Too few rows to fit and test an explainer.
    """
    if rows < MIN_ROWS:
        raise SettingError(
            "too few perturbations",
            received=rows,
            expected=f"at least {MIN_ROWS}",
            hint="The default is 6000",
        )
    off = rng.integers(1, fields + 1, size=rows)
    off[0] = 0
    # The rank of a random key is a uniformly random permutation; its first m places are the off fields.
    rank = rng.random((rows, fields), dtype=np.float32).argsort(axis=1).argsort(axis=1)
    masks: Masks = rank >= off[:, None]
    return masks


def perturb(
    row: Floats, baseline: Floats, masks: Masks, dtype: npt.DTypeLike = np.float64
) -> npt.NDArray[Any]:
    """Return x'(z) = z * x + (1 - z) * baseline for every mask z, exactly (no arithmetic is done on the values).

    Args:
        row: The instance x, shape (p,).
        baseline: Value of each field when off, shape (p,).
        masks: Shape (M, p).
        dtype: float64 or float32: the values are converted, then selected.

    Returns:
        Rows of shape (M, p): a new array.
    """
    # A bitwise select, off ^ ((on ^ off) * mask), which is several times as fast as np.where. Several rows are taken as
    # one long row: with one at a time most of the time would go into starting anew.
    kind = np.dtype(dtype)
    bits = np.dtype(f"i{kind.itemsize}")
    on, off = row.astype(kind).view(bits), baseline.astype(kind).view(bits)
    p = len(row)
    several = max(1, LONG // p)
    long_flip, long_off = np.empty((2, several, p), dtype=bits)
    long_flip[:], long_off[:] = on ^ off, off
    out = np.empty(masks.shape, dtype=bits)
    whole = len(masks) // several * several
    for rows, tile in ((slice(whole), several), (slice(whole, None), 1)):
        long = out[rows].reshape(-1, tile * p)
        np.copyto(long, masks[rows].reshape(-1, tile * p))
        long *= long_flip[:tile].reshape(-1)
        long ^= long_off[:tile].reshape(-1)
    return out.view(kind)


@dataclass(frozen=True, eq=False)
class MaskDesign:
    """Masks as a regression design shared by all instances: split, coding, and the closed-form main effects.

    Fields are coded w = z - 1/2. In this coding the coefficient of a product of k fields is their k-th order discrete
    difference, averaged over the contexts the masks draw, in units of the target (logits). Products of different fields
    are far less correlated than in the coding 0/1 (pairs that share a field 0.24 instead of 0.59, others 0.07 instead of
    0.34).

    Args:
        masks: Shape (M, p), M >= 24. Rows are split in order: 10/12 to fit, 1/12 to validate, 1/12 to test
            (the paper's 5000/500/500 of 6000); of fewer than 3000 rows up to a quarter each to validate and to test.
    """

    masks: Masks

    def __post_init__(self) -> None:
        if len(self.masks) < MIN_ROWS:
            raise SettingError("too few masks", received=len(self.masks), expected=f"at least {MIN_ROWS}")

    @cached_property
    def held_out(self) -> int:
        """Rows to validate, and as many to test."""
        rows = len(self.masks)
        # A twelfth of a small sample would be too few rows to tell a gain from noise.
        return max(rows // 12, min(rows // 4, 250))

    @property
    def train(self) -> slice:
        """Rows to fit on; row 0, the instance itself, is one of them."""
        return slice(0, len(self.masks) - 2 * self.held_out)

    @property
    def valid(self) -> slice:
        """Rows to choose by."""
        return slice(len(self.masks) - 2 * self.held_out, len(self.masks) - self.held_out)

    @property
    def test(self) -> slice:
        """Rows to judge the fit by."""
        return slice(len(self.masks) - self.held_out, len(self.masks))

    @cached_property
    def coded(self) -> Floats:
        """The masks coded -1/2 (off) and +1/2 (on), shape (M, p)."""
        return self.masks.astype(np.float64) - 0.5

    @cached_property
    def _main(self) -> tuple[Floats, Floats, Floats]:
        columns = np.hstack([np.ones((len(self.masks), 1)), self.coded])
        # Orthogonal columns on the fitting rows; a field that is never switched there simply drops out.
        left, values, right = np.linalg.svd(columns[self.train], full_matrices=False)
        keep = values > values[0] * 1e-10
        return columns, right[keep].T / values[keep], left[:, keep]

    @cached_property
    def _solve(self) -> Floats:
        _, weights, basis = self._main
        return weights @ basis.T

    @property
    def main_basis(self) -> Floats:
        """An orthonormal basis of what main effects can explain of the training rows, shape (rows, p + 1) or fewer."""
        return self._main[2]

    @property
    def main_weights(self) -> Floats:
        """The basis in terms of a constant and the coded fields: ``[1, coded] @ main_weights`` on the training rows."""
        return self._main[1]

    def additive(self, coefficients: Floats, rows: slice) -> Floats:
        """Return main effects of coefficients (B, p + 1), the constant first, on some rows, shape (B, rows)."""
        return coefficients @ self._main[0][rows].T

    def residuals(self, targets: Floats) -> Floats:
        """Return targets less their main effects, which are fitted by least squares on the training rows.

        Args:
            targets: Shape (B, M).

        Returns:
            Shape (B, M).
        """
        return targets - self.additive(targets[:, self.train] @ self._solve.T, slice(None))

    def orthogonal(self, products: Floats) -> Floats:
        """Return columns (c, M) less what the main effects explain of them on the training rows."""
        return self.residuals(products)

    @cached_property
    def pairs(self) -> Pairs | None:
        """All pairs of fields as columns, or None where they are too many to be worked out all at once."""
        p = self.masks.shape[1]
        return Pairs(self) if p * (p - 1) // 2 <= FEW else None

    def product(self, members: tuple[int, ...]) -> Floats:
        """Return the product of the coded members, shape (M,)."""
        column: Floats = np.prod(self.coded[:, list(members)], axis=1)
        return column


def r_squared(targets: Floats, errors: Floats) -> Floats:
    """Return 1 - SSE/SST along the last axis; NaN where the target does not vary."""
    total = ((targets - targets.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    scale = np.maximum(1.0, np.abs(targets).max(axis=-1)) ** 2 * targets.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(total > 1e-18 * scale, 1.0 - (errors**2).sum(axis=-1) / total, np.nan)
    return result
