"""What a design accepts, and what it says of what it does not."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nid_plugins import SettingError
from nid_plugins.experiment import Design, Guardrail, Metric, Namespace, Sizing, Variant

SIZING = Sizing("ctr", 0.05, 8.4, 0.01, 0.05, 0.05, 0.8, 100, {"control": 50, "treatment": 50})


def test_defaults():
    design = Design("x")
    assert design.seed == "x"
    assert design.control == Variant("control", 0.5)
    assert design.treatments == (Variant("treatment", 0.5),)
    assert design.weights == (0.5, 0.5)
    assert design.primary == Metric("ctr", "ratio", numerator="click", denominator="impressions")
    assert design.shares == (0.5, 0.5)
    assert design.reach == 1.0


def test_lookup_of_a_variant():
    design = Design("x", variants=[Variant("base", 0.5), Variant("crosses", 0.5)])
    assert design.variant("crosses").weight == 0.5
    with pytest.raises(
        SettingError, match=r"unknown variant.*'crosse'.*base, crosses.*Did you mean 'crosses'"
    ):
        design.variant("crosse")


def test_equal_designs_are_equal_and_travel():
    design = Design(
        "x", sizing=SIZING, artefacts={"crosses": "crosses"}, guardrails=(Guardrail(Metric.latency()),)
    )
    assert pickle.loads(pickle.dumps(design)) == design
    assert hash(pickle.loads(pickle.dumps(design))) == hash(design)


def test_numbers_of_numpy_are_taken():
    design = Design(
        "x", variants=(Variant("a", np.float32(0.5)), Variant("b", np.float64(0.5))), mde=np.float64(0.1)
    )
    assert type(design.mde) is float
    assert type(design.variants[0].weight) is float


def weights(*values):
    return {"variants": tuple(Variant(f"v{i}", value) for i, value in enumerate(values))}


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        (weights(0.5, 0.6), "variants", "the variants overlap.*v0=0.5, v1=0.6.*sum to 1.1"),
        (weights(0.5, 0.4), "variants", "leave units over.*sum to 0.9.*coverage"),
        (weights(0.5, 0.5 + 1e-8), "variants", "overlap"),
        (weights(1.0), "variants", "1 variant"),
        ({"variants": ()}, "variants", "0 variant"),
        ({"variants": (Variant("a", 0.5), Variant("a", 0.5))}, "variants", "same name.*'a'"),
        ({"variants": ("a", "b")}, r"variants[0]", "wrong kind of object"),
        ({"variants": "ab"}, "variants", "not a sequence"),
        (weights(0.99996, 0.00004), "variants", "no unit can get.*'v1'.*10,000 buckets"),
        (weights(0.99855, 0.00145) | {"coverage": 0.01}, "variants", "no unit can get"),
        ({"name": "my test"}, "name", "GrowthBook would not take"),
        ({"name": ""}, "name", "empty"),
        ({"name": 5}, "name", "not text"),
        ({"seed": " x"}, "seed", "blanks"),
        ({"seed": "a\x00"}, "seed", "cannot be kept"),
        ({"seed": "a\ud800"}, "seed", "cannot be kept"),
        ({"unit": ""}, "unit", "empty"),
        ({"unit": None}, "unit", "not text"),
        ({"coverage": 0}, "coverage", "out of its domain"),
        ({"coverage": 1.1}, "coverage", "at most 1"),
        ({"coverage": True}, "coverage", "not a number"),
        ({"coverage": math.nan}, "coverage", "nan"),
        ({"namespace": "feed"}, "namespace", "Namespace"),
        ({"namespace": Namespace("x", 0, 0.5, 2)}, "namespace.name", "another name than the seed"),
        ({"primary": "ctr"}, "primary", "Metric"),
        ({"primary": Metric.latency()}, "primary", "quantile cannot be the primary"),
        ({"metrics": (Metric.ctr(),)}, "metrics", "same name.*'ctr'"),
        ({"guardrails": (Guardrail(Metric.ctr()),)}, "metrics", "same name"),
        ({"guardrails": (Metric.latency(),)}, r"guardrails[0]", "Guardrail"),
        ({"mde": 0}, "mde", "above 0"),
        ({"mde": -0.1}, "mde", "above 0"),
        ({"mde": "1 %"}, "mde", "not a number"),
        ({"mde": math.inf}, "mde", "inf"),
        ({"mde": 10**400}, "mde", "inf"),
        ({"alpha": 1.0}, "alpha", "between 0 and 1"),
        ({"power": 0.05}, "power", "above alpha"),
        ({"power": 1.0}, "power", "below 1"),
        ({"start": datetime(2030, 1, 1)}, "start", "without a time zone"),  # noqa: DTZ001 - that is the case
        ({"start": "2030-01-01"}, "start", "datetime"),
        (
            {"start": datetime(2030, 1, 2, tzinfo=UTC), "stop": datetime(2030, 1, 2, tzinfo=UTC)},
            "stop",
            "not after the start",
        ),
        ({"correction": "Holm"}, "correction", "Did you mean 'holm'"),
        ({"sizing": {"units": 5}}, "sizing", "Sizing"),
        ({"artefacts": [("a", "b")]}, "artefacts", "not a mapping"),
        ({"artefacts": {"crosses": "/abs"}}, "artefacts.crosses", "out of the folder"),
        ({"artefacts": {"crosses": "a/../../b"}}, "artefacts.crosses", "out of the folder"),
        ({"artefacts": {"crosses": "C:\\x"}}, "artefacts.crosses", "out of the folder"),
        ({"artefacts": {1: "a"}}, "artefacts", "not text"),
        ({"notes": 5}, "notes", "not text"),
    ],
)
def test_what_is_out_of_its_domain_is_named(options, field, said):
    with pytest.raises(SettingError, match=f"(?s){said}") as caught:
        Design(**{"name": "x", **options})
    assert caught.value.field == field


def test_times_are_compared_across_zones():
    east = timezone(timedelta(hours=9))
    start, stop = datetime(2030, 1, 2, 8, tzinfo=east), datetime(2030, 1, 2, 0, tzinfo=UTC)
    assert Design("x", start=start, stop=stop).stop == stop
    with pytest.raises(SettingError, match="stop"):
        Design("x", start=stop, stop=start)


def test_an_hour_a_zone_skips_is_one_moment():
    skipped = datetime(2030, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    design = Design("x", start=skipped)
    assert design == Design.from_dict(design.to_dict())
    assert design.start == datetime(2030, 3, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("weight", [0, -0.1, 1.5, math.nan, "half", None, True])
def test_weights_are_shares(weight):
    with pytest.raises(SettingError) as caught:
        Variant("a", weight)
    assert caught.value.field == "weight"


@pytest.mark.parametrize(
    ("start", "stop", "field"),
    [
        (-0.1, 0.5, "start"),
        (1.0, 1.0, "start"),
        (0.5, 0.5, "stop"),
        (0.5, 0.4, "stop"),
        (0.5, 1.1, "stop"),
        (0.5001, 0.5002, "stop"),
        ("0", 0.5, "start"),
    ],
)
def test_slices_of_a_namespace(start, stop, field):
    with pytest.raises(SettingError) as caught:
        Namespace("feed", start, stop)
    assert caught.value.field == field


@pytest.mark.parametrize("version", [0, 3, "2", True])
def test_hash_versions_of_a_namespace(version):
    with pytest.raises(SettingError) as caught:
        Namespace("feed", 0.0, 0.5, version)
    assert caught.value.field == "hash_version"


def test_share_of_a_namespace():
    assert Namespace("feed", 0.00005, 0.00015, 2).share == 0.0001
    assert Namespace("feed", 0.0, 1.0).share == 1.0
    assert Namespace("feed", 0.25, 0.5).share == 0.25
    assert Namespace("feed", 0.0005, 0.0015).share == 0.001


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "ratio", "numerator": "click"}, "denominator"),
        ({"kind": "ratio", "numerator": "click", "denominator": "impressions", "value": "x"}, "value"),
        ({"kind": "ratio", "numerator": "click", "denominator": "click"}, "denominator"),
        ({"kind": "mean"}, "value"),
        ({"kind": "mean", "value": "x", "q": 0.5}, "q"),
        ({"kind": "mean", "value": 5}, "value"),
        ({"kind": "quantile", "value": "x"}, "q"),
        ({"kind": "quantile", "value": "x", "q": 1.0}, "q"),
        ({"kind": "quantile", "value": "x", "q": "p95"}, "q"),
        ({"kind": "quantile", "value": "x", "q": 0.5, "covariate": "y"}, "covariate"),
        ({"kind": "median", "value": "x"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": "mean", "value": "x", "covariate": ""}, "covariate"),
    ],
)
def test_metrics_have_the_columns_of_their_kind(options, field):
    with pytest.raises(SettingError) as caught:
        Metric("m", **options)
    assert caught.value.field == field


def test_shortcuts_of_metrics():
    assert Metric.ctr(covariate="base").columns == ("click", "base")
    assert Metric.calibration() == Metric("calibration", numerator="prediction", denominator="click")
    assert Metric.latency(0.95).name == "latency_p95"
    assert Metric.latency(0.999).name == "latency_p99.9"
    assert Metric.revenue() == Metric("revenue", "mean", value="revenue")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"worse": "upwards"}, "worse"),
        ({"margin": 0}, "margin"),
        ({"margin": -0.1}, "margin"),
        ({"worse": "down", "margin": 1.0}, "margin"),
        ({"worse": "either", "margin": 2}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({"metric": "latency"}, "metric"),
    ],
)
def test_guardrails(options, field):
    with pytest.raises(SettingError) as caught:
        Guardrail(**{"metric": Metric.latency(), **options})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"units": -1}, "units"),
        ({"units": 1.5}, "units"),
        ({"days": -1}, "days"),
        ({"baseline": math.nan}, "baseline"),
        ({"units_per_variant": {"a": "b"}}, "units_per_variant.a"),
        ({"units_per_variant": 5}, "units_per_variant"),
        ({"metric": None}, "metric"),
    ],
)
def test_sizing_is_checked_too(change, field):
    with pytest.raises(SettingError) as caught:
        Sizing.from_dict({**SIZING.to_dict(), **change})
    assert caught.value.field == field
