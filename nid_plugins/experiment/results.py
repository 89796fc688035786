"""What an analysis found, as plain values that go to JSON and come back: effects, exclusions, verdicts, a decision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.artefacts import Artefact, Kept
from nid_plugins.experiment import result_files
from nid_plugins.report.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd

    from nid_plugins.experiment.design import Design
    from nid_plugins.report.page import Page

DECISIONS = ("ship", "stop", "continue", "invalid")
STATUSES = ("safe", "harmed", "open")
ROLES = ("primary", "secondary", "guardrail")


@dataclass(frozen=True, slots=True)
class Effect:
    """A treatment against the control in one metric. What is not known is NaN.

    Args:
        metric: Name of the metric.
        kind: ``"ratio"``, ``"mean"`` or ``"quantile"``.
        control: Name of the control.
        variant: Name of the treatment.
        control_value: The metric's value of the control, in its own unit. Adjusted where there is a covariate.
        variant_value: The same of the treatment.
        effect: Treatment minus control.
        effect_low: Lower end of its interval.
        effect_high: Upper end of its interval.
        relative: Treatment over control, minus 1.
        relative_low: Lower end of its interval.
        relative_high: Upper end of its interval.
        pvalue: Two-sided; of a sequential effect the always-valid one.
        adjusted: The p-value after the design's correction over metrics and variants; None where there is nothing to
            correct for.
        method: How it was computed, in words.
        covariate: What took variance out, or None.
        variance_saved: Share of the variance of the effect the covariate took out; None without one.
        units: Units of control and treatment together.
        level: Confidence level of the intervals, after the correction where the correction has one.
        role: ``"primary"``, ``"secondary"`` or ``"guardrail"``.
    """

    metric: str
    kind: str
    control: str
    variant: str
    control_value: float
    variant_value: float
    effect: float
    effect_low: float
    effect_high: float
    relative: float
    relative_low: float
    relative_high: float
    pvalue: float
    adjusted: float | None
    method: str
    covariate: str | None
    variance_saved: float | None
    units: int
    level: float = 0.95
    role: str = "primary"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Rows that were left out, or merged into one, and why.

    Args:
        reason: A few words, the same for every analysis, such as ``"clicks without exposure"``.
        rows: Rows of the table concerned.
        units: Units they belong to; None where it has no meaning.
        detail: One sentence: what was done, with an example where there is one.
    """

    reason: str
    rows: int
    units: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Look:
    """The primary metric as it stood at one moment: all impressions up to there.

    Args:
        time: The moment.
        variant: The treatment.
        units: Units of control and treatment together by then.
        relative: Treatment over control, minus 1.
        low: Lower end of the interval that holds for one look.
        high: Its upper end.
        sequential_low: Lower end of the always-valid interval.
        sequential_high: Its upper end.
    """

    time: datetime
    variant: str
    units: int
    relative: float
    low: float
    high: float
    sequential_low: float
    sequential_high: float


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether the variants have the shares of units the design gives them.

    Args:
        expected: Units the weights call for, by variant.
        observed: Units found, by variant.
        pvalue: Of the deviation.
        alpha: Below this p-value the check fails.
        passes: Whether it passed.
    """

    expected: Mapping[str, float]
    observed: Mapping[str, int]
    pvalue: float
    alpha: float
    passes: bool


@dataclass(frozen=True, slots=True)
class GuardrailVerdict:
    """A test of non-inferiority: whether a metric got worse by more than the margin.

    Args:
        effect: What was measured.
        worse: Which way is worse: ``"up"``, ``"down"`` or ``"either"``.
        margin: The relative change that is still taken.
        status: ``"safe"``: the relative interval lies within the margin; ``"harmed"``: it lies beyond it; ``"open"``: it
            holds the margin, or there are not data enough.
        reason: The verdict as a sentence.
    """

    effect: Effect
    worse: str
    margin: float
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Analysis(Kept, Shown):
    """The result of :func:`nid_plugins.experiment.analyze`.

    Args:
        design: What was tested.
        sample_ratio: The check that comes first.
        exclusions: What was left out and counted; empty when nothing was.
        effects: Intervals that hold when looked at once, at the planned end: primary metric first, then the secondary
            ones and those of the guardrails, each for every treatment.
        sequential: Always-valid intervals, which hold at every look, of the primary and secondary metrics. Empty when they
            were not asked for.
        guardrails: Verdicts, for every guardrail and treatment.
        units: Units analysed, by variant.
        impressions: Impressions analysed, by variant.
        fallbacks: Of these the ones that control's model answered in place of the assigned one, by variant.
        first: Time of the first impression, or None where there are no times.
        last: Time of the last one.
        decision: ``"ship"``, ``"stop"``, ``"continue"`` or ``"invalid"``.
        variant: The treatment to ship; None unless the decision is ``"ship"``.
        reasons: Why, one sentence each.
        notes: What else is worth knowing, one sentence each.
        timeline: The primary metric at up to 50 moments, evenly spaced; empty where there are no times.
    """

    artefact: ClassVar[Artefact] = Artefact("nid-plugins/ab-analysis", 1, "analysis", "an")

    design: Design
    sample_ratio: SampleRatio
    exclusions: tuple[Exclusion, ...]
    effects: tuple[Effect, ...]
    sequential: tuple[Effect, ...]
    guardrails: tuple[GuardrailVerdict, ...]
    units: Mapping[str, int]
    impressions: Mapping[str, int]
    fallbacks: Mapping[str, int]
    first: datetime | None
    last: datetime | None
    decision: str
    variant: str | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    timeline: tuple[Look, ...] = ()

    def effect(
        self, metric: str | None = None, variant: str | None = None, *, sequential: bool = False
    ) -> Effect:
        """Return one effect.

        Args:
            metric: Name of a metric; the primary one by default.
            variant: Name of a treatment; the first one by default.
            sequential: Whether to return the always-valid one.

        Raises:
            SettingError: There is none.
        """
        from nid_plugins.errors import SettingError

        metric = self.design.primary.name if metric is None else metric
        variant = self.design.treatments[0].name if variant is None else variant
        found = self.sequential if sequential else self.effects
        for effect in found:
            if (effect.metric, effect.variant) == (metric, variant):
                return effect
        raise SettingError(
            "no such effect",
            received=f"metric {metric!r}, variant {variant!r}",
            expected=f"one of {[(e.metric, e.variant) for e in found]}",
        )

    def page(self) -> Page:
        """Return the result as a page: the decision first, then what it rests on."""
        from nid_plugins.report.analysis_page import analysis_page

        return analysis_page(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the effects as a pandas frame, one row each; ``test`` is ``"fixed"`` or ``"sequential"``."""
        import pandas as pd

        status = {(v.effect.metric, v.effect.variant): v.status for v in self.guardrails}
        rows = []
        for test, effects in (("fixed", self.effects), ("sequential", self.sequential)):
            for effect in effects:
                row = {"test": test, **dataclasses.asdict(effect)}
                is_guardrail = effect.role == "guardrail"
                row["status"] = status.get((effect.metric, effect.variant)) if is_guardrail else None
                rows.append(row)
        return pd.DataFrame(rows, columns=["test", *(f.name for f in dataclasses.fields(Effect)), "status"])

    def _content(self) -> dict[str, Any]:
        return result_files.content(self)

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> Analysis:
        return result_files.analysis_of(spec)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a test found an effect where there was none.

    Args:
        test: ``"fixed"``, ``"fixed with peeking"`` or ``"sequential"``.
        found: Runs in which it did.
        runs: Runs.
        rate: ``found / runs``.
        low: Lower end of the 95 % Clopper-Pearson interval of the rate.
        high: Upper end.
        looks: Looks at the data a run.
    """

    test: str
    found: int
    runs: int
    rate: float
    low: float
    high: float
    looks: int


@dataclass(frozen=True)
class AAResult(Kept, Shown):
    """The result of :func:`nid_plugins.experiment.aa`: tests of the design on logs without any effect.

    Args:
        design: The design.
        metric: Name of the metric tested.
        alpha: What the rates should be: about this for the fixed test, at most this for the sequential one.
        rates: Of each test.
        sample_ratio_alarms: Share of runs in which the sample-ratio check failed at its own level.
        units: Units of the logs.
        impressions: Rows of the logs.
        variance_saved: Share of the effect's variance the covariate took out, averaged over runs; None without one.
        passes: Whether, beyond chance at the level of 0.1 %, the fixed test's rate is alpha, the sequential test's at most
            alpha, and the sample-ratio check's its own level. With an effect the sample-ratio check only.
        reasons: Why, one sentence each.
        effect: Relative effect put into the treatments; 0 for an A/A test. With one the rates are powers.
    """

    artefact: ClassVar[Artefact] = Artefact("nid-plugins/aa-result", 1, "A/A result", "an")

    design: Design
    metric: str
    alpha: float
    rates: tuple[ErrorRate, ...]
    sample_ratio_alarms: float
    units: int
    impressions: int
    variance_saved: float | None
    passes: bool
    reasons: tuple[str, ...] = field(default=())
    effect: float = 0.0

    def rate(self, test: str) -> ErrorRate:
        """Return the rate of one test.

        Raises:
            SettingError: There is no such test.
        """
        from nid_plugins.errors import SettingError

        for rate in self.rates:
            if rate.test == test:
                return rate
        raise SettingError(
            "no such test", received=repr(test), expected=f"one of {[r.test for r in self.rates]}"
        )

    def page(self) -> Page:
        """Return the rates as a page."""
        from nid_plugins.report.aa_page import aa_page

        return aa_page(self)

    def _content(self) -> dict[str, Any]:
        return result_files.content(self)

    @classmethod
    def _made(cls, spec: Mapping[str, Any]) -> AAResult:
        return result_files.aa_result_of(spec)
