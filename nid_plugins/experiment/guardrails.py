"""Guardrails: tests of non-inferiority against a margin, so that a lack of data never looks like a lack of harm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nid_plugins.experiment.results import GuardrailVerdict

if TYPE_CHECKING:
    from nid_plugins.experiment.metrics import Guardrail
    from nid_plugins.experiment.results import Effect


def judge(guardrail: Guardrail, effect: Effect) -> GuardrailVerdict:
    """Return the verdict on one guardrail of one treatment.

    Args:
        guardrail: Which way is worse, and the margin.
        effect: What was measured; its relative interval is compared with the margin.
    """
    low, high, margin = effect.relative_low, effect.relative_high, guardrail.margin
    up, down = guardrail.worse in {"up", "either"}, guardrail.worse in {"down", "either"}
    if math.isnan(low) or math.isnan(high):
        status = "open"
    elif (up and low > margin) or (down and high < -margin):
        status = "harmed"
    elif (not up or high < margin) and (not down or low > -margin):
        status = "safe"
    else:
        status = "open"
    return GuardrailVerdict(effect, guardrail.worse, margin, status, _sentence(guardrail, effect, status))


def _sentence(guardrail: Guardrail, effect: Effect, status: str) -> str:
    sides = {"up": f"+{guardrail.margin:.2%}", "down": f"-{guardrail.margin:.2%}"}
    margin = sides.get(guardrail.worse, f"+-{guardrail.margin:.2%}")
    where = {
        "safe": f"lies within the margin of {margin}: no harm",
        "harmed": f"lies beyond the margin of {margin}: harm",
        "open": f"does not yet decide about the margin of {margin}",
    }[status]
    if math.isnan(effect.relative_low) or math.isnan(effect.relative_high):
        return (
            f"Guardrail {effect.metric!r} of {effect.variant!r}: there are not data enough for an interval."
        )
    return f"Guardrail {effect.metric!r} of {effect.variant!r}: {interval(effect)} {where}."


def interval(effect: Effect) -> str:
    """Return the relative effect and its interval in words, ``"+1.2% (95% interval +0.3% to +2.1%)"``."""
    kind = "always-valid interval" if "always valid" in effect.method else "interval"
    ends = f"{percent(effect.relative_low)} to {percent(effect.relative_high)}"
    return f"{percent(effect.relative)} ({effect.level * 100:.4g}% {kind} {ends})"


def percent(value: float) -> str:
    """Return a relative change with its sign, as text."""
    if math.isnan(value):
        return "unknown"
    return "unbounded" if math.isinf(value) else f"{value:+.2%}"
