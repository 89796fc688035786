"""Effects of the treatments: each metric measured once, then given as a fixed and as an always-valid interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.experiment import correction, covariates, sequential
from nid_plugins.experiment.moments import Arm, Comparison, compare
from nid_plugins.experiment.quantiles import as_comparison
from nid_plugins.experiment.results import Effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.metrics import Metric
    from nid_plugins.experiment.quantiles import Quantile
    from nid_plugins.experiment.unit_sums import Columns


@dataclass(frozen=True)
class Measured:
    """One metric of one treatment against the control.

    Args:
        metric: The metric.
        role: ``"primary"``, ``"secondary"`` or ``"guardrail"``.
        variant: The treatment.
        found: Estimates and variances.
        columns: Per-unit sums used, None for a quantile. Without a covariate where there is none, or it was given up.
        change: The relative change its test is planned for: the design's ``mde``, or a guardrail's margin.
    """

    metric: Metric
    role: str
    variant: str
    found: Comparison
    columns: Columns | None
    change: float

    @property
    def covariate(self) -> str | None:
        """Column of the covariate used."""
        used = self.columns is not None and self.columns.covariate is not None
        return self.metric.covariate if used else None


def aggregates_of(table: Any, columns: Mapping[str, Columns]) -> dict[str, Any]:
    """Return tea-tasting's aggregates of per-unit sums by variant: one query, whatever the number of metrics.

    Args:
        table: One row a unit; Ibis table or frame with the column ``variant``.
        columns: Of each metric.
    """
    import tea_tasting as tt

    wanted = tt.metrics.AggrCols(has_count=True)
    for names in columns.values():
        wanted |= _test(names, 0.95).aggr_cols
    found: dict[str, Any] = tt.metrics.aggregate_by_variants(table, wanted, "variant")
    return found


def _test(columns: Columns, level: float) -> Any:
    import tea_tasting as tt

    return tt.RatioOfMeans(
        columns.numerator,
        columns.denominator,
        columns.covariate,
        columns.covariate_denominator,
        alternative="two-sided",
        confidence_level=level,
        equal_var=False,
        use_t=True,
    )


def measure(
    design: Design,
    aggregates: Mapping[str, Any],
    columns: Mapping[str, Columns],
    found_quantiles: Mapping[str, Mapping[str, Quantile]],
) -> tuple[list[Measured], list[str]]:
    """Measure every metric of every treatment.

    Args:
        design: Names metrics and variants.
        aggregates: What :func:`aggregates_of` returned.
        columns: Of each metric but quantiles.
        found_quantiles: Of each quantile metric, by variant.

    Returns:
        What was measured, primary metric first; and notes on covariates that were given up.
    """
    wanted = [(design.primary, "primary", design.mde)]
    wanted += [(metric, "secondary", design.mde) for metric in design.metrics]
    wanted += [(guardrail.metric, "guardrail", guardrail.margin) for guardrail in design.guardrails]
    measured, notes = [], []
    for metric, role, change in wanted:
        for treatment in design.treatments:
            if metric.kind == "quantile":
                found = as_comparison(found_quantiles[metric.name], design.control.name, treatment.name)
                measured.append(Measured(metric, role, treatment.name, found, None, change))
                continue
            names = columns[metric.name]
            a, b = (
                Arm.from_aggregates(aggregates[v], names.names) for v in (design.control.name, treatment.name)
            )
            if names.covariate is not None and not covariates.usable(a, b):
                notes.append(_given_up(metric, treatment.name, covariates.imbalance(a, b)))
                names = replace(names, covariate=None, covariate_denominator=None)
            found = compare(a, b, covariate=names.covariate is not None)
            measured.append(Measured(metric, role, treatment.name, found, names, change))
    return measured, notes


def _given_up(metric: Metric, variant: str, p: float) -> str:
    if p >= covariates.ALPHA:
        return f"The covariate {metric.covariate!r} of {metric.name!r} does not vary, and was not used."
    return (
        f"The covariate {metric.covariate!r} of {metric.name!r} differs between {variant!r} and the control (p = {p:.2g}): "
        "the treatment changes it, or the units differ. It was not used, as it would bias the effect."
    )


def fixed_effects(
    design: Design, aggregates: Mapping[str, Any], measured: Sequence[Measured]
) -> list[Effect]:
    """Return effects with intervals for one look at the planned end, corrected.

    Args:
        design: Gives control, error rate and correction.
        aggregates: What :func:`aggregates_of` returned.
        measured: What :func:`measure` returned.
    """
    effects = []
    for role in ("primary", "secondary", "guardrail"):
        family = [m for m in measured if m.role == role]
        method = design.correction if role != "guardrail" else "none"
        first = [_fixed(design, aggregates, m, 1.0 - design.alpha) for m in family]
        pvalues = [effect.pvalue for effect in first]
        level = 1.0 - correction.interval_alpha(pvalues, method, design.alpha)
        again = (
            first if level == 1.0 - design.alpha else [_fixed(design, aggregates, m, level) for m in family]
        )
        corrected = correction.adjusted(pvalues, method)
        effects += [replace(e, adjusted=p) for e, p in zip(again, corrected, strict=True)]
    return effects


def _fixed(design: Design, aggregates: Mapping[str, Any], m: Measured, level: float) -> Effect:
    if m.columns is None:
        return _normal(design, m, level)
    control = design.control.name
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = _test(m.columns, level).analyze(aggregates, control, m.variant)
    except (ArithmeticError, ValueError):  # no variance to divide by, or a ratio beyond all numbers
        return _effect(design, m, level, (math.nan, math.nan, math.nan), (math.nan, math.nan), "")
    kind = "ratio of sums per unit, delta method" if m.metric.kind == "ratio" else "mean over units"
    positive = found.control > 0 and found.treatment > 0
    return _effect(
        design,
        m,
        level,
        (float(found.effect_size_ci_lower), float(found.effect_size_ci_upper), float(found.pvalue)),
        (float(found.rel_effect_size_ci_lower), float(found.rel_effect_size_ci_upper))
        if positive
        else (math.nan, math.nan),
        f"{kind}, Welch's t-test",
    )


def _normal(design: Design, m: Measured, level: float) -> Effect:
    """Return the effect of an estimate that is taken as normal."""
    from scipy.special import ndtr, ndtri

    z = float(ndtri(0.5 + level / 2.0))
    d, se = float(m.found.effect), float(np.sqrt(m.found.variance))
    log, log_se = float(m.found.log_ratio), float(np.sqrt(m.found.log_variance))
    p = float(2.0 * ndtr(-abs(d) / se)) if se > 0 else (1.0 if d == 0 else math.nan)
    return _effect(
        design,
        m,
        level,
        (d - z * se, d + z * se, p),
        (_expm1(log - z * log_se), _expm1(log + z * log_se)),
        "quantile with units as clusters, Woodruff's interval",
    )


def sequential_effect(design: Design, m: Measured, alpha: float) -> Effect:
    """Return one always-valid effect; its interval is infinite while there are too few units.

    Args:
        design: Gives the size planned for, or the change to be found.
        m: What was measured.
        alpha: Error rate of the interval.
    """
    found = m.found
    enough = min(float(found.control_count), float(found.treatment_count)) >= sequential.MIN_UNITS
    tau, log_tau = mixtures(design, m, alpha)
    half = float(sequential.half_width(found.variance, tau, alpha)) if enough else math.inf
    log_half = float(sequential.half_width(found.log_variance, log_tau, alpha)) if enough else math.inf
    d, log = float(found.effect), float(found.log_ratio)
    p = float(sequential.pvalue(d, found.variance, tau)) if enough and math.isfinite(half) else 1.0
    return _effect(
        design,
        m,
        1.0 - alpha,
        (d - half, d + half, p),
        (_expm1(log - log_half), _expm1(log + log_half)),
        "mixture SPRT, always valid",
    )


def mixtures(design: Design, m: Measured, alpha: float) -> tuple[float, float]:
    """Return the mixture variances of the effect and of the log ratio; see :func:`sequential.mixture`."""
    found = m.found
    absolute, log = sequential.mixture(
        found.log_variance,
        found.control_count + found.treatment_count,
        found.control,
        change=m.change,
        planned=planned_units(design, m.variant, covariate=m.covariate is not None),
        alpha=alpha,
        power=design.power,
    )
    return float(absolute), float(log)


def planned_units(design: Design, variant: str, *, covariate: bool) -> float | None:
    """Return the units of control and one treatment the design plans for, None without a sizing.

    Args:
        design: The plan.
        variant: The treatment.
        covariate: Whether the variance is that with a covariate.
    """
    sizing = design.sizing
    if sizing is None:
        return None
    total = sizing.units_cuped if covariate and sizing.units_cuped is not None else sizing.units
    shares = dict(zip((v.name for v in design.variants), design.shares, strict=True))
    planned = float(total) * (shares[design.control.name] + shares[variant])
    return planned if planned > 0 else None


def sequential_effects(design: Design, measured: Sequence[Measured]) -> list[Effect]:
    """Return the always-valid effects of the primary and the secondary metrics, corrected.

    Args:
        design: Gives error rate and correction.
        measured: What :func:`measure` returned.
    """
    effects = []
    for role in ("primary", "secondary"):
        family = [m for m in measured if m.role == role]
        alpha = correction.sequential_alpha(len(family), design.correction, design.alpha)
        found = [sequential_effect(design, m, alpha) for m in family]
        corrects = len(found) > 1 and design.correction != "none"
        effects += [replace(e, adjusted=min(1.0, e.pvalue * len(found)) if corrects else None) for e in found]
    return effects


def fixed_guardrail(effects: Sequence[Effect], m: Measured) -> Effect:
    """Return the fixed effect of a guardrail."""
    return next(e for e in effects if (e.metric, e.variant) == (m.metric.name, m.variant))


def _effect(
    design: Design,
    m: Measured,
    level: float,
    absolute: tuple[float, float, float],
    relative: tuple[float, float],
    method: str,
) -> Effect:
    control, treatment = float(m.found.control), float(m.found.treatment)
    return Effect(
        metric=m.metric.name,
        kind=m.metric.kind,
        control=design.control.name,
        variant=m.variant,
        control_value=control,
        variant_value=treatment,
        effect=treatment - control,
        effect_low=absolute[0],
        effect_high=absolute[1],
        relative=treatment / control - 1.0 if control else math.nan,
        relative_low=relative[0],
        relative_high=relative[1],
        pvalue=absolute[2],
        adjusted=None,
        method=method + (f", adjusted by {m.covariate}" if m.covariate else ""),
        covariate=m.covariate,
        variance_saved=covariates.saved(m.found) if m.covariate else None,
        units=int(m.found.control_count + m.found.treatment_count),
        level=level,
        role=m.role,
    )


def _expm1(value: float) -> float:
    return math.inf if value > 700 else math.expm1(value)
