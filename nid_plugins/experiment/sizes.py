"""How large an experiment must be: the numbers, as they are kept with its design."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import SettingError
from nid_plugins.experiment import checks

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Sizing:
    """What a sample of past logs says about the size an experiment needs.

    Units are counted over all variants, and only those that are in the experiment. Names that end in ``_cuped`` are with
    the variance the covariate takes out, and None without a covariate.

    Args:
        metric: Name of the primary metric.
        baseline: Its value in the logs.
        variance: Variance of one unit's part in it, relative to the baseline: the metric of ``n`` units has the relative
            variance ``variance / n`` (delta method).
        mde: Relative change of the metric the size is for; with given units or days, the one they can find.
        alpha: Two-sided false-positive rate of the whole experiment.
        alpha_comparison: The same of one comparison, after the correction for several treatments.
        power: Chance that one comparison finds a change of ``mde``.
        units: Units needed.
        units_per_variant: The same by variant, in their exact shares.
        days: Whole days until they are there; None when the traffic is unknown, or not enough however long it runs.
        units_per_day: Units of the first day, of the whole traffic; None when unknown.
        window: Days each unit was observed for the variance; None without timestamps.
        sample_units: Units in the logs.
        sample_impressions: Impressions in the logs.
        covariate: Column of the covariate.
        correlation: Between metric and covariate, over units.
        variance_cuped: As ``variance``.
        mde_cuped: As ``mde``.
        units_cuped: As ``units``.
        units_per_variant_cuped: As ``units_per_variant``.
        days_cuped: As ``days``.

    Raises:
        SettingError: A number is out of its domain.
    """

    metric: str
    baseline: float
    variance: float
    mde: float
    alpha: float
    alpha_comparison: float
    power: float
    units: int
    units_per_variant: Mapping[str, int] = field(hash=False)
    days: int | None = None
    units_per_day: float | None = None
    window: int | None = None
    sample_units: int = 0
    sample_impressions: int = 0
    covariate: str | None = None
    correlation: float | None = None
    variance_cuped: float | None = None
    mde_cuped: float | None = None
    units_cuped: int | None = None
    units_per_variant_cuped: Mapping[str, int] | None = field(default=None, hash=False)
    days_cuped: int | None = None

    def __post_init__(self) -> None:
        self._set("metric", checks.text(self.metric, "metric", "the name of a metric"))
        if self.covariate is not None:
            self._set("covariate", checks.text(self.covariate, "covariate", "the name of a column"))
        for name in ("baseline", "variance", "mde", "alpha", "alpha_comparison", "power"):
            self._number(name)
        for name in ("units_per_day", "correlation", "variance_cuped", "mde_cuped"):
            if getattr(self, name) is not None:
                self._number(name)
        for name in ("units", "sample_units", "sample_impressions"):
            self._set(name, checks.whole(getattr(self, name), name, "a number from 0", low=0))
        for name in ("days", "window", "units_cuped", "days_cuped"):
            if getattr(self, name) is not None:
                self._set(name, checks.whole(getattr(self, name), name, "a number from 0", low=0))
        self._set("units_per_variant", _per_variant(self.units_per_variant, "units_per_variant"))
        if self.units_per_variant_cuped is not None:
            per_variant = _per_variant(self.units_per_variant_cuped, "units_per_variant_cuped")
            self._set("units_per_variant_cuped", per_variant)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _number(self, name: str) -> None:
        self._set(name, checks.number(getattr(self, name), name, "a finite number"))

    @property
    def variance_saved(self) -> float | None:
        """Share of the variance the covariate takes out; None without one."""
        return None if self.variance_cuped is None else 1.0 - self.variance_cuped / self.variance

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as what JSON can hold, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Sizing:
        """Return what :meth:`to_dict` wrote.

        Raises:
            SettingError: A key is unknown or missing, or a value out of its domain.
        """
        names = [one.name for one in fields(cls)]
        checks.known_keys(spec, "", names, names[:9])
        return cls(**spec)


def _per_variant(value: object, name: str) -> dict[str, int]:
    from collections.abc import Mapping as AnyMapping

    if not isinstance(value, AnyMapping):
        raise SettingError(
            "not a mapping", field=name, received=type(value).__name__, expected="variant to its units"
        )
    return {
        checks.text(key, name, "the name of a variant"): checks.whole(n, f"{name}.{key}", "units", low=0)
        for key, n in value.items()
    }
