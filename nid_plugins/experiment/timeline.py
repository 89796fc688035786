"""How the primary metric stood at earlier moments, in one pass over the log.

Per-unit sums grow as units come back, and a moment's variance needs the squares of the sums as they were then. A unit's sums
change only where it has impressions, so that the squares are added up by what each visit adds to them: one row a unit and
stretch of time, whatever the number of moments.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.experiment import correction, sequential
from nid_plugins.experiment.effects import mixtures
from nid_plugins.experiment.moments import Arm, Comparison, compare
from nid_plugins.experiment.results import Look

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.effects import Measured
    from nid_plugins.experiment.sources import Warehouse
    from nid_plugins.experiment.unit_sums import UnitSums

STRETCHES = 50
"""Moments looked at, at most."""


def timeline(
    house: Warehouse,
    impressions: Any,
    sums: UnitSums,
    design: Design,
    measured: Sequence[Measured],
    times: tuple[datetime, datetime],
) -> list[Look]:
    """Return the primary metric at evenly spaced moments, for each treatment.

    Args:
        house: Where the tables are.
        impressions: What counts, with the column ``timestamp``.
        sums: Its per-unit sums, and the row values they are made of.
        design: The plan.
        measured: The primary metric of each treatment, as it stands now.
        times: Of the first and the last impression.
    """
    first, last = times
    start = int(first.timestamp())
    seconds = int(last.timestamp()) - start + 1
    stretches = min(STRETCHES, seconds)
    names = sums.columns[design.primary.name].names
    arms = _arms(house, impressions, sums, names, start, seconds, stretches, design)
    looks = []
    for m in measured:
        width = 4 if m.covariate is not None else 2
        for stretch in range(stretches):
            control, treatment = (
                _at(arms[name], stretch, width) for name in (design.control.name, m.variant)
            )
            if min(control.count, treatment.count) < 2:
                continue
            found = compare(control, treatment, covariate=m.covariate is not None)
            end = first + timedelta(seconds=(stretch + 1) * seconds / stretches)
            looks.append(
                _look(
                    design, replace(m, found=found), last if stretch == stretches - 1 else end, len(measured)
                )
            )
    return looks


def _at(arm: Arm, stretch: int, width: int) -> Arm:
    return Arm(arm.count[stretch], arm.mean[stretch, :width], arm.cov[stretch, :width, :width])


def _arms(
    house: Warehouse,
    impressions: Any,
    sums: UnitSums,
    names: Sequence[str | None],
    start: int,
    seconds: int,
    stretches: int,
    design: Design,
) -> dict[str, Arm]:
    """Return the moments of each variant at the end of each stretch."""
    ibis = house.ibis
    timed = impressions.filter(impressions.timestamp.notnull())
    at = ((timed.timestamp.epoch_seconds() - start) * stretches / seconds).floor().cast("int64")
    known = [name for name in names if name is not None]
    rows = {name: sums.rows[name](timed) for name in dict.fromkeys(known) if name in sums.rows}
    visits = timed.mutate(stretch=at, **rows).group_by("variant", "unit", "stretch")
    added = visits.aggregate(**{name: ibis._[name].sum() for name in rows})
    by_unit = {"group_by": ["variant", "unit"], "order_by": "stretch"}
    added = added.mutate(nth=ibis.row_number().over(**by_unit))
    for name in known:
        if name not in rows:  # a covariate of the unit itself, there from its first visit on
            units = sums.table.select(nid_unit=sums.table.unit, nid_value=sums.table[name])
            joined = added.left_join(units, added.unit == units.nid_unit)
            value = ibis.ifelse(joined.nth == 0, joined.nid_value, 0.0)
            added = joined.select(*added.columns, **{name: value})
    until = ibis.window(**by_unit, preceding=None, following=0)
    grown = added.mutate(**{f"until_{name}": added[name].sum().over(until) for name in dict.fromkeys(known)})
    wanted = {"units": (grown.nth == 0).cast("int64").sum()}
    m = len(names)
    for i in range(m):
        wanted[f"s{i}"] = _until(grown, names[i]).sum() if names[i] is None else grown[names[i]].sum()
        for j in range(i, m):
            now = _until(grown, names[i]) * _until(grown, names[j])
            wanted[f"p{i}_{j}"] = (now - _before(grown, names[i]) * _before(grown, names[j])).sum()
    found = grown.group_by("variant", "stretch").aggregate(**wanted).to_pyarrow().to_pydict()
    return {v.name: _cumulated(found, v.name, stretches, names) for v in design.variants}


def _until(grown: Any, name: str | None) -> Any:
    return (grown.nth >= 0).cast("float64") if name is None else grown[f"until_{name}"]


def _before(grown: Any, name: str | None) -> Any:
    return (grown.nth > 0).cast("float64") if name is None else grown[f"until_{name}"] - grown[name]


def _cumulated(found: dict[str, list[Any]], variant: str, stretches: int, names: Sequence[str | None]) -> Arm:
    mine = np.array([v == variant for v in found["variant"]])
    at = np.array(found["stretch"], dtype=np.int64)[mine]
    m = len(names)

    def total(column: str) -> Any:
        out = np.zeros(stretches)
        np.add.at(out, at, np.array(found[column], dtype=np.float64)[mine])
        return np.cumsum(out)

    count = total("units")
    # A column of ones has one a unit, whenever it came.
    sums = np.stack([count if name is None else total(f"s{i}") for i, name in enumerate(names)], axis=-1)
    products = np.empty((stretches, m, m))
    for i in range(m):
        for j in range(i, m):
            products[:, i, j] = products[:, j, i] = total(f"p{i}_{j}")
    return Arm.from_sums(count, sums, products, np.zeros(m))


def _look(design: Design, m: Measured, time: datetime, family: int) -> Look:
    found = m.found
    alpha = correction.interval_alpha([0.0] * family, design.correction, design.alpha)
    always = correction.sequential_alpha(family, design.correction, design.alpha)
    log, se = float(found.log_ratio), float(np.sqrt(found.log_variance))
    t = _welch_quantile(found, alpha)
    enough = min(float(found.control_count), float(found.treatment_count)) >= sequential.MIN_UNITS
    _, log_tau = mixtures(design, m, always)
    half = float(sequential.half_width(se**2, log_tau, always)) if enough else np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        low, high, sequential_low, sequential_high = (
            float(np.expm1(log + side)) for side in (-t * se, t * se, -half, half)
        )
    return Look(
        time=time,
        variant=m.variant,
        units=int(found.control_count + found.treatment_count),
        relative=float(np.expm1(log)),
        low=low,
        high=high,
        sequential_low=sequential_low,
        sequential_high=sequential_high,
    )


def _welch_quantile(found: Comparison, alpha: float) -> float:
    from scipy.special import stdtrit

    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = found.control_var / found.control**2, found.treatment_var / found.treatment**2
        freedom = (a + b) ** 2 / (a**2 / (found.control_count - 1) + b**2 / (found.treatment_count - 1))
    return float(stdtrit(freedom, 1.0 - alpha / 2.0))
