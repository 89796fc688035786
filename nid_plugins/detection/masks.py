"""Masks: which fields of an instance are on (kept) and which are off (replaced by the baseline)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SettingError

Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MIN_ROWS = 24
"""Fewest masks that leave at least two rows each to validate and to test."""


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


def perturb(row: Floats, baseline: Floats, masks: Masks) -> Floats:
    """Return x'(z) = z * x + (1 - z) * baseline for every mask z, exactly (no arithmetic is done on the values).

    Args:
        row: The instance x, shape (p,).
        baseline: Value of each field when off, shape (p,).
        masks: Shape (M, p).

    Returns:
        Rows of shape (M, p), float64.
    """
    # A bitwise select, three times as fast as np.where on broadcast rows: off ^ ((on ^ off) & mask).
    on = np.ascontiguousarray(row, dtype=np.float64).view(np.int64)
    off = np.ascontiguousarray(baseline, dtype=np.float64).view(np.int64)
    bits = masks.astype(np.int64)
    np.negative(bits, out=bits)
    bits &= on ^ off
    bits ^= off
    return bits.view(np.float64)


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
        solve = (right[keep].T / values[keep]) @ left[:, keep].T
        return columns, solve, left[:, keep]

    @property
    def main_basis(self) -> Floats:
        """An orthonormal basis of what main effects can explain of the training rows, shape (rows, p + 1) or fewer."""
        return self._main[2]

    def residuals(self, targets: Floats) -> Floats:
        """Return targets less their main effects, which are fitted by least squares on the training rows.

        Args:
            targets: Shape (B, M).

        Returns:
            Shape (B, M).
        """
        columns, solve, _ = self._main
        coefficients = targets[:, self.train] @ solve.T
        return targets - coefficients @ columns.T

    def orthogonal(self, products: Floats) -> Floats:
        """Return columns (c, M) less what the main effects explain of them on the training rows."""
        return self.residuals(products)

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
