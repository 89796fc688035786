"""Exposures: one set of values, by column, as mappings and in Arrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

import nid_plugins as nid
from nid_plugins.experiment import Exposures
from nid_plugins.experiment.exposures import COLUMNS, arrow_schema, moments


def test_mappings_and_arrow_say_the_same(events_of):
    events = events_of(5)
    assert len(events) == 5
    assert list(events[3]) == list(COLUMNS)
    assert events[3] == {
        "experiment": "exp",
        "unit": "u3",
        "variant": "treatment",
        "served": "treatment",
        "fallback": False,
        "reason": None,
        "impression": "i-3",
        "request": "r",
        "timestamp": datetime(2030, 1, 31, 12, 0, 0, 1, tzinfo=UTC),
        "latency_ms": 1.5,
        "prediction": 0.75,
        "covariate": None,
    }
    assert events[-1] == events[4]
    assert list(events) == events.to_arrow().to_pylist()


def test_the_arrow_schema_is_what_is_promised(events_of):
    batch = events_of(3).to_arrow()
    assert batch.schema == arrow_schema()
    assert arrow_schema().names == list(COLUMNS)
    assert batch.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert batch.schema.field("latency_ms").type == pa.float32()
    assert [f.name for f in batch.schema if f.nullable] == ["reason", "covariate"]
    assert events_of(3).to_arrow().column("covariate").null_count == 1


def test_mappings_become_the_same_columns_again(events_of):
    events = events_of(
        20, fallback=np.arange(20) % 2 == 0, reason=np.array([None, "slow"] * 10, dtype=object)
    )
    again = Exposures.of([dict(event) for event in events])
    assert again.to_arrow().equals(events.to_arrow())
    assert Exposures.of(events) is events


def test_some_of_the_events(events_of):
    events = events_of(10)
    assert list(events[2:5]) == [events[2], events[3], events[4]]
    assert list(events.take(np.array([7, 1]))) == [events[7], events[1]]
    assert len(events[:0].to_arrow()) == 0
    with pytest.raises(IndexError):
        events[10]


def test_a_column_of_all_events(events_of):
    events = events_of(4)
    assert events.column("experiment").tolist() == ["exp"] * 4
    assert events.column("unit").tolist() == ["u0", "u1", "u2", "u3"]
    assert np.isnan(events.column("covariate")[0])
    with pytest.raises(nid.SettingError, match="no such column"):
        events.column("clicks")


def test_nothing_is_made_until_somebody_looks(events_of):
    events = events_of(3, unit=[object(), object(), object()])  # what Arrow could not take
    assert len(events) == 3
    with pytest.raises(nid.SettingError, match="unit"):
        events.to_arrow()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"unit": ["a"]}, "another length"),
        ({"clicks": 1}, "not the columns"),
        ({"unit": ["a", None, "b"]}, "unit"),
        ({"prediction": np.array(["x", "y", "z"])}, "prediction"),
        ({"unit": ["a", "\ud800", "b"]}, "unit"),
    ],
)
def test_what_is_no_exposure_is_said(events_of, changed, match):
    with pytest.raises(nid.SettingError, match=match):
        events_of(3, **changed).to_arrow()


def test_mappings_that_are_no_exposures_are_said(events_of):
    event = dict(events_of(1)[0])
    with pytest.raises(nid.SettingError, match="not an exposure"):
        Exposures.of([{"unit": "u", "variant": "b"}])
    with pytest.raises(nid.SettingError, match="not a number"):
        Exposures.of([event | {"prediction": "high"}])
    with pytest.raises(nid.SettingError, match="time zone"):
        Exposures.of([event | {"timestamp": datetime(2030, 1, 1)}])  # noqa: DTZ001


def test_moments_are_utc_in_microseconds():
    noon = np.datetime64("2030-01-31T12:00:00", "us")
    paris = timezone(timedelta(hours=1))
    assert moments(datetime(2030, 1, 31, 13, tzinfo=paris)) == noon
    assert moments(np.datetime64("2030-01-31T12", "h")) == noon
    several = moments([datetime(2030, 1, 31, 12, tzinfo=UTC), datetime(2030, 1, 31, 13, tzinfo=paris)])
    assert several.tolist() == [noon.item(), noon.item()]
    assert several.dtype == np.dtype("datetime64[us]")
    for bad in (
        12,
        "2030-01-31",
        np.datetime64("NaT"),
        np.array(["NaT"], "M8[us]"),
        [None],
        datetime(2030, 1, 1),  # noqa: DTZ001
    ):
        with pytest.raises(nid.SettingError):
            moments(bad)
