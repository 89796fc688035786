"""Picking crosses one after the other by held-out log-loss, everything refitted together each time.

``nid.screen`` freezes what was fitted before it judges the next cross, which is fast but blind to crosses that share
their strength: here a ridge logistic regression on all fields and all crosses picked so far is fitted anew, started
from the last one. The score of a candidate is its log-loss on training rows that were left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from nid_plugins.crosses.offsets import sigmoid, softplus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Weights:
    """A fitted ridge logistic regression: weights (d,) and bias."""

    weights: Floats
    bias: float


def one_hot(ids: Ids, *, with_zero: bool) -> sparse.csr_matrix:
    """Return indicators of ids, shape (n, V) or (n, V + 1); id 0 has none, or its own with ``with_zero``."""
    n = len(ids)
    full = sparse.csr_matrix(
        (np.ones(n), ids.astype(np.int32), np.arange(n + 1)), shape=(n, int(ids.max()) + 1)
    )
    return full if with_zero else full[:, 1:]


def fit_ridge(
    x: sparse.csr_matrix, y: Floats, penalty: Floats, start: Weights, *, steps: int, inner: int = 10
) -> Weights:
    """Fit a ridge logistic regression by Newton steps, each solved by preconditioned conjugate gradients.

    Args:
        x: Shape (n, d).
        y: 0/1, shape (n,).
        penalty: On half the square of each weight, shape (d,); the bias is free.
        start: Where to start from.
        steps: At most so many Newton steps.
        inner: At most so many conjugate gradient steps in each.
    """
    xt = x.T.tocsr()
    w, b = start.weights, start.bias
    z = x @ w + b

    def loss(logits: Floats, weights: Floats) -> float:
        return float(softplus(logits).sum() - y @ logits + 0.5 * (penalty * weights) @ weights)

    current = loss(z, w)
    for _ in range(steps):
        p = sigmoid(z)
        curvature = p * (1 - p)
        gradient = np.append(xt @ (p - y) + penalty * w, (p - y).sum())
        diagonal = np.append(xt @ curvature + penalty, curvature.sum())

        def product(v: Floats, curvature: Floats = curvature) -> Floats:
            u = curvature * (x @ v[:-1] + v[-1])
            return np.append(xt @ u + penalty * v[:-1], u.sum())

        move = _conjugate_gradients(product, -gradient, diagonal, inner)
        dz = x @ move[:-1] + move[-1]
        length = 1.0
        while (after := loss(z + length * dz, w + length * move[:-1])) > current and length > 1e-3:
            length /= 2
        w, b, z = w + length * move[:-1], b + length * float(move[-1]), z + length * dz
        if current - after < 1e-6 * len(y):
            break
        current = after
    return Weights(w, b)


def _conjugate_gradients(
    product: Callable[[Floats], Floats], target: Floats, diagonal: Floats, steps: int
) -> Floats:
    found = np.zeros_like(target)
    residual, scaled = target, target / diagonal
    direction, size = scaled, float(target @ scaled)
    first = size
    for _ in range(steps):
        if size <= 1e-3 * first or size == 0:
            break
        image = product(direction)
        step = size / float(direction @ image)
        found = found + step * direction
        residual = residual - step * image
        scaled = residual / diagonal
        previous, size = size, float(residual @ scaled)
        direction = scaled + (size / previous) * direction
    return found


class ForwardSelection:
    """Greedy forward selection of crosses; see the module.

    Args:
        fields: Ids of every field, shape (n, p): always in the model.
        label: 0/1, shape (n,).
        fold: Fold of each row, shape (n,); each is held out once, except that of ``only_last`` the last alone is.
        penalty_fields: On half the square of a field's offsets.
        penalty_crosses: The same for crosses.
        only_last: Hold out the last fold alone, for rows in order of time.
    """

    def __init__(
        self,
        fields: Ids,
        label: Floats,
        fold: npt.NDArray[np.intp],
        *,
        penalty_fields: float,
        penalty_crosses: float,
        only_last: bool = False,
    ) -> None:
        self._label = label
        self._penalty_crosses = penalty_crosses
        held = [int(fold.max())] if only_last else range(int(fold.max()) + 1)
        self._splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in held]
        main = sparse.hstack([one_hot(column, with_zero=True) for column in fields.T]).tocsr()
        self._penalty = np.full(main.shape[1], penalty_fields)
        self._blocks: list[int] = []
        self._rows = [(main[train], main[test]) for train, test in self._splits]
        rate = float(label.mean())
        prior = float(np.log(rate / (1 - rate)))
        self._fits = [Weights(np.zeros(main.shape[1]), prior) for _ in self._splits]
        self._losses, self._fits = self._evaluate(None, steps=8)

    @property
    def loss(self) -> float:
        """Held-out log-loss of a row with what was picked so far, in nats."""
        return float(self._losses.mean())

    def pick(self, ids: Sequence[Ids], k: int, *, errors: float = 0.0) -> list[tuple[int, float]]:
        """Return the positions of at most k crosses with the fall in held-out log-loss of each, as picked.

        A cross is measured again only while its last gain is ahead of the best fresh one. Picking stops when no cross
        helps.

        Args:
            ids: Of each cross, shape (n,); id 0 counts for nothing.
            k: Crosses to pick.
            errors: Standard errors the fall must be above 0: the best of many candidates are partly luck.
        """
        blocks = {i: one_hot(column, with_zero=False) for i, column in enumerate(ids) if column.max() > 0}
        last = dict.fromkeys(blocks, np.inf)
        picked: list[tuple[int, float]] = []
        while blocks and len(picked) < k:
            best, gain = -1, 0.0
            for i in sorted(blocks, key=lambda i: -last[i]):
                if last[i] <= gain:
                    break
                losses, _ = self._evaluate(blocks[i], steps=1)
                falls = self._losses - losses
                last[i] = float(falls.mean())
                if last[i] > gain and last[i] > errors * falls.std(ddof=1) / np.sqrt(len(falls)):
                    best, gain = i, last[i]
            if best < 0:
                break
            before = self.loss
            self._add(blocks.pop(best))
            picked.append((best, before - self.loss))
        return picked

    def contribution(self, ids: Sequence[Ids]) -> Floats:
        """Return what the crosses picked so far add to the logit of other rows, shape (m,): the mean over the fits.

        Args:
            ids: Of each cross in the order picked, shape (m,).
        """
        total = np.zeros(len(ids[0]) if len(ids) else 0)
        stop = len(self._penalty) - sum(self._blocks)
        for column, width in zip(ids, self._blocks, strict=True):
            weights = np.mean([fit.weights[stop : stop + width] for fit in self._fits], axis=0)
            known = (column > 0) & (column <= width)
            total[known] += weights[column[known] - 1]
            stop += width
        return total

    def _widened(self, block: sparse.csr_matrix | None) -> tuple[list[tuple[sparse.csr_matrix, ...]], Floats]:
        if block is None:
            return self._rows, self._penalty
        rows = [
            (sparse.hstack([a, block[train]]).tocsr(), sparse.hstack([b, block[test]]).tocsr())
            for (a, b), (train, test) in zip(self._rows, self._splits, strict=True)
        ]
        return rows, np.append(self._penalty, np.full(block.shape[1], self._penalty_crosses))

    def _evaluate(self, block: sparse.csr_matrix | None, *, steps: int) -> tuple[Floats, list[Weights]]:
        """Return the log-loss of each held-out row with a further block, and the fits."""
        rows, penalty = self._widened(block)
        losses, fits = [], []
        for (x, x_held), (train, test), last in zip(rows, self._splits, self._fits, strict=True):
            start = Weights(np.append(last.weights, np.zeros(len(penalty) - len(last.weights))), last.bias)
            fit = fit_ridge(x, self._label[train], penalty, start, steps=steps)
            z = x_held @ fit.weights + fit.bias
            losses.append(softplus(z) - self._label[test] * z)
            fits.append(fit)
        return np.concatenate(losses), fits

    def _add(self, block: sparse.csr_matrix) -> None:
        rows, penalty = self._widened(block)
        self._losses, self._fits = self._evaluate(block, steps=2)
        self._rows, self._penalty = rows, penalty
        self._blocks.append(block.shape[1])
