"""A detector of pairs: how far the logit follows a pair's product beyond what single fields explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nid_plugins.detection import Detector, Explanation


@dataclass(frozen=True)
class PairCorrelation(Detector):
    """Partial correlation of each pair of mask columns' product with the logit, given the single columns.

    The strength is the size of the regression coefficient: the pair's discrete second difference of the logit.

    Args:
        threshold: Pairs count whose correlation is at least this many standard errors, 1 / sqrt(M), from zero.
    """

    name = "pair_correlation"
    threshold: float = 5.0

    def prepare(self, masks):
        """Take the single columns out of every pair's product; the same for all instances."""
        z = masks.astype(np.float64)
        single = np.column_stack([np.ones(len(z)), z])
        first, second = np.triu_indices(z.shape[1], 1)
        products = z[:, first] * z[:, second]
        products -= single @ np.linalg.lstsq(single, products, rcond=None)[0]
        return single, products, first, second

    def fit(self, state, targets, seeds):
        """Correlate; there is nothing random in it, so the seeds are not needed."""
        single, products, first, second = state
        left = targets.T - single @ np.linalg.lstsq(single, targets.T, rcond=None)[0]
        inner = products.T @ left
        size = (products**2).sum(axis=0)[:, None]
        total = (left**2).sum(axis=0)
        correlation = np.abs(inner) / np.sqrt(np.maximum(size * total, 1e-30))
        strength = np.abs(inner) / size
        found = []
        for i, constant in enumerate(total < 1e-18 * np.maximum((targets**2).sum(axis=1), 1.0)):
            keep = correlation[:, i] >= self.threshold / np.sqrt(len(products))
            order = [] if constant else [k for k in np.argsort(-strength[:, i], kind="stable") if keep[k]]
            found.append(
                Explanation(
                    sets=[(int(first[k]), int(second[k])) for k in order],
                    strengths=np.array([strength[k, i] for k in order]),
                )
            )
        return found
