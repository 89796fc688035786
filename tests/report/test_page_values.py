"""Values as text, sort keys, and axes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from nid_plugins.report.scales import Scale
from nid_plugins.report.values import Mark, clean, show, sort_key


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (0.01234, "+.1%", "+1.2%"),
        (1234567, "", "1,234,567"),
        (0.000123456, "", "0.0001235"),
        (np.float32(0.5), ".2f", "0.50"),
        (np.int64(1000), ",", "1,000"),
        (math.nan, ".2f", "-"),
        (None, ".2f", "-"),
        (-math.inf, ".2f", "-∞"),
        (True, "", "yes"),
        ("a", ".2f", "a"),
        (Mark("safe", "good"), "", "safe"),
        ((0.1, 0.2), ".0%", "10%, 20%"),
        ((), "", "-"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "", "2026-01-02 03:04+00:00"),
    ],
)
def test_values_read_well(value, spec, text):
    assert show(value, spec) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\nb\tc", "a b c"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("lone \ud800", "lone \ufffd"),
        ("日本 é 😀", "日本 é 😀"),
    ],
)
def test_nothing_in_a_name_steers_what_shows_it(text, shown):
    assert clean(text) == shown


def test_what_is_unknown_sorts_last_and_text_by_itself():
    assert sort_key(None) == sort_key(math.nan) == ""
    assert float(sort_key(0.1)) == 0.1
    assert sort_key(-math.inf) == "-Infinity"
    assert sort_key("ten") is None
    assert sort_key(Mark("safe")) is None
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    assert float(sort_key(times[0])) < float(sort_key(times[1]))


@pytest.mark.parametrize(
    "values", [(0.003, 0.021), (-5.0, 1e6), (1e-9, 2e-9), (7.0, 7.0), (0.0,), (), (math.nan, math.inf, -2.0)]
)
def test_an_axis_holds_all_values_and_zero_with_a_few_round_ticks(values):
    axis = Scale.over(values, 10, 110)
    for value in (*filter(math.isfinite, values), 0.0):
        assert axis.low <= value <= axis.high
        assert 10 <= axis(value) <= 110
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 7
    assert 0.0 in ticks
    assert axis(axis.high + 1) == 110


def test_an_axis_without_zero_is_that_of_its_values():
    axis = Scale.over([100.0, 101.0], 0, 100, zero=False, room=0.0)
    assert (axis.low, axis.high) == (100.0, 101.0)
