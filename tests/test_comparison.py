"""The result of a comparison: its measures, its file, its text."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.comparison import CalibrationBin, Measure
from nid_plugins.errors import ArtefactError, SettingError


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1, 400)
    label = (rng.random(400) < 1 / (1 + np.exp(-logits))).astype(int)
    return nid.compare(
        label, np.full(400, -1.0), logits, names=("base", "injected"), units=np.arange(400) // 2
    )


def test_it_comes_back_from_its_file(found, tmp_path):
    found.save(tmp_path / "c.json")
    assert nid.ModelComparison.load(tmp_path / "c.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]
    label = np.r_[np.zeros(99), 1]  # most bins have no clicks
    rare = nid.compare(label, np.arange(100.0), np.arange(100.0))
    rare.save(tmp_path / "c.json")
    assert nid.ModelComparison.load(tmp_path / "c.json") == rare
    assert found != nid.ModelComparison.from_dict({**found.to_dict(), "rows": 7})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(format="other"), "not a comparison"),
        (lambda spec: spec.update(schema_version=99), "newer version"),
        (lambda spec: spec.pop("measures"), "damaged"),
        (lambda spec: spec["measures"][0].pop("low"), "damaged"),
        (lambda spec: spec.update(names=["one"]), "damaged"),
        (lambda spec: spec.update(calibration=[[]]), "damaged"),
        (lambda spec: spec.update(rows=math.inf), "damaged"),
    ],
)
def test_files_that_are_none_are_refused(found, tmp_path, change, message):
    spec = found.to_dict()
    change(spec)
    (tmp_path / "c.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(ArtefactError, match=message):
        nid.ModelComparison.load(tmp_path / "c.json")


def test_what_is_no_file_is_refused(found, tmp_path):
    (tmp_path / "c.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtefactError, match="damaged"):
        nid.ModelComparison.load(tmp_path / "c.json")
    with pytest.raises(ArtefactError, match="cannot be read"):
        nid.ModelComparison.load(tmp_path / "absent.json")
    with pytest.raises(ArtefactError, match="a folder has this name"):
        found.save(tmp_path)
    with pytest.raises(SettingError, match="not a comparison file"):
        found.save(7)


def test_measures_are_found_by_name(found):
    assert [one.name for one in found] == ["auc", "log_loss", "rig", "calibration"]
    assert len(found) == 4
    assert found["auc"] is found.measures[0]
    with pytest.raises(SettingError, match=r"received: 'ndcg'; expected: one of \['auc'"):
        found["ndcg"]


def test_verdicts_follow_what_is_better():
    def verdict(name, change):
        return Measure(name, 0.5, 0.5 + change, change, change - 0.01, change + 0.01).verdict

    assert [verdict("auc", change) for change in (0.1, -0.1, 0.005)] == ["better", "worse", "open"]
    assert [verdict("log_loss", change) for change in (0.1, -0.1, 0.005)] == ["worse", "better", "open"]
    assert verdict("calibration", 0.1) == ""
    assert math.isnan(Measure("rig", 0.0, 0.1, 0.1, 0.0, 0.2).relative)
    assert math.isnan(CalibrationBin(10, 0, 0.1, 0.0).off)


def test_it_can_be_printed_and_tabled(found):
    text = str(found)
    assert "base and injected on 400 rows" in text
    assert "changes with 95% intervals" in text
    assert "log_loss" in text
    assert "better" in repr(found)
    frame = found.to_frame()
    assert list(frame["name"]) == ["auc", "log_loss", "rig", "calibration"]
    assert frame["change"][0] == found["auc"].change
    assert frame["verdict"][1] == "better"
