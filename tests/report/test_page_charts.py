"""Charts: what is drawn is where the axis says, open ends are arrows, gaps are gaps."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import pytest

from nid_plugins.report.charts import Drawing, Forest, Interval, Lines, Series


def test_intervals_stand_in_the_order_of_their_values():
    chart = Forest("t", [Interval("a", -0.02, 0.01, 0.04), Interval("b", 0.02, 0.03, 0.05)])
    drawn = chart.layout()
    first, second = drawn["rows"]
    assert first["low"] < drawn["reference"] < first["value"] < second["low"] < first["high"] < second["high"]
    assert first["y"] < second["y"] < drawn["bottom"]
    ticks = [tick["text"] for tick in drawn["ticks"]]
    assert "+0%" in ticks
    assert len(set(ticks)) == len(ticks)


def test_an_infinite_bound_is_an_arrow_at_the_end_of_the_axis():
    pytest.importorskip("jinja2", reason="pages are templates of Jinja2")
    from nid_plugins.report.content import Section
    from nid_plugins.report.page import Page

    chart = Forest("t", [Interval("a", -math.inf, 0.01, 0.02), Interval("b", 0.0, 0.01, math.inf)])
    first, second = chart.layout()["rows"]
    assert (first["open_low"], first["open_high"]) == (True, False)
    assert (second["open_low"], second["open_high"]) == (False, True)
    assert second["high"] == chart.layout()["width"] - 12
    text = Page("t", [Section("s", [chart])]).html()
    assert len(re.findall(r'<path class="fill"', text)) == 2
    assert "[-∞, +2.00%]" in text


def test_a_chart_of_nothing_known_is_drawn_empty():
    chart = Forest("t", [Interval("a", math.nan, math.nan, math.nan)])
    assert chart.layout()["rows"][0]["known"] is False
    assert chart.description == "a: - (no interval)."


def test_ticks_have_as_few_digits_as_tell_them_apart():
    for spec, high, wanted in (
        ("+.2%", 0.02, r"\+\d+%|\+\d+\.\d%"),
        (".3f", 300.0, r"\d+"),
        ("", 0.5, r"0\.\d"),
    ):
        texts = [t["text"] for t in Forest("t", [Interval("a", 0.0, high / 2, high)], spec).layout()["ticks"]]
        assert len(texts) == len(set(texts))
        assert all(re.fullmatch(wanted, text) for text in texts), texts


def test_curves_go_over_time_and_leave_gaps():
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=i) for i in range(8)]
    y = [0.01, 0.02, math.nan, 0.03, 0.02, 0.02, 0.02, 0.02]
    bounds = [v if math.isnan(v) else v + 1 / (i + 1) for i, v in enumerate(y)]
    chart = Lines("t", days, [Series("lift", y, [-b for b in bounds], bounds)])
    (drawn,) = chart.layout()["series"]
    assert drawn["line"].count("M") == 2
    assert drawn["line"].count("L") == 5
    assert drawn["band"].endswith("Z")
    # The first looks' wide bounds do not squeeze what comes later.
    assert len(chart.layout()["ticks"]) >= 3
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", drawn["line"])]
    assert xs == sorted(xs)
    assert chart.description.startswith("lift: +1.00% [-101.00%, +101.00%] at 2026-01-01")
    plain = Lines("t", [1.0, 2.0], [Series("s", [0.0, 1.0])])
    assert plain.layout()["series"][0]["band"] == ""


def test_a_drawing_of_one_s_own_is_taken_as_markup_only_where_it_says_so():
    markupsafe = pytest.importorskip("markupsafe", reason="pages are templates of Jinja2")
    from nid_plugins.report.content import Section
    from nid_plugins.report.page import Page

    svg = markupsafe.Markup("<svg viewBox='0 0 9 9'><text>{}</text></svg>").format("<b>")
    drawings = [Drawing("one", svg, 'a "picture"'), Drawing("two", "<svg></svg>", "text")]
    text = Page("t", [Section("s", drawings)]).html()
    assert "<svg viewBox='0 0 9 9'><text>&lt;b&gt;</text></svg>" in text
    assert 'role="img" aria-label="a &#34;picture&#34;"' in text
    assert "&lt;svg&gt;&lt;/svg&gt;" in text
