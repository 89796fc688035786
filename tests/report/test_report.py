"""The report as users see it: ranking, frame, summary, text."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.report import Interaction, InteractionReport


@pytest.fixture
def schema():
    return nid.FeatureSchema(
        [nid.SparseField("site", 9), nid.DenseField("price"), nid.SparseField("hour", 24)]
    )


@pytest.fixture
def report(schema):
    return InteractionReport(
        [
            Interaction(("site", "hour"), 8, 0.8, 1.25, 0.3, 1.0),
            Interaction(("site", "price", "hour"), 3, 0.3, 0.5, math.nan, 0.625),
        ],
        schema,
        {"seed": 0},
        np.array([0.9, 0.5, math.nan, 0.7, 0.8]),
        np.array([0.2, math.nan, math.nan, 0.4, 0.6]),
        np.array([2, 1, 0, 0, 1]),
        {"site": 0.25, "price": 0.0, "hour": 0.0},
        np.array([[0.0, 0.5, 2.0], [0.5, 0.0, 0.25], [2.0, 0.25, 0.0]]),
    )


def test_it_is_a_sequence_of_interactions(report):
    assert len(report) == 2
    assert [str(i) for i in report] == ["site x hour", "site x price x hour"]
    assert report.top(1) == [("site", "hour")]
    assert report.top(10) == [("site", "hour"), ("site", "price", "hour")]
    assert report.instances == 5


def test_interactions_are_values():
    one = Interaction(("a", "b"), 1, 1.0, 0.5)
    assert one == Interaction(("a", "b"), 1, 1.0, 0.5, one.gain, one.stability)
    assert math.isnan(one.gain)
    assert math.isnan(one.stability)
    with pytest.raises(AttributeError):
        one.count = 2


def test_to_frame(report):
    frame = report.to_frame()
    assert list(frame.columns) == [
        "rank", "interaction", "fields", "order", "count", "share", "strength", "gain", "stability"
    ]  # fmt: skip
    assert frame["rank"].tolist() == [1, 2]
    assert frame["interaction"].tolist() == ["site x hour", "site x price x hour"]
    assert frame["fields"].tolist() == [["site", "hour"], ["site", "price", "hour"]]
    assert frame["order"].tolist() == [2, 3]
    assert frame["count"].tolist() == [8, 3]
    assert frame["share"].tolist() == [0.8, 0.3]
    assert frame["strength"].tolist() == [1.25, 0.5]
    assert frame["gain"].isna().tolist() == [False, True]
    assert frame["stability"].tolist() == [1.0, 0.625]


def test_an_empty_report_has_the_same_columns(report, schema):
    empty = InteractionReport([], schema)
    assert list(empty.to_frame().columns) == list(report.to_frame().columns)
    assert len(empty.to_frame()) == 0
    assert str(empty).startswith("0 interactions from 0 instances")
    assert empty.instances == 0
    assert math.isnan(empty.fit_summary()["r2_median"])


def test_fit_summary_leaves_out_what_is_not_known(report):
    assert report.fit_summary() == pytest.approx(
        {"r2_median": 0.75, "r2_p10": np.quantile([0.9, 0.5, 0.7, 0.8], 0.1), "r2_linear_median": 0.4}
    )


def test_pair_strength_by_name(report, schema):
    assert report.pair_strength("hour", "site") == 2.0
    assert report.pair_strength("price", "hour") == 0.25
    with pytest.raises(nid.SchemaError, match="no such field"):
        report.pair_strength("site", "minute")
    with pytest.raises(nid.SchemaError, match="holds no pair strengths"):
        InteractionReport([], schema).pair_strength("site", "hour")


def test_text(report):
    text = str(report)
    assert text.splitlines()[0] == (
        "2 interactions from 5 instances; explainer R^2 median 0.750 (main effects alone 0.400)"
    )
    assert "site x price x hour" in text
    assert "1.250" in text
    assert repr(report) == "<InteractionReport: 2 interactions, 5 instances>"


def test_equality_is_by_content(report, schema):
    assert report == InteractionReport(**vars(report))
    assert report != InteractionReport([], schema)
    assert report != "a report"
    with pytest.raises(TypeError):
        hash(report)


def test_explain_and_detect_make_one():
    rng = np.random.default_rng(0)
    schema = nid.FeatureSchema([nid.DenseField("x"), nid.DenseField("y"), nid.DenseField("z")])
    frame = {name: rng.normal(size=50) for name in schema.names}
    box = nid.wrap(lambda c: c["x"] * c["y"] + c["z"], schema, output="logit")
    settings = {"background": frame, "perturbations": 100}
    local = nid.explain(box, {"x": 2.0, "y": 1.5, "z": 0.0}, **settings)
    everywhere = nid.detect(box, frame, instances=5, progress=False, **settings)
    for report in (local, everywhere):
        assert isinstance(report, InteractionReport)
        assert report.schema == schema
        assert report.to_frame()["fields"].tolist() == [["x", "y"]]
        assert set(report.unswitched) == {"x", "y", "z"}
        assert report.pair_strengths.shape == (3, 3)
    assert local.instances == 1
    assert local.interactions[0].count == 1
    assert math.isnan(local.interactions[0].stability)
    assert everywhere.instances == 5
