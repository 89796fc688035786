"""What an experiment tests, on whom, and when its answer counts; decided before it starts.

>>> from nid_plugins.experiment import Design, Variant
>>> design = Design("deepfm-crosses", variants=(Variant("base", 0.5), Variant("crosses", 0.5)), mde=0.01)
>>> design.control.name
'base'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import SettingError
from nid_plugins.experiment import checks
from nid_plugins.experiment.metrics import Guardrail, Metric
from nid_plugins.experiment.sizes import Sizing
from nid_plugins.experiment.variants import Namespace, Variant, check_weights, steps_of
from nid_plugins.report.shown import Shown

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from nid_plugins.report.page import Page

CORRECTIONS = ("holm", "bonferroni", "benjamini-hochberg", "none")
_NAME = re.compile(r"[A-Za-z0-9_.:|\-]+")  # what GrowthBook takes as the key of a feature


@dataclass(frozen=True)
class Design(Shown):
    """The whole of an experiment's plan. Objects are checked when made, and do not change.

    Args:
        name: Letters, digits and ``_ - . : |``: it is the key of the feature in GrowthBook and in the exposures.
        seed: Seed of the hash; the name if empty. Two experiments with one seed put the same units together.
        unit: Column of the unit ids, usually a user's: all impressions of a unit go to one variant.
        variants: Control first. Weights sum to 1.
        coverage: Share of the units that are in the experiment, in (0, 1].
        namespace: A slice of traffic to stay in, for experiments that exclude each other.
        primary: The metric that decides.
        guardrails: Metrics that must not get worse.
        metrics: Secondary metrics.
        mde: Smallest change of the primary metric worth finding, relative to the control: 0.01 is 1 %.
        alpha: Two-sided false-positive rate.
        power: Chance to find a change of the size ``mde``.
        start: First moment of the experiment; must have a time zone.
        stop: End of it, itself left out; must have a time zone.
        correction: For several metrics or treatments: ``"holm"``, ``"bonferroni"``, ``"benjamini-hochberg"``, ``"none"``.
        sizing: What :func:`nid_plugins.experiment.size` found, to be kept with the plan.
        artefacts: Name to path, relative to the folder of the design: the crosses, the detection report.
        notes: Why, in words.

    Raises:
        SettingError: An option is out of its domain; the message names it.
    """

    name: str
    seed: str = ""
    unit: str = "user_id"
    variants: tuple[Variant, ...] = (Variant("control", 0.5), Variant("treatment", 0.5))
    coverage: float = 1.0
    namespace: Namespace | None = None
    primary: Metric = field(default_factory=Metric.ctr)
    guardrails: tuple[Guardrail, ...] = ()
    metrics: tuple[Metric, ...] = ()
    mde: float = 0.01
    alpha: float = 0.05
    power: float = 0.8
    start: datetime | None = None
    stop: datetime | None = None
    correction: str = "holm"
    sizing: Sizing | None = None
    artefacts: Mapping[str, str] = field(default_factory=dict, hash=False)
    notes: str = ""

    def __post_init__(self) -> None:
        self._set("name", _name(self.name))
        self._set("seed", checks.text(self.seed or self.name, "seed", "the seed of the hash"))
        self._set("unit", checks.text(self.unit, "unit", "the column of the unit ids"))
        self._set("variants", checks.items(self.variants, "variants", Variant))
        check_weights(self.variants)
        coverage = checks.number(
            self.coverage, "coverage", "a share above 0 and at most 1", low=0.0, high=1.0, high_in=True
        )
        self._set("coverage", coverage)
        self._check_buckets()
        if self.namespace is not None:
            checks.instance(self.namespace, "namespace", Namespace)
            if self.namespace.hash_version == 2 and self.namespace.name == self.seed:
                raise SettingError(
                    "who is in the namespace would decide the variant",
                    field="namespace.name",
                    received=repr(self.namespace.name),
                    expected="another name than the seed of the hash",
                )
        self._check_metrics()
        self._set("mde", checks.number(self.mde, "mde", "a relative change above 0, such as 0.01", low=0.0))
        self._set("alpha", checks.number(self.alpha, "alpha", "a rate between 0 and 1", low=0.0, high=1.0))
        power = checks.number(
            self.power,
            "power",
            f"a chance above alpha ({self.alpha:g}) and below 1",
            low=self.alpha,
            high=1.0,
        )
        self._set("power", power)
        self._check_window()
        self._set("correction", checks.choice(self.correction, "correction", CORRECTIONS))
        if self.sizing is not None:
            checks.instance(self.sizing, "sizing", Sizing)
        self._set("artefacts", _artefacts(self.artefacts))
        self._set("notes", checks.text(self.notes, "notes", "words", empty=True))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_buckets(self) -> None:
        steps = steps_of(self.weights, self.coverage)
        empty = [v.name for v, n in zip(self.variants, steps, strict=True) if n == 0]
        if empty:
            raise SettingError(
                "a variant no unit can get",
                field="variants",
                received=f"{empty[0]!r} with weight {self.variant(empty[0]).weight:g} and coverage {self.coverage:g}",
                expected="weight times coverage of at least 0.0001",
                hint="The hash has 10,000 buckets",
            )

    def _check_metrics(self) -> None:
        checks.instance(self.primary, "primary", Metric)
        if self.primary.kind == "quantile":
            raise SettingError(
                "a quantile cannot be the primary metric",
                field="primary",
                received=self.primary.name,
                expected="a metric of kind ratio or mean",
                hint="Make it a guardrail or a secondary metric",
            )
        self._set("guardrails", checks.items(self.guardrails, "guardrails", Guardrail))
        self._set("metrics", checks.items(self.metrics, "metrics", Metric))
        names = [self.primary.name, *(g.name for g in self.guardrails), *(m.name for m in self.metrics)]
        checks.unique(names, "metrics", "metrics")

    def _check_window(self) -> None:
        for name in ("start", "stop"):
            moment = getattr(self, name)
            if moment is None:
                continue
            checks.instance(moment, name, datetime)
            if not isinstance(moment.utcoffset(), timedelta):  # pandas has a moment that is none
                raise SettingError(
                    "a moment without a time zone",
                    field=name,
                    received=moment.isoformat(),
                    expected="an ISO 8601 date and time with its zone, such as 2030-01-31T00:00:00+00:00",
                )
            # A fixed offset, as a file has it: hours that a named zone skips or has twice are equal to nothing else.
            self._set(name, datetime.fromisoformat(moment.isoformat()))
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise SettingError(
                "the end is not after the start",
                field="stop",
                received=self.stop.isoformat(),
                expected=f"later than {self.start.isoformat()}",
            )

    @property
    def control(self) -> Variant:
        """The variant the others are compared with, which is the first."""
        return self.variants[0]

    @property
    def treatments(self) -> tuple[Variant, ...]:
        """The other variants."""
        return self.variants[1:]

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights in the order of the variants."""
        return tuple(variant.weight for variant in self.variants)

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the units in the experiment each variant really gets, from its whole number of the 10,000 buckets.

        They differ from the weights by roundings of 1e-4 at most, and sum to 1: what a sample ratio is tested against.
        """
        steps = steps_of(self.weights, self.coverage)
        return tuple(n / sum(steps) for n in steps)

    @property
    def reach(self) -> float:
        """Share of all units that get into the experiment, which is coverage, times the slice of the namespace."""
        inside = sum(steps_of(self.weights, self.coverage)) / 10_000
        return inside * (1.0 if self.namespace is None else self.namespace.share)

    def variant(self, name: str) -> Variant:
        """Return a variant by its name.

        Raises:
            SettingError: There is none of that name.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.variants]
        raise SettingError(
            "unknown variant",
            field="variant",
            received=repr(name),
            expected=f"one of {', '.join(names)}",
            hint=checks.near(name, names),
        )

    def page(self) -> Page:
        """Return the plan, and its size where it is known, as a page."""
        from nid_plugins.report.design_page import design_page

        return design_page(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as what JSON and YAML can hold, with the version of the layout."""
        from nid_plugins.experiment.specs import to_spec

        return to_spec(self)

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> Design:
        """Return the plan :meth:`to_dict` wrote.

        Raises:
            SettingError: A key is unknown or missing, or a value out of its domain; its path is named.
            ArtefactError: Written by a newer version.
        """
        from nid_plugins.experiment.specs import from_spec

        return from_spec(spec)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the plan to a file, YAML with comments or JSON by its ending; or into a folder, as ``design.yaml``.

        Returns:
            The file.

        Raises:
            ArtefactError: It cannot be written.
            SettingError: Another ending.
        """
        from nid_plugins.experiment.files import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Design:
        """Read a plan from a ``.yaml``, ``.yml`` or ``.json`` file, or from a folder that holds ``design.yaml``.

        Raises:
            ArtefactError: No such file, not YAML or JSON, or written by a newer version.
            SettingError: A key is unknown or missing, or a value out of its domain; its path is named.
            MissingExtraError: PyYAML or jsonschema is not installed.
        """
        from nid_plugins.experiment.files import load

        return load(path)

    def keep(self, folder: str | os.PathLike[str], *, crosses: Any = None, report: Any = None) -> Design:
        """Write one folder that says what is tested and why: the plan, the crosses and the detection report.

        Args:
            folder: Made if absent. What is there under the same names is replaced.
            crosses: :class:`nid_plugins.CrossFeatures`, written to ``crosses/``.
            report: :class:`nid_plugins.InteractionReport`, written to ``report.json``.

        Returns:
            The plan as it was written, with ``artefacts`` that name the two.

        Raises:
            ArtefactError: The folder cannot be written.
            SettingError: The crosses or the report are something else.
        """
        from nid_plugins.experiment.files import keep

        return keep(self, folder, crosses=crosses, report=report)


def _name(value: object) -> str:
    plain = checks.text(value, "name", "the name of the experiment")
    if not _NAME.fullmatch(plain):
        raise SettingError(
            "a name GrowthBook would not take as a key",
            field="name",
            received=repr(plain),
            expected="letters, digits and _ - . : |",
        )
    return plain


def _artefacts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise SettingError(
            "not a mapping",
            field="artefacts",
            received=type(value).__name__,
            expected="name to path, e.g. {'crosses': 'crosses'}",
        )
    found = {}
    for name, place in value.items():
        key = checks.text(name, "artefacts", "a name")
        found[key] = checks.text(place, f"artefacts.{key}", "a path relative to the folder of the design")
        if (
            found[key].startswith(("/", "\\"))
            or ".." in re.split(r"[/\\]", found[key])
            or ":" in found[key][:2]
        ):
            raise SettingError(
                "a path out of the folder",
                field=f"artefacts.{key}",
                received=repr(place),
                expected="a path relative to the folder of the design",
            )
    return found
