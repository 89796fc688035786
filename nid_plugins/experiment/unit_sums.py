"""From impressions to one row a unit: the sums every mean and ratio is made of, computed where the log is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from nid_plugins.errors import FrameError
from nid_plugins.experiment.metrics import IMPRESSIONS
from nid_plugins.experiment.results import Exclusion
from nid_plugins.experiment.tables import (
    CLICK,
    HUGE,
    Log,
    columns_needed,
    identifier,
    is_huge,
    number,
    unit_column,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.metrics import Metric
    from nid_plugins.experiment.sources import Warehouse

MISSING_VALUES = "missing values"
MISSING_COVARIATES = "missing covariates"


Row: TypeAlias = "Callable[[Any], Any]"


@dataclass(frozen=True)
class Columns:
    """Names of a metric's per-unit sums; None stands for a column of ones.

    Args:
        numerator: Of the metric.
        denominator: Of the metric, None for a mean.
        covariate: Its numerator, None without a covariate.
        covariate_denominator: Its denominator.
    """

    numerator: str
    denominator: str | None = None
    covariate: str | None = None
    covariate_denominator: str | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names in the order :func:`nid_plugins.experiment.moments.compare` takes them."""
        both = (self.numerator, self.denominator)
        return both if self.covariate is None else (*both, self.covariate, self.covariate_denominator)


@dataclass(frozen=True)
class UnitSums:
    """One row a unit.

    Args:
        table: Ibis table with ``variant``, ``unit``, ``impressions``, ``fallbacks`` and the sums.
        columns: Of each metric, by its name; quantiles have none.
        exclusions: What was missing and what was done about it.
        rows: Of each sum over impressions, by its name, a function from a table of them to the value a row adds.
    """

    table: Any
    columns: dict[str, Columns]
    exclusions: list[Exclusion]
    rows: dict[str, Row]


class Covariates:
    """Where the covariates of metrics are: in the impressions, or in a table of units made before the experiment.

    Args:
        house: Where the tables are.
        units: Anything that holds a table with the unit ids and covariates, or None.
        design: Names the unit.

    Raises:
        FrameError: The units' table has no unit ids, or one of them twice.
    """

    def __init__(self, house: Warehouse, units: Any, design: Design) -> None:
        self.house = house
        self.table: Any = None
        self.used = False
        if units is not None:
            table = house.table(units, "units")
            self._name = unit_column(table, design, "units")
            ids = identifier(house.ibis, table, self._name, "units")
            self.table = table.mutate(nid_unit=ids).filter(lambda t: t.nid_unit.notnull())
            self._check_unique()

    def _check_unique(self) -> None:
        table = self.table
        twice = table.group_by("nid_unit").aggregate(rows=table.count())
        found = twice.filter(twice.rows > 1).order_by("nid_unit").limit(1).to_pyarrow().to_pylist()
        if found:
            raise FrameError(
                "a unit id occurs twice in the units",
                field=self._name,
                received=f"{found[0]['nid_unit']!r} in {found[0]['rows']} rows",
                expected="one row a unit",
                hint="Sum or average a unit's rows first",
            )

    def of_units(self, metric: Metric, impressions: Sequence[str]) -> bool:
        """Return whether a metric's covariate is one of units.

        Args:
            metric: A metric with a covariate.
            impressions: Value columns the impressions have.

        Raises:
            FrameError: The covariate is in neither table, or in both.
        """
        in_units = self.table is not None and metric.covariate in self.table.columns
        in_impressions = metric.covariate in impressions
        if in_units and in_impressions:
            raise FrameError(
                f"the covariate of {metric.name!r} is in the exposures and in the units",
                field=metric.covariate,
                expected="one of them",
                hint="Rename one",
            )
        if not in_units and not in_impressions:
            raise FrameError(
                f"the covariate of {metric.name!r} is nowhere",
                field=metric.covariate,
                received="neither a column of the exposures"
                + (" nor of the units" if self.table is not None else ""),
                expected="a column of the exposures, or of a table given as units=",
                hint="Have the router log it with covariate=True, or take it out of the design",
            )
        self.used |= in_units
        return in_units

    def values(self, name: str) -> Any:
        """Return a table with ``nid_unit`` and ``covariate`` (float64)."""
        covariate = number(self.house.ibis, self.table, name, "units")
        return self.table.select("nid_unit", covariate=covariate)


def unit_sums(
    house: Warehouse,
    impressions: Any,
    has: Sequence[str],
    metrics: Sequence[Metric],
    covariates: Covariates,
    *,
    fallback: bool,
) -> UnitSums:
    """Return per-unit sums for metrics of kind ratio and mean.

    Args:
        house: Where the tables are.
        impressions: What counts, with variant, unit and value columns.
        has: Names of its value columns.
        metrics: Of any kind.
        covariates: Where covariates are.
        fallback: Whether there is the column ``fallback``.

    Raises:
        FrameError: A column a metric needs is missing, or holds infinite values.
    """
    ibis = house.ibis
    for metric in metrics:
        for name in columns_needed([metric]):
            if name not in has:
                raise FrameError(
                    f"a column {metric.name!r} reads is nowhere",
                    field=name,
                    received=f"values {sorted(has)}",
                    expected="a column of the exposures or of the clicks",
                    hint="Pass the clicks"
                    if name == CLICK
                    else "Add it, or take the metric out of the design",
                )
    summed = [m for m in metrics if m.kind != "quantile"]
    in_units = {m.name: covariates.of_units(m, has) for m in summed if m.covariate is not None}
    used = dict.fromkeys(
        name
        for m in metrics
        for name in (*(n for n in m.columns), m.covariate)
        if name is not None and name in has
    )
    means, exclusions = _check_values(impressions, metrics, in_units, list(used))
    rows: dict[str, Row] = {"impressions": lambda _: ibis.literal(1.0)}
    columns = {m.name: _sums_of(ibis, m, f"m{i}", means, in_units, rows) for i, m in enumerate(summed)}
    sums = {name: row(impressions).sum() for name, row in rows.items() if name != "impressions"}
    sums["impressions"] = impressions.count().cast("float64")
    sums["fallbacks"] = impressions.fallback.cast("int64").sum() if fallback else ibis.literal(0)
    table = impressions.group_by("variant", "unit").aggregate(**sums)
    for metric in summed:
        if in_units.get(metric.name):
            table, filled = _join_units(table, metric, columns[metric.name], covariates)
            exclusions += filled
    return UnitSums(house.keep(table), columns, exclusions, rows)


def _sums_of(
    ibis: Any,
    metric: Metric,
    prefix: str,
    means: dict[str, float],
    in_units: dict[str, bool],
    rows: dict[str, Row],
) -> Columns:
    """Add the row values of a metric's per-unit sums, and return the names of the sums."""
    top = metric.numerator if metric.kind == "ratio" else metric.value
    rows[f"{prefix}_top"] = _row(ibis, top, metric)
    below = None
    if metric.kind == "ratio":
        below = f"{prefix}_below"
        rows[below] = _row(ibis, metric.denominator, metric)
    if metric.covariate is None:
        return Columns(f"{prefix}_top", below)
    if in_units[metric.name]:
        return Columns(f"{prefix}_top", below, f"{prefix}_cov", None)
    covariate, mean = metric.covariate, means[metric.covariate]
    rows[f"{prefix}_cov"] = lambda table: _column(table, covariate).fill_null(mean)
    # A ratio's covariate is a rate as well: its sum over the unit's impressions.
    return Columns(f"{prefix}_top", below, f"{prefix}_cov", "impressions" if below else None)


def _column(table: Any, name: str | None) -> Any:
    return table[Log.value(str(name))]


def _complete(table: Any, metric: Metric) -> Any:
    """Return the condition of the rows in which nothing the metric needs is missing; None when it needs no column."""
    complete = None
    for name in (metric.numerator, metric.denominator, metric.value):
        if name is not None and name != IMPRESSIONS:
            known = _column(table, name).notnull()
            complete = known if complete is None else complete & known
    return complete


def _row(ibis: Any, name: str | None, metric: Metric) -> Row:
    """Return what a row adds to a sum: nothing where anything the metric needs is missing."""

    def value(table: Any) -> Any:
        own = ibis.literal(1.0) if name == IMPRESSIONS else _column(table, name)
        return ibis.ifelse(_complete(table, metric), own, 0.0)

    return value


def _check_values(
    table: Any, metrics: Sequence[Metric], in_units: dict[str, bool], used: list[str]
) -> tuple[dict[str, float], list[Exclusion]]:
    """Return the means of covariates, and what is missing, in one query over the impressions."""
    wanted = {}
    for i, name in enumerate(used):
        wanted[f"huge{i}"] = is_huge(_column(table, name)).cast("int64").sum()
        wanted[f"mean{i}"] = _column(table, name).mean()
        wanted[f"null{i}"] = _column(table, name).isnull().cast("int64").sum()
    for i, metric in enumerate(metrics):
        complete = _complete(table, metric)
        if complete is not None:
            wanted[f"lost{i}"] = (~complete).cast("int64").sum()
    if not wanted:
        return {}, []
    found = table.aggregate(**wanted).to_pyarrow().to_pylist()[0]
    for i, name in enumerate(used):
        if found[f"huge{i}"]:
            raise FrameError(
                "infinite or huge values",
                field=name,
                received=f"{found[f'huge{i}']} rows",
                expected=f"numbers below {HUGE:g}",
                hint="Leave codes of missing values empty, or count in a larger unit",
            )
    exclusions = [
        Exclusion(
            MISSING_VALUES,
            int(found[f"lost{i}"]),
            None,
            f"Impressions without a value {metric.name!r} needs; left out of this metric.",
        )
        for i, metric in enumerate(metrics)
        if found.get(f"lost{i}")
    ]
    means = {}
    for i, name in enumerate(used):
        owners = [m.name for m in metrics if m.covariate == name and not in_units[m.name]]
        if not owners:
            continue
        if found[f"mean{i}"] is None:
            raise FrameError(
                f"the covariate of {owners[0]!r} has no value at all",
                field=name,
                hint="Have the router log it with covariate=True, or take it out of the design",
            )
        means[name] = float(found[f"mean{i}"])
        if found[f"null{i}"]:
            detail = f"Impressions without the covariate {name!r}; its mean stands in, which takes no variance out."
            exclusions.append(Exclusion(MISSING_COVARIATES, int(found[f"null{i}"]), None, detail))
    return means, exclusions


def _join_units(
    table: Any, metric: Metric, columns: Columns, covariates: Covariates
) -> tuple[Any, list[Exclusion]]:
    """Return the units with a covariate of their own, its mean where a unit has none."""
    known = covariates.values(str(metric.covariate))
    both = table.left_join(known, table.unit == known.nid_unit)
    facts = both.aggregate(
        mean=both.covariate.mean(),
        lost=both.covariate.isnull().cast("int64").sum(),
        huge=is_huge(both.covariate).cast("int64").sum(),
    )
    found = facts.to_pyarrow().to_pylist()[0]
    if found["mean"] is None or found["huge"]:
        raise FrameError(
            f"the covariate of {metric.name!r} "
            + (
                "is infinite or huge in some units"
                if found["huge"]
                else "is known for no unit of the experiment"
            ),
            field=metric.covariate,
            expected=f"numbers below {HUGE:g}, and unit ids as in the exposures",
        )
    filled = both.covariate.fill_null(float(found["mean"]))
    joined = both.select(*table.columns, **{str(columns.covariate): filled})
    if not found["lost"]:
        return joined, []
    detail = (
        f"Units without the covariate {metric.covariate!r}; its mean stands in, which takes no variance out."
    )
    return joined, [Exclusion(MISSING_COVARIATES, int(found["lost"]), int(found["lost"]), detail)]
