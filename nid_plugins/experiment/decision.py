"""From effects and verdicts to one decision, with its reasons in sentences.

The primary metric is one that should rise. A treatment is shipped when its interval lies above zero and every guardrail is
safe. It is stopped when the interval lies below zero, a guardrail is harmed, or the interval rules out the smallest change the
design looks for. Else the test goes on. A sample ratio that fails makes everything invalid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nid_plugins.experiment.guardrails import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nid_plugins.experiment.design import Design
    from nid_plugins.experiment.results import Effect, GuardrailVerdict, SampleRatio


@dataclass(frozen=True)
class Decision:
    """What to do, with which treatment, and why."""

    decision: str
    variant: str | None
    reasons: tuple[str, ...]


def decide(
    design: Design,
    ratio: SampleRatio,
    primaries: Sequence[Effect],
    verdicts: Sequence[GuardrailVerdict],
    *,
    sequential: bool,
    finished: bool,
) -> Decision:
    """Decide.

    Args:
        design: Gives error rate, smallest change, planned size.
        ratio: The sample-ratio check.
        primaries: Effects of the primary metric, one a treatment, always-valid ones if ``sequential``.
        verdicts: Of all guardrails and treatments.
        sequential: Whether looking early is allowed for.
        finished: Whether the planned size or end is reached, or none was planned.
    """
    if not ratio.passes:
        return Decision("invalid", None, (_mismatch(ratio),))
    outcomes, reasons = {}, []
    for effect in primaries:
        mine = [v for v in verdicts if v.effect.variant == effect.variant]
        outcome, why = _one(design, effect, mine, sequential=sequential, finished=finished)
        outcomes[effect.variant] = outcome
        reasons += why
    shipped = [e for e in primaries if outcomes[e.variant] == "ship"]
    if shipped:
        best = max(shipped, key=lambda e: e.effect)
        if len(shipped) > 1:
            reasons.append(f"Of the treatments to ship, {best.variant!r} has the largest effect.")
        return Decision("ship", best.variant, tuple(reasons))
    stopped = all(outcome == "stop" for outcome in outcomes.values())
    return Decision("stop" if stopped else "continue", None, tuple(reasons))


def _mismatch(ratio: SampleRatio) -> str:
    parts = ", ".join(
        f"{name!r} has {ratio.observed[name]:,} units where {ratio.expected[name]:,.0f} were due"
        for name in ratio.observed
    )
    return (
        f"The sample ratio does not fit the design (p = {ratio.pvalue:.2g}, below {ratio.alpha:g}): {parts}. "
        "Units were lost or added on the way of one variant, and no effect below can be trusted until the cause is found."
    )


def _one(  # noqa: PLR0911 - one outcome a line
    design: Design, effect: Effect, verdicts: Sequence[GuardrailVerdict], *, sequential: bool, finished: bool
) -> tuple[str, list[str]]:
    name = f"{effect.metric!r} of {effect.variant!r} against {effect.control!r}"
    harmed = [v.reason for v in verdicts if v.status == "harmed"]
    still = [v.reason for v in verdicts if v.status == "open"]
    if not sequential and not finished:
        early = "A fixed test counts at its planned end only, which is not reached; look with sequential=True, or wait."
        return "continue", [f"{name}: {interval(effect)}. {early}"]
    said = [f"{name}: {interval(effect)}."]
    if harmed:
        return "stop", [*said, *harmed]
    known = not math.isnan(effect.effect_low)
    p = effect.pvalue if effect.adjusted is None else effect.adjusted
    above = effect.effect_low > 0 or (not sequential and p <= design.alpha and effect.effect > 0)
    below = effect.effect_high < 0 or (not sequential and p <= design.alpha and effect.effect < 0)
    if known and above:
        if still:
            return "continue", [*said, "The effect is above zero, but a guardrail is still open.", *still]
        passed = " and every guardrail is safe" if verdicts else ""
        return "ship", [*said, f"The effect is above zero{passed}."]
    if known and below:
        return "stop", [*said, "The effect is below zero."]
    if sequential and effect.relative_high < design.mde:
        small = f"An effect as large as the design looks for ({design.mde:+.2%}) is ruled out."
        return "stop", [*said, small]
    if not (math.isfinite(effect.effect_low) or math.isfinite(effect.effect_high)):
        return "continue", [
            *said,
            "There is no interval: the values do not vary, are missing, or sum to nothing.",
        ]
    if not sequential:
        return "stop", [*said, "At the planned end no effect is found."]
    planned = design.sizing is not None or design.stop is not None
    reached = (
        " The planned size or end is reached; more units make the interval narrower."
        if planned and finished
        else ""
    )
    return "continue", [*said, f"The interval holds both zero and the change looked for.{reached}"]
