"""Reports on disk: the same report comes back, and a file that is damaged, foreign or newer is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.report import Interaction, InteractionReport
from nid_plugins.report.store import ARTEFACT


@pytest.fixture
def report():
    schema = nid.FeatureSchema(
        [nid.SparseField("site", 9, oov=0), nid.DenseField("prix d'été"), nid.SparseField("hour", 24)]
    )
    return InteractionReport(
        [
            Interaction(("site", "hour"), 8, 0.8, 0.1 + 0.2, 1e-300, 1.0),
            Interaction(("site", "prix d'été", "hour"), 3, 1 / 3, 0.5, math.nan, math.nan),
        ],
        schema,
        {"seed": 0, "options": {"hidden": [64, 32]}, "baseline": "mode"},
        np.array([0.9, -3.5, math.nan]),
        np.array([0.2, math.nan, math.nan]),
        np.array([2, 1, 0]),
        {"site": 0.25, "prix d'été": 0.0, "hour": 1.0},
        np.array([[0.0, 0.1, 2.0], [0.1, 0.0, 1e-17], [2.0, 1e-17, 0.0]]),
    )


@pytest.fixture
def path(report, tmp_path):
    report.save(tmp_path / "report.json")
    return tmp_path / "report.json"


def edit(path, change):
    spec = json.loads(path.read_text(encoding="utf-8"))
    change(spec)
    path.write_text(json.dumps(spec), encoding="utf-8")


def test_what_was_saved_comes_back(report, path):
    again = InteractionReport.load(path)
    assert again == report
    assert again.schema == report.schema
    assert again.schema["site"].oov == 0
    assert again.top(5) == report.top(5)
    assert all(isinstance(i.fields, tuple) for i in again)
    assert again.interactions[0] == report.interactions[0]
    assert math.isnan(again.interactions[1].gain)
    assert again.settings == report.settings
    assert again.unswitched == report.unswitched
    for name in ("r2", "r2_linear", "kept", "pair_strengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(report, name))
    assert again.kept.dtype == np.int64
    assert InteractionReport.load(str(path)) == report


def test_saving_again_writes_the_same_bytes(path, tmp_path):
    InteractionReport.load(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_nan_becomes_null_and_the_file_is_strict_json(path):
    text = path.read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(constant)

    spec = json.loads(text, parse_constant=refuse)
    assert spec["format"] == ARTEFACT.format
    assert spec["schema_version"] == ARTEFACT.version
    assert spec["instances"]["r2"] == [0.9, -3.5, None]
    assert spec["interactions"][1]["gain"] is None
    assert spec["interactions"][1]["stability"] is None
    assert spec["pair_strengths"] == [0.1, 2.0, 1e-17]


def test_without_pair_strengths(report, tmp_path):
    report.pair_strengths = None
    report.save(tmp_path / "r.json")
    assert InteractionReport.load(tmp_path / "r.json").pair_strengths is None
    assert InteractionReport.load(tmp_path / "r.json") == report


@pytest.mark.parametrize("detector", ["least_squares", "nid", "gradient_nid", "archdetect"])
def test_a_detected_report_equals_the_loaded_one(detector, tmp_path):
    rng = np.random.default_rng(0)
    schema = nid.FeatureSchema([nid.SparseField("x", 4), nid.DenseField("y"), nid.DenseField("z")])
    frame = {"x": rng.integers(0, 4, 30), "y": rng.normal(size=30), "z": rng.normal(size=30)}
    box = nid.wrap(lambda c: c["x"] * c["y"] + c["z"], schema, output="logit")
    report = nid.detect(box, frame, detector=detector, instances=6, perturbations=100, progress=False)
    report.save(tmp_path / "r.json")
    assert nid.InteractionReport.load(tmp_path / "r.json") == report


def test_an_older_file_is_replaced_and_nothing_else_is_left(report, path, tmp_path):
    report.interactions = report.interactions[:1]
    report.save(path)
    assert len(InteractionReport.load(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("where", ["no such folder", "under a file", "a folder"])
def test_a_file_that_cannot_be_written(report, tmp_path, where):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    target = {"no such folder": "absent/r.json", "under a file": "file/r.json", "a folder": "folder"}[where]
    with pytest.raises(nid.ArtefactError, match="the report cannot be written"):
        report.save(tmp_path / target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), np.ones(2)])
def test_settings_that_json_cannot_hold(report, path, value):
    before = path.read_bytes()
    report.settings["options"] = {"penalty": value}
    with pytest.raises(nid.ArtefactError, match="holds what JSON cannot"):
        report.save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["absent.json", "."])
def test_a_file_that_cannot_be_read(tmp_path, where):
    with pytest.raises(nid.ArtefactError, match="the report cannot be read"):
        InteractionReport.load(tmp_path / where)


@pytest.mark.parametrize("keep", [0, 1, 100, 400, -3])
def test_a_truncated_file(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(nid.ArtefactError, match="damaged.*Restore the file"):
        InteractionReport.load(path)


def test_bytes_that_are_no_text(path):
    path.write_bytes(b"\xff\xfe\x00" + path.read_bytes())
    with pytest.raises(nid.ArtefactError, match="damaged"):
        InteractionReport.load(path)


@pytest.mark.parametrize(
    "content", ["[]", '"text"', "null", "{}", '{"format": "nid-plugins/detection-journal"}', "5"]
)
def test_another_kind_of_file(path, content):
    path.write_text(content)
    with pytest.raises(nid.ArtefactError, match="not a report"):
        InteractionReport.load(path)


@pytest.mark.parametrize("version", [ARTEFACT.version + 1, 99, "2", None])
def test_a_newer_version(path, version):
    edit(path, lambda spec: spec.update(schema_version=version))
    with pytest.raises(nid.ArtefactError, match="newer version.*Upgrade"):
        InteractionReport.load(path)


DAMAGE = {
    "no interactions": lambda s: s.pop("interactions"),
    "interactions that are none": lambda s: s.update(interactions=[3]),
    "an unknown field": lambda s: s["interactions"][0].update(fields=["site", "minute"]),
    "a count that is text": lambda s: s["interactions"][0].update(count="many"),
    "a share that is a list": lambda s: s["interactions"][0].update(share=[0.5]),
    "a strength that is text": lambda s: s["interactions"][0].update(strength="strong"),
    "a missing key": lambda s: s["interactions"][0].pop("gain"),
    "no schema": lambda s: s.pop("schema"),
    "a schema without fields": lambda s: s.update(schema={"fields": []}),
    "a field of unknown kind": lambda s: s["schema"]["fields"][0].update(kind="fuzzy"),
    "no instances": lambda s: s.pop("instances"),
    "instances of different length": lambda s: s["instances"].update(kept=[1]),
    "kept that is text": lambda s: s["instances"].update(kept=["a", "b", "c"]),
    "too few pair strengths": lambda s: s.update(pair_strengths=[0.1, 0.2]),
    "pair strengths that are text": lambda s: s.update(pair_strengths=["a", "b", "c"]),
    "unswitched that is a list": lambda s: s.update(unswitched=[1.0]),
    "unswitched that is text": lambda s: s.update(unswitched={"site": "often"}),
    "settings that are a number": lambda s: s.update(settings=3),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_refused(path, what):
    edit(path, DAMAGE[what])
    with pytest.raises(nid.ArtefactError, match="the report is damaged"):
        InteractionReport.load(path)


def test_a_folder_is_no_place_for_a_report(path, tmp_path, monkeypatch):
    report = InteractionReport.load(path)
    monkeypatch.chdir(tmp_path)
    for target in (tmp_path, "."):
        with pytest.raises(nid.ArtefactError, match="a folder has this name"):
            report.save(target)
