"""Results go to JSON and come back, whatever is in them, and what is not a result is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime

import pytest

from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.experiment.results import (
    AAResult,
    Analysis,
    Effect,
    ErrorRate,
    Exclusion,
    GuardrailVerdict,
    Look,
    SampleRatio,
)


@pytest.fixture
def effect():
    return Effect(
        *("ctr", "ratio", "control", "treatment"),
        *(0.1, 0.11, 0.01, -math.inf, math.inf, 0.1, math.nan, math.inf, 0.25),
        *(None, "a method", None, None, 1000),
    )


@pytest.fixture
def analysis(plan, effect):
    moment = datetime(2030, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    guard = dataclasses.replace(effect, role="guardrail", metric="latency <&>", adjusted=0.5)
    return Analysis(
        design=plan(),
        sample_ratio=SampleRatio(
            {"control": 500.0, "treatment": 500.0}, {"control": 1, "treatment": 999}, 0.0, 0.001, False
        ),
        exclusions=(Exclusion("no unit id", 3, None, "why"), Exclusion("no variant", 1, 1, "ünïcode")),
        effects=(effect, guard),
        sequential=(effect,),
        guardrails=(GuardrailVerdict(guard, "up", 0.05, "open", "a sentence"),),
        units={"control": 1, "treatment": 999},
        impressions={"control": 10, "treatment": 9990},
        fallbacks={"control": 0, "treatment": 1},
        first=moment,
        last=None,
        decision="invalid",
        reasons=("because",),
        timeline=(Look(moment, "treatment", 10, math.nan, 0.0, 1.0, -math.inf, math.inf),),
    )


@pytest.fixture
def null_result(plan):
    return AAResult(
        plan(), "ctr", 0.05, (ErrorRate("fixed", 5, 100, 0.05, 0.01, 0.1, 1),), 0.0, 100, 1000, None, True
    )


def same(a, b):
    return repr(a) == repr(b)  # NaN equals itself as text


def test_an_analysis_comes_back_from_json_the_same(analysis, tmp_path):
    text = json.dumps(analysis.to_dict(), allow_nan=False)
    assert same(Analysis.from_dict(json.loads(text)), analysis)
    analysis.save(tmp_path / "a.json")
    assert same(Analysis.load(tmp_path / "a.json"), analysis)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_aa_result_comes_back_the_same(null_result, tmp_path):
    null_result.save(tmp_path / "aa.json")
    assert AAResult.load(tmp_path / "aa.json") == null_result
    assert null_result.rate("fixed").found == 5
    with pytest.raises(SettingError, match="no such test"):
        null_result.rate("t")


def test_one_is_not_the_other(analysis, null_result):
    with pytest.raises(ArtefactError, match="not an analysis"):
        Analysis.from_dict(null_result.to_dict())
    with pytest.raises(ArtefactError, match="not an A/A result"):
        AAResult.from_dict(analysis.to_dict())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("decision",), "maybe"),
        (("guardrails", 0, "status"), "fine"),
        (("effects", 0, "role"), "king"),
        (("effects", 0, "relative"), "much"),
        (("effects", 0, "units"), 1.5),
        (("effects", 0, "units"), True),
        (("effects", 0, "pvalue"), True),
        (("effects",), None),
        (("effects",), {}),
        (("effects", 0), []),
        (("first",), "yesterday"),
        (("first",), 5),
        (("sample_ratio", "passes"), "yes"),
        (("units",), [1, 2]),
        (("units", "control"), "many"),
        (("design",), {}),
        (("design",), 7),
        (("extra",), 1),
        (("exclusions", 0, "extra"), 1),
        (("schema_version",), 99),
        (("schema_version",), True),
        (("format",), "else"),
    ],
)
def test_what_is_damaged_is_named(analysis, path, value):
    spec = json.loads(json.dumps(analysis.to_dict()))
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ArtefactError):
        Analysis.from_dict(spec)


@pytest.mark.parametrize("key", ["decision", "effects", "design", "timeline"])
def test_what_is_missing_is_named(analysis, key):
    spec = analysis.to_dict()
    del spec[key]
    with pytest.raises(ArtefactError, match=key):
        Analysis.from_dict(spec)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '"text"'])
def test_files_that_are_no_results(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ArtefactError):
        Analysis.load(path)


def test_places_that_cannot_be_read_or_written(analysis, tmp_path):
    with pytest.raises(ArtefactError, match="cannot be read"):
        Analysis.load(tmp_path / "none.json")
    with pytest.raises(ArtefactError, match="folder"):
        analysis.save(tmp_path)
    with pytest.raises(ArtefactError, match="cannot be written"):
        analysis.save(tmp_path / "none" / "a.json")
    with pytest.raises(SettingError):
        analysis.save(7)


def test_effects_by_name_and_as_a_frame(analysis):
    assert analysis.effect() is analysis.effects[0]
    assert analysis.effect("latency <&>").role == "guardrail"
    with pytest.raises(SettingError, match="no such effect"):
        analysis.effect("ctr", "nobody")
    with pytest.raises(SettingError, match="no such effect"):
        analysis.effect("latency <&>", sequential=True)
    frame = analysis.to_frame()
    assert frame.test.tolist() == ["fixed", "fixed", "sequential"]
    assert frame.status.isna().tolist() == [True, False, True]
    assert frame.status[1] == "open"
