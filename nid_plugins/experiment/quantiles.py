"""Quantiles over impressions with units as clusters, in closed form and where the log is.

Impressions of a unit are alike: a slow phone is slow each time. A bootstrap or an order-statistic interval over impressions
takes them as independent and is too narrow. Here the share of impressions at or below the quantile is a ratio of per-unit
sums; its standard error comes from the delta method, and is carried over to the quantile by the quantiles at the ends of the
share's interval.

Sources: Woodruff, "Confidence Intervals for Medians and Other Position Measures", JASA 47(260), 1952 (the ends); Deng, Knoblich
and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 4.1 (clustered quantiles of web metrics).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.experiment.moments import Arm, Comparison, compare
from nid_plugins.experiment.tables import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.experiment.metrics import Metric
    from nid_plugins.experiment.sources import Warehouse

_Z = 1.959963984540054  # the ends of a 95 % interval of the share, as in the sources


@dataclass(frozen=True)
class Quantile:
    """A quantile of one variant.

    Args:
        value: The quantile.
        variance: Variance of it, as an estimate.
        units: Units.
    """

    value: float
    variance: float
    units: int


def quantiles(
    house: Warehouse, impressions: Any, metric: Metric, variants: Sequence[str]
) -> dict[str, Quantile]:
    """Return the quantile of every variant with its variance.

    Args:
        house: Where the tables are.
        impressions: With variant, unit and the metric's value column; impressions without a value are left out.
        metric: Of kind quantile.
        variants: Names.
    """
    ibis, q = house.ibis, float(metric.q or 0.0)
    column = Log.value(str(metric.value))
    known = impressions.filter(impressions[column].notnull())
    rows = known.group_by("variant").aggregate(value=known[column].quantile(q)).to_pyarrow().to_pylist()
    values = {row["variant"]: float(row["value"]) for row in rows}
    if not values:
        return {name: Quantile(math.nan, math.nan, 0) for name in variants}
    at = ibis.cases(*((known.variant == name, value) for name, value in values.items()))
    below = (known[column] <= at).cast("float64").sum()
    units = known.group_by("variant", "unit").aggregate(below=below, rows=known.count().cast("float64"))
    shares = _shares(units)
    found = {}
    for name in variants:
        if name not in values or name not in shares:
            found[name] = Quantile(math.nan, math.nan, 0)
            continue
        sigma, count = shares[name]
        found[name] = Quantile(values[name], _variance(known, column, name, q, sigma), count)
    return found


def _shares(units: Any) -> dict[str, tuple[float, int]]:
    """Return the standard error of each variant's share at or below its quantile, and its units."""
    import tea_tasting as tt

    ratio = tt.RatioOfMeans("below", "rows")
    aggregates = tt.metrics.aggregate_by_variants(units, ratio.aggr_cols, "variant")
    found = {}
    for name, moments in aggregates.items():
        if moments.count() < 2:
            continue
        arm = Arm.from_aggregates(moments, ("below", "rows"))
        found[str(name)] = (math.sqrt(max(0.0, float(compare(arm, arm).control_var))), int(moments.count()))
    return found


def _variance(known: Any, column: str, variant: str, q: float, sigma: float) -> float:
    low, high = max(0.0, q - _Z * sigma), min(1.0, q + _Z * sigma)
    if not high > low:
        return 0.0
    mine = known.filter(known.variant == variant)
    ends = mine.aggregate(low=mine[column].quantile(low), high=mine[column].quantile(high))
    found = ends.to_pyarrow().to_pylist()[0]
    # At the rim of [0, 1] the interval is cut; its width stands for the part of it that is left.
    return float((sigma * (found["high"] - found["low"]) / (high - low)) ** 2)


def as_comparison(found: Mapping[str, Quantile], control: str, variant: str) -> Comparison:
    """Return two quantiles in the form ratios and means have."""
    a, b = found[control], found[variant]
    numbers = (a.value, b.value, a.variance, b.variance, a.variance + b.variance, 0.0, a.units, b.units)
    return Comparison(*(np.asarray(number, dtype=np.float64) for number in numbers))
