"""What is left out is counted, nothing else is left out, and what cannot be analysed is a typed error."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.experiment import Design, Metric, analyze

NOON = pd.Timestamp("2030-01-31T12:00:00", tz="UTC")


@pytest.fixture
def tiny():
    """Eight impressions of eight units, four a variant; the first of each variant is clicked."""
    exposures = pd.DataFrame(
        {
            "experiment": "exp",
            "unit": [f"u{i}" for i in range(8)],
            "variant": ["control", "treatment"] * 4,
            "impression": [f"i{i}" for i in range(8)],
            "timestamp": NOON,
            "fallback": False,
        }
    )
    clicks = pd.DataFrame({"impression": ["i0", "i1"], "timestamp": NOON, "revenue": [1.0, 2.0]})
    return exposures, clicks


def add(frame, **row):
    return pd.concat([frame, pd.DataFrame([frame.iloc[0].to_dict() | row])], ignore_index=True)


def run(exposures, clicks, **options):
    found = analyze(Design("exp", **options), exposures, clicks)
    return found, {e.reason: (e.rows, e.units) for e in found.exclusions}


def test_nothing_is_left_out_of_a_clean_log(tiny):
    found, left = run(*tiny)
    assert left == {}
    assert found.units == found.impressions == {"control": 4, "treatment": 4}
    assert found.effect().control_value == found.effect().variant_value == 0.25


@pytest.mark.parametrize(
    ("row", "reason", "counted"),
    [
        ({"experiment": "other", "variant": "elsewhere", "impression": "x"}, "other experiments", (1, 1)),
        ({"experiment": None, "impression": "x"}, "other experiments", (1, 1)),
        ({"unit": None, "impression": "x"}, "no unit id", (1, None)),
        ({"unit": "", "impression": "x"}, "no unit id", (1, None)),
        ({"variant": None, "impression": "x"}, "no variant", (1, 1)),
        ({"impression": None}, "no impression id", (1, 1)),
        ({"timestamp": NOON - pd.Timedelta(2, "D"), "impression": "x"}, "outside of the window", (1, 1)),
        ({"timestamp": NOON + pd.Timedelta(1, "D"), "impression": "x"}, "outside of the window", (1, 1)),
        ({"timestamp": pd.NaT, "impression": "x"}, "outside of the window", (1, 1)),
        ({}, "duplicate impressions", (1, 1)),
        ({"timestamp": NOON + pd.Timedelta(1, "s")}, "duplicate impressions", (1, 1)),
        ({"unit": "new"}, "impression ids of several units", (2, 2)),
    ],
)
def test_one_bad_row_is_counted_and_the_rest_analysed(tiny, row, reason, counted):
    exposures, clicks = tiny
    window = {"start": datetime(2030, 1, 31, tzinfo=UTC), "stop": datetime(2030, 2, 1, 12, tzinfo=UTC)}
    found, left = run(add(exposures, **row), clicks, **window)
    expected = {reason: counted}
    if "several" in reason:
        expected["clicks of exposures left out"] = (1, None)
        assert found.units == {"control": 3, "treatment": 4}
    else:
        assert found.impressions == {"control": 4, "treatment": 4}
    assert left == expected


def test_a_unit_in_two_variants_is_left_out_with_all_its_rows_and_clicks(tiny):
    exposures, clicks = tiny
    found, left = run(add(exposures, variant="treatment", impression="x"), clicks)
    assert left == {"units in several variants": (2, 1), "clicks of exposures left out": (1, None)}
    assert found.units == {"control": 3, "treatment": 4}
    assert any("several variants" in note for note in found.notes)


def test_a_unit_in_two_variants_under_one_impression_id_is_seen_too(tiny):
    exposures, clicks = tiny
    _, left = run(add(exposures, variant="treatment"), clicks)
    assert left["units in several variants"] == (2, 1)
    assert "duplicate impressions" not in left


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"impression": None}, "clicks without impression id"),
        ({"impression": "nobody"}, "clicks without exposure"),
        ({}, "duplicate clicks"),
        ({"impression": "i2", "timestamp": NOON - pd.Timedelta(3, "D")}, "clicks outside of the window"),
        ({"impression": "i2", "timestamp": pd.NaT}, "clicks outside of the window"),
    ],
)
def test_one_bad_click_is_counted_and_changes_nothing(tiny, row, reason):
    exposures, clicks = tiny
    options = {"start": datetime(2030, 1, 31, tzinfo=UTC), "metrics": (Metric.revenue(),)}
    found, left = run(exposures, add(clicks, **{"revenue": 100.0} | row), **options)
    assert left == {reason: (1, None)}
    assert found.effect("ctr").control_value == 0.25
    assert found.effect("revenue").control_value == 0.25
    assert found.effect("revenue").variant_value == 0.5


def test_clicks_of_another_unit_or_experiment_are_left_out(tiny):
    exposures, clicks = tiny
    named = clicks.assign(unit=["u0", "u7"], experiment=["exp", None])
    found, left = run(exposures, named)
    assert left == {"clicks of another unit": (1, None)}
    assert found.effect().variant_value == 0.0
    _, left = run(exposures, clicks.assign(experiment=["exp", "other"]))
    assert left == {"clicks of other experiments": (1, None)}


def test_a_click_column_of_the_clicks_says_which_rows_are_clicks(tiny):
    exposures, _ = tiny
    labels = pd.DataFrame({"impression": exposures.impression, "click": [1, 1, 0, 0, 0, 0, 0, 0]})
    found, left = run(exposures, labels)
    assert found.effect().control_value == found.effect().variant_value == 0.25
    assert left == {}


def test_exposures_that_know_their_clicks_need_no_table_of_them(tiny):
    exposures, _ = tiny
    known = exposures.assign(click=[True, True] + [False] * 6).drop(columns=["impression", "experiment"])
    found = analyze(Design("exp"), known)
    assert found.effect().control_value == found.effect().variant_value == 0.25
    with pytest.raises(FrameError, match="Pass the clicks"):
        analyze(Design("exp"), exposures)
    with pytest.raises(FrameError, match="both have the column"):
        analyze(Design("exp"), exposures.assign(click=0), tiny[1])
    with pytest.raises(FrameError, match="both have the column"):
        analyze(Design("exp", metrics=(Metric.revenue(),)), exposures.assign(revenue=0.0), tiny[1])


def test_fallbacks_count_as_the_variant_they_were_assigned_to(tiny):
    exposures, clicks = tiny
    exposures = exposures.assign(fallback=[False, True] + [False] * 6)
    found, _ = run(exposures, clicks)
    assert found.fallbacks == {"control": 0, "treatment": 1}
    assert found.effect().variant_value == 0.25
    assert any("'treatment' (25.00%)" in note for note in found.notes)


def test_missing_values_leave_rows_out_of_their_metric_alone(tiny):
    exposures, clicks = tiny
    exposures = exposures.assign(prediction=[0.5, np.nan, *[0.25] * 6])
    found, left = run(exposures, clicks, metrics=(Metric.calibration(),))
    assert left == {"missing values": (1, None)}
    assert found.effect("ctr").variant_value == 0.25
    assert found.effect("calibration").control_value == 1.25


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda e: e.assign(experiment="exp2"), "no exposure belongs"),
        (lambda e: e.assign(variant=["control", "treatmnt"] * 4), "Did you mean 'treatment'"),
        (lambda e: e.assign(variant="control"), "no exposures of a variant"),
        (lambda e: e.head(0), "no exposures to analyse"),
        (lambda e: e.assign(unit=None), "no exposures to analyse"),
        (lambda e: e.drop(columns="unit"), "'unit', or 'user_id'"),
        (lambda e: e.drop(columns="variant"), "variant"),
        (lambda e: e.drop(columns="impression"), "impression"),
        (lambda e: e.assign(unit=np.arange(8) + 0.5), "wrong type"),
        (lambda e: e.assign(unit=[True, False] * 4), "wrong type"),
        (lambda e: e.assign(unit=[b"a"] * 8), "wrong type"),
        (lambda e: e.assign(unit=[1, "a"] * 4), "several kinds"),
        (lambda e: e.assign(variant=[0, 1] * 4), "wrong type"),
        (lambda e: e.assign(timestamp="2030-01-31"), "wrong type"),
        (lambda e: e.assign(timestamp=1.9e9), "wrong type"),
        (lambda e: e.assign(fallback="no"), "wrong type"),
        (lambda e: e.assign(prediction="high"), "wrong type"),
        (lambda e: e.assign(prediction=[np.inf] + [0.1] * 7), "infinite"),
        (lambda e: e, "'calibration' reads is nowhere"),
        (
            lambda e: e.assign(variant=["control", "treatment"] + ["control"] * 6, prediction=0.1),
            "fewer than two",
        ),
    ],
)
def test_what_cannot_be_analysed_is_an_error_that_says_why(tiny, change, match):
    exposures, clicks = tiny
    with pytest.raises(FrameError, match=match):
        analyze(Design("exp", metrics=(Metric.calibration(),)), change(exposures), clicks)


def test_a_window_needs_times(tiny):
    exposures, clicks = tiny
    with pytest.raises(FrameError, match="timestamp"):
        run(exposures.drop(columns="timestamp"), clicks, stop=datetime(2031, 1, 1, tzinfo=UTC))
    found, left = run(exposures, clicks.drop(columns="timestamp"), stop=datetime(2031, 1, 1, tzinfo=UTC))
    assert left == {}
    assert found.effect().variant_value == 0.25


def test_times_without_a_zone_are_utc_and_others_are_turned(tiny):
    exposures, clicks = tiny
    window = {
        "start": datetime(2030, 1, 31, 12, tzinfo=UTC),
        "stop": datetime(2030, 1, 31, 12, 0, 1, tzinfo=UTC),
    }
    for zone in (None, "Asia/Tokyo"):
        turned = [f.assign(timestamp=f.timestamp.dt.tz_convert(zone)) for f in (exposures, clicks)]
        found, left = run(*turned, **window)
        assert left == {}
        assert found.first == found.last == datetime(2030, 1, 31, 12, tzinfo=UTC)


def test_the_clicks_must_have_ids_too(tiny):
    exposures, clicks = tiny
    with pytest.raises(FrameError, match="the clicks lack a column"):
        run(exposures, clicks.drop(columns="impression"))
    with pytest.raises(FrameError, match="revenue"):
        run(exposures, clicks.drop(columns="revenue"), metrics=(Metric.revenue(),))


def test_names_that_look_like_sql_are_names(tiny):
    exposures, clicks = tiny
    evil = "x'; DROP TABLE exposures; --"
    exposures = exposures.assign(
        unit=[f"{evil}{i}" for i in range(8)], impression=[f'"{i}\u0000ü' for i in range(8)]
    )
    clicks = clicks.assign(impression=['"0\u0000ü', '"1\u0000ü'])
    columns = {evil: np.arange(8.0)}
    found, left = run(exposures.assign(**columns), clicks, metrics=(Metric(evil, "mean", value=evil),))
    assert left == {}
    assert found.effect(evil).control_value == 3.0
    assert found.effect().control_value == 0.25


def test_not_a_design():
    with pytest.raises(SettingError, match="design"):
        analyze({"name": "exp"}, {})
