"""A detector of pairs: second differences of the partial dependence of a forest.

Friedman and Popescu (2008, "Predictive learning via rule ensembles", section 8.1) measure how far a fitted model's
partial dependence on two inputs is from the sum of its dependences on each. Masks are on or off, so that is one number a
pair, the second difference; it is left in logits, not divided by a variance, so that pairs can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nid_plugins import SettingError
from nid_plugins.detection import Detector, Explanation, MaskDesign
from nid_plugins.detection.detector import rank_pairs, rounding
from nid_plugins.detection.masks import r_squared


@dataclass(frozen=True)
class ForestH(Detector):
    """Extremely randomised trees on what main effects leave of the logits, asked for second differences.

    Args:
        trees: Number of trees.
        leaf: Fewest masks in a leaf.
        share: Share of the fields a split may choose from.
        fields: Fields whose pairs are scored: those the trees use most.
        contexts: Masks of the other fields a difference is averaged over.
    """

    name = "forest_h"
    trees: int = 60
    leaf: int = 2
    share: float = 0.5
    fields: int = 12
    contexts: int = 48

    def __post_init__(self):
        """Check the options when they are set: before the model is asked anything."""
        for name, least in (("trees", 1), ("leaf", 1), ("fields", 2), ("contexts", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(
                    f"{name} out of range", received=repr(value), expected=f"an integer from {least}"
                )
        if not isinstance(self.share, int | float) or not 0 < self.share <= 1:
            raise SettingError("share out of range", received=repr(self.share), expected="0 < share <= 1")

    def prepare(self, masks):
        """Factorise the regression on the single fields, once for all instances."""
        return MaskDesign(masks)

    def fit(self, state, targets, seeds):
        """Grow a forest an instance, each from its own seed."""
        return [self._one(state, logits, seed) for logits, seed in zip(targets, seeds, strict=True)]

    def _one(self, design, logits, seed):
        # Of this instance alone: in a product of other sizes the last bits are others, and a tree may split elsewhere.
        left = design.residuals(logits[None])[0]
        least = rounding(logits)
        p = design.masks.shape[1]
        strengths = np.zeros((p, p))
        if np.abs(left).max() > least:  # else it is additive here, and trees would grow on rounding
            forest = self._forest(design.masks[design.train], left[design.train], seed)
            used = np.sort(np.argsort(-forest.feature_importances_, kind="stable")[: self.fields])
            first, second = (used[place] for place in np.triu_indices(len(used), 1))
            found = np.abs(second_differences(forest, design.masks[: self.contexts], first, second))
            strengths[first, second] = strengths[second, first] = np.where(found > least, found, 0.0)
            left = left - forest.predict(design.masks)
        sets, values = rank_pairs(strengths)
        r2 = float(r_squared(logits[design.test], left[design.test]))
        return Explanation(sets, values, r2, strengths)

    def _forest(self, masks, left, seed):
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(
            self.trees,
            min_samples_leaf=self.leaf,
            max_features=self.share,
            random_state=int(seed.generate_state(1)[0]),
        ).fit(masks, left)


def second_differences(forest, contexts, first, second):
    """Return f(on, on) - f(off, on) - f(on, off) + f(off, off) of each pair, averaged over contexts (c, p)."""
    pairs = np.arange(len(first))
    total = np.zeros(len(pairs))
    for a, b, sign in ((1, 1, 1), (0, 1, -1), (1, 0, -1), (0, 0, 1)):
        rows = np.repeat(contexts[None], len(pairs), axis=0)
        rows[pairs, :, first] = a
        rows[pairs, :, second] = b
        predicted = forest.predict(rows.reshape(-1, contexts.shape[1]))
        total += sign * predicted.reshape(len(pairs), -1).mean(axis=1)
    return total
