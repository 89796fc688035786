"""Error rates of intervals for a quantile of latency, with units as clusters and, for contrast, with rows as independent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.experiment.null_runs import error_rate

Floats = npt.NDArray[np.float64]
Z = 1.959963984540054
UNITS = 3_000
Q = 0.95
LIFT = 0.05


def quantile_of(
    values: Floats, units: npt.NDArray[np.int64], q: float, *, clustered: bool = True
) -> tuple[float, float]:
    """Return a quantile and its standard error, as ``nid_plugins.experiment.quantiles`` has them, in NumPy.

    Args:
        values: One a row.
        units: Index of each row's unit, from 0 without gaps.
        q: Which quantile.
        clustered: Whether rows of a unit may be alike; else rows are taken as independent.
    """
    value = float(np.quantile(values, q))
    below = values <= value
    if clustered:
        rows = np.bincount(units).astype(np.float64)
        hits = np.bincount(units, below)
        share = hits.sum() / rows.sum()
        parts = (hits - share * rows) / rows.mean()
        sigma = math.sqrt(float(parts.var(ddof=1)) / len(rows))
    else:
        sigma = math.sqrt(q * (1 - q) / len(values))
    low, high = max(0.0, q - Z * sigma), min(1.0, q + Z * sigma)
    ends = np.quantile(values, [low, high])
    return value, float(sigma * (ends[1] - ends[0]) / (high - low))


def draw(rng: np.random.Generator, units: int, lift: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return latencies in milliseconds, 5 a unit on average, with a deviation between units as large as that within."""
    counts = rng.geometric(0.2, units)
    owners = np.repeat(np.arange(units), counts)
    slow = rng.normal(0.0, 0.4, units)
    return (1.0 + lift) * np.exp(1.5 + slow[owners] + rng.normal(0.0, 0.4, len(owners))), owners


def quantile_rates(runs: int, seed: int) -> dict[str, Any]:
    """Return false-positive rate and coverage of both kinds of interval."""
    # Of a log-normal value whose logarithm has the variance 0.4^2 + 0.4^2.
    truth = math.exp(1.5 + 1.6448536269514722 * math.sqrt(0.32)) * LIFT
    counts = {kind: {"false_positives": 0, "coverage": 0} for kind in ("clustered", "rows")}
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        control, same, slower = (draw(rng, UNITS, lift) for lift in (0.0, 0.0, LIFT))
        for kind, clustered in (("clustered", True), ("rows", False)):
            a, b, c = (quantile_of(*rows, Q, clustered=clustered) for rows in (control, same, slower))
            counts[kind]["false_positives"] += abs(b[0] - a[0]) > Z * math.hypot(a[1], b[1])
            counts[kind]["coverage"] += abs(c[0] - a[0] - truth) <= Z * math.hypot(a[1], c[1])
    return {
        "units_per_variant": UNITS,
        **{kind: {name: _cell(found, runs) for name, found in both.items()} for kind, both in counts.items()},
    }


def _cell(found: int, runs: int) -> dict[str, float]:
    rate = error_rate("", found, runs, 1)
    return {"rate": rate.rate, "low": rate.low, "high": rate.high}
