"""Correction for several treatments and metrics, of p-values and of intervals.

There are two families: the primary metric over the treatments, which decides, and the secondary metrics over metrics and
treatments. Guardrails are not corrected: a treatment must pass all of them, and such a test errs less often, not more (Berger,
"Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 24(4), 1982).

P-values are tea-tasting's. Intervals hold together: with Holm's and Bonferroni's correction each has the level
``1 - alpha / m``; with Benjamini and Hochberg's ``1 - R alpha / m`` for ``R`` findings (Benjamini and Yekutieli, "False
Discovery Rate-Adjusted Multiple Confidence Intervals", JASA 100(469), 2005). Holm's p-values may therefore find what its
interval does not quite. Sequential intervals take Bonferroni's level whatever the correction: the others are made for p-values
that are looked at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def adjusted(pvalues: Sequence[float], correction: str) -> list[float | None]:
    """Return the adjusted p-values of one family; None where there is nothing to adjust. NaN counts as 1.

    Args:
        pvalues: Of all hypotheses of the family.
        correction: As :class:`nid_plugins.experiment.Design` has it.
    """
    known = [1.0 if math.isnan(p) else min(1.0, max(0.0, p)) for p in pvalues]
    if len(known) < 2 or correction == "none":
        return [None] * len(known)
    if correction == "bonferroni":
        return [min(1.0, p * len(known)) for p in known]

    import tea_tasting as tt
    from tea_tasting.experiment import ExperimentResult

    results = ExperimentResult({str(i): {"pvalue": p} for i, p in enumerate(known)})
    if correction == "holm":
        found = tt.adjust_fwer(results, arbitrary_dependence=True, method="bonferroni")
    else:
        found = tt.adjust_fdr(results)
    (corrected,) = found.values()
    return [float(corrected[str(i)]["pvalue_adj"]) for i in range(len(known))]


def interval_alpha(pvalues: Sequence[float], correction: str, alpha: float) -> float:
    """Return the error rate of each interval of a family.

    Args:
        pvalues: Of all hypotheses of the family.
        correction: As the design has it.
        alpha: Of the family.
    """
    m = max(1, len(pvalues))
    if correction == "none":
        return alpha
    if correction == "benjamini-hochberg":
        found = sum(p is not None and p <= alpha for p in adjusted(pvalues, correction)) if m > 1 else 1
        return alpha * max(1, found) / m
    return alpha / m


def sequential_alpha(m: int, correction: str, alpha: float) -> float:
    """Return the error rate of each always-valid interval of a family of ``m``."""
    return alpha if correction == "none" else alpha / max(1, m)
