"""Logs that can be read but are odd: the analysis says what is odd about them, and does not pretend to know."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.experiment import Design, Metric, ParquetSink, analyze


def test_no_click_at_all_is_no_interval_and_no_stop(trial, plan):
    exposures, _ = trial()
    for sequential in (True, False):
        found = analyze(plan(), exposures, {"impression": []}, sequential=sequential)
        assert found.decision == "continue"
        assert "There is no interval" in found.reasons[-1]


def test_clicks_none_of_which_is_known_are_noted(trial, plan):
    exposures, clicks = trial()
    foreign = pd.DataFrame({"impression": [f"x{i}" for i in range(len(clicks["impression"]))]})
    found = analyze(plan(), exposures, foreign)
    assert any("No click refers to any exposure" in note for note in found.notes)
    assert not any("No click refers" in note for note in analyze(plan(), exposures, clicks).notes)


@pytest.mark.parametrize("zone", ["UTC", None])
def test_clicks_before_their_impression_count_and_are_noted(zone):
    noon = pd.Timestamp("2030-01-31T12:00:00")
    exposures = pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(8)],
            "variant": ["control", "treatment"] * 4,
            "impression": [f"i{i}" for i in range(8)],
            "timestamp": noon.tz_localize("UTC"),
        }
    )
    times = [noon - pd.Timedelta(1, "s"), noon, noon + pd.Timedelta(1, "s")]
    clicks = pd.DataFrame({"impression": ["i0", "i1", "i2"], "timestamp": times})
    clicks["timestamp"] = clicks["timestamp"].dt.tz_localize(zone)
    found = analyze(Design("exp"), exposures, clicks)
    assert next(note for note in found.notes if "earlier than the impression" in note).startswith(
        "1 click is earlier"
    )
    assert (found.effect().control_value, found.effect().variant_value) == (0.5, 0.25)


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_click_column_holds_nothing_but_clicks(value):
    exposures = {"unit": list("abcd"), "variant": ["control", "treatment"] * 2, "click": [0, 1, 0, value]}
    with pytest.raises(FrameError, match="no clicks.*0 or 1"):
        analyze(Design("exp"), exposures)


def test_a_text_file_is_not_taken_for_parquet(tmp_path, plan):
    path = tmp_path / "log.csv"
    path.write_text("unit,variant\n1,control\n")
    with pytest.raises(FrameError, match=r"not Parquet.*log\.csv.*read_csv"):
        analyze(plan(), path)


def test_a_covariate_the_treatment_changed_is_said_to_bias(trial, plan):
    exposures, clicks = trial()
    design = dataclasses.replace(plan(), primary=Metric.ctr(covariate="before"))
    exposures = pd.DataFrame(exposures)
    exposures["before"] = (exposures["variant"] == "control") + 0.01 * (exposures.index % 7)
    note = next(note for note in analyze(design, exposures, clicks).notes if "before" in note)
    assert "would bias the effect" in note


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path, trial, plan):
    exposures, clicks = trial()
    path = tmp_path / "log[1]*.parquet"
    exposures.to_parquet(path)
    assert analyze(plan(), path, clicks).impressions == analyze(plan(), exposures, clicks).impressions


def test_a_sink_that_has_loaded_nothing_yet_is_said(tmp_path, plan):
    (tmp_path / "log.duckdb.spool").mkdir()
    with pytest.raises(FrameError, match="flush the sink"):
        analyze(plan(), f"{tmp_path / 'log.duckdb'}::exposures")


def test_a_sink_in_the_place_of_a_file(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(SettingError, match="a file is where"):
        ParquetSink(path)


def test_a_size_nobody_planned_is_not_said_to_be_reached(trial, plan):
    going = analyze(plan(), *trial())
    assert going.decision == "continue"
    assert "reached" not in " ".join(going.reasons)


def test_a_start_that_is_text_is_asked_for_as_a_moment():
    with pytest.raises(SettingError, match="expected: a datetime"):
        Design("exp", start="2030-01-01")
