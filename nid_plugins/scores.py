"""Scores given as columns or arrays, taken as logits: probabilities and logits are told apart before they are mixed up."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError, NidWarning, SettingError
from nid_plugins.frames import columns_of, numeric_column

Floats = npt.NDArray[np.float64]
Output = Literal["auto", "logit", "probability"]

HUGE = 1e100
"""Size from which on a score is none: squares of losses, summed, would leave the numbers of a computer."""
OUTPUTS = ("auto", "logit", "probability")


def as_logits(scores: Any, *, output: Output = "auto", what: str = "score", epsilon: float = 1e-7) -> Floats:
    """Return scores as logits.

    Args:
        scores: Finite numbers, shape (n,).
        output: What they are. ``"auto"`` takes them for logits, but refuses those that look like probabilities: that
            all lie in 0 .. 1 and differ.
        what: Name of the scores in messages.
        epsilon: Probabilities are clipped to ``[epsilon, 1 - epsilon]``; a warning says how many were.

    Raises:
        FrameError: Not one finite number a row, or not what ``output`` says.
        SettingError: ``output`` or ``epsilon`` is out of its domain.
    """
    if output not in OUTPUTS:
        raise SettingError("unknown output", received=repr(output), expected=f"one of {list(OUTPUTS)}")
    if not isinstance(epsilon, float) or not 0 < epsilon < 0.5:
        raise SettingError("epsilon out of range", received=repr(epsilon), expected="0 < epsilon < 0.5")
    values = _finite(scores, what)
    inside = (values >= 0) & (values <= 1)
    if output == "probability":
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            raise FrameError(
                "not probabilities",
                field=what,
                received=f"{values[row]:g} at row {row} ({int((~inside).sum()):,} such rows)",
                expected="numbers in 0 .. 1",
                hint="These look like logits; call them so with output='logit', on the command line --output logit",
            )
        return _from_probabilities(values, what, epsilon)
    if output == "auto" and inside.all() and (values != values[:1]).any():
        raise FrameError(
            "logits that look like probabilities",
            field=what,
            received=f"{len(values):,} numbers, all of them in {values.min():g} .. {values.max():g}",
            expected="logits, log(p / (1 - p)), of which those of rare clicks are negative",
            hint="Say output='probability' if they are, or output='logit' if they are logits indeed; on the command line "
            "--output",
        )
    return values


def _finite(scores: Any, what: str) -> Floats:
    values = numeric_column(what, columns_of({what: scores})[what])
    if not len(values):
        raise FrameError("no rows", field=what, received="0 rows", expected="at least one row")
    bad = ~(np.abs(values) < HUGE)  # NaN is not either
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FrameError(
            "a score is not finite, or huge",
            field=what,
            received=f"{values[row]} at row {row} ({int(bad.sum()):,} such rows)",
            expected=f"finite numbers below {HUGE:g}",
            hint="Score every row, or drop those without a score"
            if np.isnan(values[row])
            else "Infinite logits are probabilities of exactly 0 or 1: clip them before the logit is taken",
        )
    return values


def _from_probabilities(values: Floats, what: str, epsilon: float) -> Floats:
    clipped = np.clip(values, epsilon, 1.0 - epsilon)
    changed = int((clipped != values).sum())
    if changed:
        warnings.warn(
            f"{what}: {changed:,} of {len(values):,} probabilities were clipped to {epsilon:g} .. 1 - {epsilon:g}, "
            "which keeps their logits finite",
            NidWarning,
            stacklevel=4,
        )
    logits: Floats = np.log(clipped) - np.log1p(-clipped)
    return logits
