"""Bad input to detect and explain: a typed error that says what to do, or a stated, sensible result."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nid_plugins as nid
from nid_plugins.detection import NID, Detector

DETECTORS = ["least_squares", "nid", "gradient_nid", "archdetect"]


def changed(frame, **columns):
    return {**frame, **columns}


def put(column, value, at=5):
    out = np.array(column, dtype=object if isinstance(value, str) else float)
    out[at] = value
    return out


BAD_FRAMES = {
    "empty": (lambda f: {k: v[:0] for k, v in f.items()}, "the {what} has no rows", None),
    "missing column": (
        lambda f: {k: v for k, v in f.items() if k != "c"},
        "the {what} lacks columns.*Rename",
        "c",
    ),
    "misspelt column": (
        lambda f: {("C" if k == "c" else k): v for k, v in f.items()},
        "the {what} lacks columns.*missing \\['c'\\].*'C'",
        "c",
    ),
    "strings": (lambda f: changed(f, b=np.array(["x"] * 60)), "not numeric.*Encode strings", "b"),
    "strings among numbers": (lambda f: changed(f, a=put(f["a"], "x")), "not numeric", "a"),
    "dates": (lambda f: changed(f, b=np.array(["2020-01-01"] * 60, "datetime64[D]")), "not numeric", "b"),
    "id too large": (
        lambda f: changed(f, d=put(f["d"], 5)),
        "id of the {what} is out of range.*5 at row 5",
        "d",
    ),
    "negative id": (
        lambda f: changed(f, d=put(f["d"], -1)),
        "id of the {what} is out of range.*-1 at row 5",
        "d",
    ),
    "fractional id": (lambda f: changed(f, a=put(f["a"], 1.5)), "whole numbers.*DenseField", "a"),
    "NaN": (
        lambda f: changed(f, b=put(f["b"], np.nan)),
        "not finite.*nan at row 5 \\(1 such rows\\).*Impute",
        "b",
    ),
    "infinity": (lambda f: changed(f, c=put(f["c"], np.inf)), "not finite.*inf at row 5", "c"),
    "NaN id": (lambda f: changed(f, e=put(f["e"], np.nan)), "not finite", "e"),
    "ragged": (lambda f: changed(f, b=f["b"][:-1]), "differ in length", None),
    "two-dimensional": (lambda f: changed(f, b=np.zeros((60, 2))), "must be 1-D", "b"),
    "no frame": (lambda f: [1, 2, 3], "not a frame.*mapping", None),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
@pytest.mark.parametrize("what", ["rows", "background"])
def test_bad_frames(planted, schema, frame, small, case, what):
    spoil, message, field = BAD_FRAMES[case]
    asked = []
    box = nid.wrap(lambda c: asked.append(1) or planted(c), schema, output="logit")
    rows, background = (spoil(frame), frame) if what == "rows" else (frame, spoil(frame))
    with pytest.raises(
        nid.FrameError, match=message.format(what={"rows": "frame of rows"}.get(what, what))
    ) as caught:
        nid.detect(box, rows, background=background, **small)
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)
    assert not asked, "the model is not asked before the input is known to be good"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "not finite"),
        ({"b": "cheap"}, "not numeric"),
        ({"d": 77}, "an id of the row is out of range.*77.*0 .. 4"),
        ({"b": [1.0, 2.0]}, "differ in length"),
    ],
)
def test_bad_rows_for_explain(box, frame, change, message):
    row = {name: column[0] for name, column in frame.items()}
    with pytest.raises(nid.FrameError, match=message):
        nid.explain(box, {**row, **change}, background=frame, perturbations=50)
    del row["d"]
    with pytest.raises(nid.FrameError, match="the row lacks columns"):
        nid.explain(box, row, background=frame, perturbations=50)


def test_further_columns_are_ignored(box, frame, small):
    more = {**frame, "label": np.zeros(60), "text": np.array(["x"] * 60)}
    assert nid.detect(box, more, **small) == nid.detect(box, frame, **small)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda y: y[:-1], "wrong shape.*\\(299,\\) for 300 rows"),
        (lambda y: np.stack([y, y], axis=1), "wrong shape.*\\(300, 2\\).*picks one output"),
        (lambda y: y.sum(), "wrong shape"),
        (lambda y: np.array(["yes"] * len(y)), "not numeric"),
        (lambda y: np.where(np.arange(len(y)) == 7, np.nan, y), "returned NaN.*first at row 7"),
        (lambda y: None, "wrong shape|not numeric"),
    ],
)
def test_bad_answers_of_the_model(planted, schema, frame, small, answer, message):
    box = nid.wrap(lambda c: answer(planted(c)), schema, output="logit")
    with pytest.raises(nid.ModelError, match=message) as caught:
        nid.detect(box, frame, **small)
    assert caught.value.partial is None


def test_not_probabilities(planted, schema, frame, small):
    box = nid.wrap(planted, schema, output="probability")
    with pytest.raises(nid.ModelError, match='not probabilities.*output="logit"'):
        nid.detect(box, frame, **small)


def test_one_column_is_an_answer(box, planted, schema, frame, small):
    column = nid.wrap(lambda c: planted(c)[:, None], schema, output="logit")
    assert nid.detect(column, frame, **small) == nid.detect(box, frame, **small)


@pytest.mark.parametrize("detector", DETECTORS)
def test_saturated_probabilities_are_finite_counted_and_told(schema, frame, detector):
    def certain(columns):
        # Certain on one side of a, and exactly 0 or 1 there; undecided on the other.
        return np.where(columns["a"] >= 2, 1.0 * (columns["b"] * columns["c"] > 0), 0.5)

    box = nid.wrap(certain, schema, output="probability", epsilon=1e-4)
    options = {"epochs": 4, "hidden": (8,)} if "nid" in detector else {}
    with pytest.warns(nid.NidWarning, match="saturated and clipped at epsilon=0.0001"):
        report = nid.detect(
            box, frame, detector=detector, options=options, instances=20, perturbations=200, prune="none",
            progress=False,
        )  # fmt: skip
    assert all(np.isfinite([i.strength, i.share, i.stability]).all() for i in report)
    assert len(report)
    assert np.isfinite(report.r2[~np.isnan(report.r2)]).all()
    clipped = report.settings["clipped_predictions"]
    queries = 20 * report.settings["queries_per_instance"]
    assert 0 < clipped < queries
    assert box.saturated == clipped
    # A difference of logits is at most that of four clipped ones; the explainers overshoot a little.
    assert max(i.strength for i in report) < 8 * np.log(1 / 1e-4)


def test_infinite_logits_are_clipped_too(schema, frame, small):
    def certain(columns):
        return np.where((columns["b"] > 0) & (columns["c"] > 0), np.inf, 1.0 * columns["d"])

    box = nid.wrap(certain, schema, output="logit")
    with pytest.warns(nid.NidWarning, match="saturated"):
        report = nid.detect(box, frame, **small)
    assert report.settings["clipped_predictions"] > 0
    assert all(np.isfinite(i.strength) for i in report)


def test_few_saturated_predictions_are_counted_without_a_warning(planted, schema, frame, small):
    def rarely(columns):
        y = planted(columns)
        first = np.arange(len(y)) == 0
        return np.where(first, 1e6, y)

    with warnings.catch_warnings():
        warnings.simplefilter("error", nid.NidWarning)
        report = nid.detect(nid.wrap(rarely, schema, output="logit"), frame, **small)
    assert report.settings["clipped_predictions"] == 20


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("prune", ["gain", "paper", "none"])
def test_a_constant_feature_is_told_shows_nothing_and_leaves_the_others_alone(
    box, schema, frame, detector, prune
):
    constant = changed(frame, b=np.full(60, 0.1), e=np.full(60, 2))
    options = {"epochs": 6, "hidden": (8,), "batch": 50} if "nid" in detector else {}
    with pytest.warns(nid.NidWarning, match=r"baseline value in every instance.*\['b', 'e'\]"):
        report = nid.detect(
            box, constant, detector=detector, options=options, prune=prune, instances=20, perturbations=300,
            progress=False,
        )  # fmt: skip
    assert report.unswitched["b"] == report.unswitched["e"] == 1.0
    assert 0 < report.unswitched["a"] < 1
    assert not any({"b", "e"} & set(fields) for fields in report.top(1000))
    named = report.schema.names
    i, j = named.index("b"), named.index("e")
    assert not report.pair_strengths[[i, j]].any()
    assert report.pair_strength("c", "d") > 0
    if prune == "gain":
        assert report.top(9) == [("c", "d")]


def test_a_constant_feature_in_one_row_is_stated_without_a_warning(box, frame):
    constant = changed(frame, e=np.full(60, 2))
    row = {name: column[0] for name, column in constant.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", nid.NidWarning)
        report = nid.explain(box, row, background=constant, perturbations=200)
    assert report.unswitched["e"] == 1.0


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_feature_only(detector, tmp_path):
    schema = nid.FeatureSchema([nid.DenseField("x")])
    box = nid.wrap(lambda c: c["x"] ** 2, schema, output="logit")
    frame = {"x": np.linspace(0, 1, 30)}
    with pytest.warns(nid.NidWarning, match="one field.*report is empty"):
        report = nid.detect(box, frame, detector=detector, perturbations=100, progress=False)
    assert len(report) == 0
    assert report.instances == 0
    assert "0 interactions from 0 instances" in str(report)
    report.save(tmp_path / "r.json")
    assert nid.InteractionReport.load(tmp_path / "r.json") == report
    with pytest.warns(nid.NidWarning, match="one field"):
        assert len(nid.explain(box, {"x": 0.5}, background=frame, detector=detector, perturbations=100)) == 0


@pytest.mark.parametrize("detector", DETECTORS)
def test_two_features(detector):
    schema = nid.FeatureSchema([nid.DenseField("x"), nid.DenseField("y")])
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=30), "y": rng.normal(size=30)}
    box = nid.wrap(lambda c: c["x"] * c["y"], schema, output="logit")
    settings = {"detector": detector, "instances": 10, "perturbations": 200, "progress": False}
    for prune in ("gain", "none"):
        assert nid.detect(box, frame, prune=prune, **settings).top(5) == [("x", "y")]
    # The set of all fields is not counted by the published rule.
    assert nid.detect(box, frame, prune="paper", **settings).top(5) == []


@pytest.mark.parametrize("value", [0.0, 0.7, -3.3])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("prune", ["gain", "paper", "none"])
def test_a_constant_model(schema, frame, small, value, detector, prune):
    box = nid.wrap(lambda c: np.full(len(c["a"]), value), schema, output="logit")
    with pytest.warns(nid.NidWarning, match="does not react to any perturbation"):
        report = nid.detect(box, frame, detector=detector, prune=prune, **small)
    assert len(report) == 0
    assert report.instances == 20
    assert np.isnan(report.r2).all()
    assert np.isnan(report.fit_summary()["r2_median"])


def test_a_poor_fit_is_told(schema, frame):
    def chaotic(columns):
        return 3 * np.sin(
            1e5 * (columns["a"] * 1.37 + columns["b"] + columns["c"] * columns["d"] + columns["e"])
        )

    with pytest.warns(nid.NidWarning, match="fit poorly.*raise perturbations"):
        report = nid.detect(
            nid.wrap(chaotic, schema, output="logit"), frame, instances=10, perturbations=60, progress=False
        )
    assert np.median(report.r2) < 0.5


BAD_SETTINGS = [
    ({"instances": 0}, "instances out of range.*at least 1"),
    ({"instances": True}, "instances out of range"),
    ({"instances": 10.0}, "instances out of range"),
    ({"perturbations": 23}, "perturbations out of range.*at least 24"),
    ({"top_k": 0}, "top_k out of range"),
    ({"candidates": 0}, "candidates out of range"),
    ({"redraw": 100}, "redraw out of range.*multiple of 32"),
    ({"seed": -1}, "seed out of range"),
    ({"seed": None}, "seed out of range"),
    ({"seed": 1.0}, "seed out of range"),
    ({"prune": "best"}, 'unknown prune.*"gain", "paper" or "none"'),
    ({"min_gain": -0.1}, "min_gain out of range"),
    ({"min_gain": 1.0}, "min_gain out of range"),
    ({"min_gain": float("nan")}, "min_gain out of range"),
    ({"min_gain": "little"}, "min_gain out of range"),
    ({"options": 3}, "not options of a detector"),
    (
        {"detector": "oracle"},
        "unknown detector.*'archdetect', 'gradient_nid', 'least_squares', 'matching_pursuit', 'nid'",
    ),
    ({"detector": 3}, "not a detector"),
    ({"options": {"depth": 3}}, "'least_squares' has no option 'depth'.*orders"),
    ({"baseline": "zeros"}, "unknown baseline"),
    ({"executor": "cluster"}, "unknown executor"),
    ({"executor": ["threads"]}, r"unknown executor; received: \['threads'\]"),
    ({"baseline": ["mode"]}, r"unknown baseline; received: \['mode'\]"),
    ({"prune": ["gain"]}, r"unknown prune; received: \['gain'\]"),
    ({"rank": {}}, "unknown rank; received: {}"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD_SETTINGS)
def test_settings_out_of_their_domain(planted, schema, frame, small, wrong, message):
    asked = []
    box = nid.wrap(lambda c: asked.append(1) or planted(c), schema, output="logit")
    with pytest.raises(nid.SettingError, match=message):
        nid.detect(box, frame, **{**small, **wrong})
    assert not asked


def test_a_detector_without_options_says_so(box, frame, small):
    class Plain(Detector):
        name = "plain"

        def fit(self, state, targets, seeds):
            raise AssertionError

    with pytest.raises(nid.SettingError, match="'plain' has no option 'x'.*no options"):
        nid.detect(box, frame, detector=Plain(), options={"x": 1}, **small)


def test_a_class_is_not_a_detector(box, frame, small):
    with pytest.raises(nid.SettingError, match="not a detector"):
        nid.detect(box, frame, detector=NID, **small)


def test_a_bare_model_must_be_wrapped_first(planted, frame, small):
    with pytest.raises(nid.SettingError, match="not a wrapped model.*nid.wrap"):
        nid.detect(planted, frame, **small)
    with pytest.raises(nid.SettingError, match="not a wrapped model.*nid.wrap"):
        nid.explain(planted, {}, background=frame)


def test_more_instances_than_rows_uses_all(box, frame, small):
    report = nid.detect(box, frame, **{**small, "instances": 10_000})
    assert report.instances == 60
    assert report.settings["instances"] == 10_000
    assert report.settings["instances_used"] == 60
    assert all(i.share == i.count / 60 for i in report)


def test_fewest_perturbations(box, frame):
    for detector in DETECTORS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            report = nid.detect(box, frame, detector=detector, instances=5, perturbations=24, progress=False)
        assert report.instances == 5
        assert all(np.isfinite(i.strength) for i in report)


def test_nullable_pandas_integers_are_read(box, frame, small):
    table = pd.DataFrame(frame).astype({"a": "Int64", "d": "Int32"})
    assert nid.detect(box, table, **small) == nid.detect(box, frame, **small)
    table.loc[3, "a"] = pd.NA
    with pytest.raises(nid.FrameError, match="field 'a'.*not finite"):
        nid.detect(box, table, **small)


def test_any_kind_of_table(box, frame, small):
    expected = nid.detect(box, frame, **small)
    for table in (pd.DataFrame(frame), pl.DataFrame(frame), pa.table(frame)):
        assert nid.detect(box, table, **small) == expected
