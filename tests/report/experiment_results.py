"""Results of experiments made by hand, for the tests of their reports."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from nid_plugins.experiment import Analysis, Design, Guardrail, Metric, Namespace, Variant
from nid_plugins.experiment.results import (
    AAResult,
    Effect,
    ErrorRate,
    Exclusion,
    GuardrailVerdict,
    Look,
    SampleRatio,
)
from nid_plugins.experiment.sizes import Sizing

EVIL = "<img src=x onerror=alert(1)>"


def sizing(covariate=None):
    more = {}
    if covariate:
        more = {
            "covariate": covariate,
            "correlation": 0.6,
            "variance_cuped": 64.0,
            "mde_cuped": 0.01,
            "units_cuped": 64_000,
            "units_per_variant_cuped": {"base": 32_000, "crosses": 32_000},
            "days_cuped": 7,
        }
    return Sizing(
        metric="ctr",
        baseline=0.0345,
        variance=100.0,
        mde=0.01,
        alpha=0.05,
        alpha_comparison=0.05,
        power=0.8,
        units=100_000,
        units_per_variant={"base": 50_000, "crosses": 50_000},
        days=11,
        units_per_day=12_345.0,
        window=14,
        sample_units=2_000,
        sample_impressions=40_000,
        **more,
    )


def design(**more):
    return Design(
        "deepfm-crosses",
        **{
            "variants": (Variant("base", 0.5, "shop.models:base"), Variant("crosses", 0.5)),
            "namespace": Namespace("ranking", 0.0, 0.4),
            "primary": Metric.ctr(covariate="covariate"),
            "guardrails": (
                Guardrail(Metric.latency(0.95), margin=0.1),
                Guardrail(Metric.calibration(), "either"),
            ),
            "metrics": (Metric.revenue(),),
            "start": datetime(2026, 1, 1, tzinfo=UTC),
            "stop": datetime(2026, 1, 15, tzinfo=UTC),
            "notes": f"Five crosses of {EVIL}",
            **more,
        },
    )


def effect(metric="ctr", low=0.003, high=0.021, **more):
    middle = (low + high) / 2
    return Effect(
        **{
            "metric": metric,
            "kind": "ratio",
            "control": "base",
            "variant": "crosses",
            "control_value": 0.0345,
            "variant_value": 0.0345 * (1 + middle),
            "effect": 0.0345 * middle,
            "effect_low": 0.0345 * low,
            "effect_high": 0.0345 * high,
            "relative": middle,
            "relative_low": low,
            "relative_high": high,
            "pvalue": 0.012,
            "adjusted": None,
            "method": "delta method",
            "covariate": "covariate",
            "variance_saved": 0.36,
            "units": 98_765,
            **more,
        }
    )


def analysis(decision="ship", **more):
    latency = effect("latency_p95", -0.01, 0.02, role="guardrail", covariate=None, variance_saved=None)
    calibration = effect("calibration", 0.07, 0.09, role="guardrail")
    passes = decision != "invalid"
    return Analysis(
        **{
            "design": design(),
            "sample_ratio": SampleRatio(
                {"base": 49_382.5, "crosses": 49_382.5},
                {"base": 49_400, "crosses": 49_365},
                0.91 if passes else 1e-9,
                0.001,
                passes,
            ),
            "exclusions": (Exclusion("clicks without exposure", 12, None, f"dropped, e.g. of {EVIL}"),),
            "effects": (
                effect(),
                effect("revenue", math.nan, math.nan, role="secondary", adjusted=0.04),
                latency,
                calibration,
            ),
            "sequential": (effect(low=-math.inf, high=0.028, relative=0.012),),
            "guardrails": (
                GuardrailVerdict(latency, "up", 0.1, "safe", "within the margin"),
                GuardrailVerdict(calibration, "either", 0.05, "harmed", "beyond the margin"),
            ),
            "units": {"base": 49_400, "crosses": 49_365},
            "impressions": {"base": 250_000, "crosses": 249_000},
            "fallbacks": {"base": 0, "crosses": 17},
            "first": datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
            "last": datetime(2026, 1, 14, 23, 55, tzinfo=UTC),
            "decision": decision,
            "variant": "crosses" if decision == "ship" else None,
            "reasons": ("The interval of ctr is above 0.",),
            "notes": (f"A note on {EVIL}.",),
            **more,
        }
    )


def timeline(sequential=True):
    looks = []
    for day in range(1, 15):
        half = 0.08 / day**0.5
        wide = half * 1.6 if sequential and day > 1 else math.nan
        middle = 0.012 + 0.02 / day
        time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        looks.append(
            Look(
                time,
                "crosses",
                7000 * day,
                middle,
                middle - half,
                middle + half,
                middle - wide,
                middle + wide,
            )
        )
    return tuple(looks)


def aa_result(passes=True):
    rates = (
        ErrorRate("fixed", 98, 2000, 0.049, 0.0399, 0.0594, 1),
        ErrorRate("fixed with peeking", 640, 2000, 0.32, 0.2996, 0.341, 100),
        ErrorRate("sequential", 31, 2000, 0.0155, 0.0106, 0.0219, 100),
    )
    reasons = ("The fixed test's interval holds alpha.",)
    return AAResult(design(), "ctr", 0.05, rates, 0.0005, 2000, 40_000, 0.36, passes, reasons)
