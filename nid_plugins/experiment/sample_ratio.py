"""Sample-ratio check: whether the variants got the shares of units the design gives them.

Units lost on the way of one variant, by a crash, a filter, a cache, are not a random sample; a difference of metrics may then
be theirs. The check comes first, and when it fails nothing after it is to be believed (Fabijan et al., "Diagnosing Sample
Ratio Mismatch in Online Controlled Experiments", KDD 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nid_plugins.experiment.results import SampleRatio

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from nid_plugins.experiment.design import Design

ALPHA = 0.001
"""Level of the check: it is looked at often, and a false alarm costs an experiment."""


def check_sample_ratio(design: Design, units: Mapping[str, int], *, alpha: float = ALPHA) -> SampleRatio:
    """Compare the units of each variant with the exact shares of the design.

    tea-tasting's test of each treatment against the control: the exact binomial one below 1,000 units, else its normal
    approximation with continuity correction. Of several treatments the smallest p-value times their number counts.

    Args:
        design: Gives the shares.
        units: Units by variant.
        alpha: Level of the check.
    """
    import tea_tasting as tt
    from tea_tasting.aggr import Aggregates

    names = [variant.name for variant in design.variants]
    shares = dict(zip(names, design.shares, strict=True))
    metric = tt.SampleRatio(shares, correction=True)
    aggregates = {name: Aggregates(count_=int(units[name])) for name in names}
    pvalues = [metric.analyze(aggregates, names[0], name).pvalue for name in names[1:]]
    pvalue = min(1.0, len(pvalues) * min(float(p) for p in pvalues))
    total = sum(units[name] for name in names)
    return SampleRatio(
        expected={name: shares[name] * total for name in names},
        observed={name: int(units[name]) for name in names},
        pvalue=pvalue,
        alpha=alpha,
        passes=pvalue >= alpha,
    )


def pvalue_of(design: Design, units: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the p-values of :func:`check_sample_ratio` for many experiments at once, of 1,000 units or more each.

    Args:
        design: Gives the shares.
        units: Units by variant, shape (variants, experiments).
    """
    from scipy.special import ndtr

    shares = np.array(design.shares)
    control, smallest = units[0], np.ones(units.shape[1])
    for share, treated in zip(shares[1:], units[1:], strict=True):
        p, n = share / (share + shares[0]), control + treated
        away = np.abs(treated - n * p)
        away = np.where(away > 0, np.maximum(away - 0.5, 0.0), away)
        smallest = np.minimum(smallest, 2.0 * ndtr(-away / np.sqrt(n * p * (1.0 - p))))
    return np.minimum(1.0, smallest * (len(shares) - 1))
