"""What an experiment is judged by: metrics summed per unit, and guardrails that must not get worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nid_plugins.errors import SettingError
from nid_plugins.experiment import checks

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("ratio", "mean", "quantile")
WORSE = ("up", "down", "either")
IMPRESSIONS = "impressions"
"""A column every table of impressions has: 1 in each row."""

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "ratio": ("numerator", "denominator"),
    "mean": ("value",),
    "quantile": ("value", "q"),
}


@dataclass(frozen=True)
class Metric:
    """A number of each variant, from columns of the table of impressions.

    Args:
        name: How results call it.
        kind: ``"ratio"``: sum of ``numerator`` over sum of ``denominator``, each summed per unit first, with the variance
            of the delta method (Deng, Knoblich and Lu, KDD 2018). ``"mean"``: sum of ``value`` per unit, averaged over
            units. ``"quantile"``: the ``q`` quantile of ``value`` over impressions, with units as clusters.
        numerator: Column, for a ratio.
        denominator: Column, for a ratio; ``"impressions"`` counts rows.
        value: Column, for a mean or a quantile.
        q: In (0, 1), for a quantile.
        covariate: Column known before the treatment could change it, such as the base model's prediction, which takes
            variance out of a ratio or a mean (CUPED: Deng et al., WSDM 2013; CUPAC when it is a prediction).

    Raises:
        SettingError: A column the kind needs is missing, or one is given it has no use for.
    """

    name: str
    kind: str = "ratio"
    numerator: str | None = None
    denominator: str | None = None
    value: str | None = None
    q: float | None = None
    covariate: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checks.text(self.name, "name", "the name of a metric"))
        object.__setattr__(self, "kind", checks.choice(self.kind, "kind", KINDS))
        needed = _FIELDS[self.kind]
        for field in ("numerator", "denominator", "value", "q"):
            given = getattr(self, field)
            if field in needed and given is None:
                raise SettingError(
                    f"a metric of kind {self.kind} needs it",
                    field=field,
                    expected="a number between 0 and 1" if field == "q" else "the name of a column",
                )
            if field not in needed and given is not None:
                raise SettingError(
                    f"a metric of kind {self.kind} has no use for it",
                    field=field,
                    received=repr(given),
                    expected=f"{' and '.join(needed)} only",
                )
            if field in needed and field != "q":
                object.__setattr__(self, field, checks.text(given, field, "the name of a column"))
        if self.q is not None:
            q = checks.number(self.q, "q", "a quantile between 0 and 1", low=0.0, high=1.0)
            object.__setattr__(self, "q", q)
        if self.covariate is not None:
            if self.kind == "quantile":
                raise SettingError(
                    "a quantile has no covariate", field="covariate", received=repr(self.covariate)
                )
            covariate = checks.text(self.covariate, "covariate", "the name of a column")
            object.__setattr__(self, "covariate", covariate)
        if self.kind == "ratio" and self.numerator == self.denominator:
            raise SettingError(
                "a column over itself is always 1", field="denominator", received=repr(self.denominator)
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it reads, but for the one every table has."""
        named = (self.numerator, self.denominator, self.value, self.covariate)
        return tuple(dict.fromkeys(name for name in named if name is not None and name != IMPRESSIONS))

    @classmethod
    def ctr(cls, click: str = "click", *, covariate: str | None = None, name: str = "ctr") -> Metric:
        """Return the click-through rate: clicks over impressions."""
        return cls(name, "ratio", numerator=click, denominator=IMPRESSIONS, covariate=covariate)

    @classmethod
    def calibration(
        cls, prediction: str = "prediction", click: str = "click", *, name: str = "calibration"
    ) -> Metric:
        """Return predicted clicks over clicks: 1 for a calibrated model."""
        return cls(name, "ratio", numerator=prediction, denominator=click)

    @classmethod
    def latency(cls, q: float = 0.95, *, value: str = "latency_ms", name: str | None = None) -> Metric:
        """Return a quantile of the time an answer took, in milliseconds."""
        share = checks.number(q, "q", "a quantile between 0 and 1", low=0.0, high=1.0)
        return cls(name or f"latency_p{share * 100:g}", "quantile", value=value, q=share)

    @classmethod
    def revenue(
        cls, value: str = "revenue", *, covariate: str | None = None, name: str = "revenue"
    ) -> Metric:
        """Return the revenue of a unit."""
        return cls(name, "mean", value=value, covariate=covariate)


@dataclass(frozen=True)
class Guardrail:
    """A metric that must not get worse by more than a margin; a test of non-inferiority.

    Args:
        metric: What is guarded.
        worse: Which way is worse: ``"up"``, ``"down"``, or ``"either"``, for a metric that should stay where it is.
        margin: The change that is still taken, relative to the control: 0.05 is 5 %.

    Raises:
        SettingError: An option is out of its domain.
    """

    metric: Metric
    worse: str = "up"
    margin: float = 0.05

    def __post_init__(self) -> None:
        checks.instance(self.metric, "metric", Metric)
        object.__setattr__(self, "worse", checks.choice(self.worse, "worse", WORSE))
        high = float("inf") if self.worse == "up" else 1.0
        margin = checks.number(
            self.margin,
            "margin",
            "a relative change above 0" + ("" if self.worse == "up" else " and below 1"),
            low=0.0,
            high=high,
        )
        object.__setattr__(self, "margin", margin)

    @property
    def name(self) -> str:
        """Name of its metric."""
        return self.metric.name
