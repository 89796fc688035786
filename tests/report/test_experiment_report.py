"""Pages and terminal tables of a plan, of A/A runs and of a result say what those hold; names in them are text."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import math
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from nid_plugins.errors import ArtefactError

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")


def _results():
    # Test folders are not packages: the module beside this one is loaded by its path.
    spec = importlib.util.spec_from_file_location(
        "experiment_results", Path(__file__).with_name("experiment_results.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _results()


def printed(result, width=80):
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(result)
    return out.getvalue()


def line(text, start):
    """Return the first line that begins with a word, its runs of blanks as one."""
    lines = [" ".join(x.split()) for x in text.splitlines()]
    return next(x for x in lines if x.startswith(start))


@pytest.mark.parametrize(
    ("decision", "title", "tone"),
    [
        ("ship", "Ship crosses", "good"),
        ("stop", "Stop, and keep base", "bad"),
        ("continue", "Go on: there is no answer yet", "open"),
        ("invalid", "Invalid: do not read the effects", "bad"),
    ],
)
def test_the_decision_comes_first_with_its_reasons(decision, title, tone):
    result = made.analysis(decision)
    page = result.page().html()
    first = page.index('class="notice')
    assert page[first:].startswith(f'class="notice {tone}" role="note">\n<p><strong>{title}</strong></p>')
    assert page.index("The interval of ctr is above 0.") > first
    text = printed(result)
    assert text.index(title) < text.index("The interval of ctr is above 0.") < text.index("Effects")
    # Effects of an experiment that is not valid are not drawn as if they were.
    assert ("<svg" in page) == (decision != "invalid")


def test_a_terminal_of_eighty_columns_holds_the_numbers():
    text = printed(made.analysis())
    effects = text[text.index("Looked at once") : text.index("Always valid")]
    assert line(effects, "ctr") == "ctr 0.0345 0.03491 +1.20% [+0.30%, +2.10%] 0.012 -"
    assert line(effects, "revenue") == "revenue 0.0345 - - - 0.012 0.04"
    assert "Effects  of crosses against base" in text
    assert line(text, "latency_p95 crosses safe") == "latency_p95 crosses safe +0.50% [-1.00%, +2.00%] 10.0%"
    assert line(text, "calibration crosses harmed").endswith("harmed +8.00% [+7.00%, +9.00%] 5.0%")
    assert line(text, "crosses 49,382.5") == "crosses 49,382.5 49,365 49.98% 249,000 17"
    assert "[-∞, +2.80%]" in text
    # The plan, and how an effect was computed, are on the page only.
    assert "delta method" not in text
    assert "shop.models:base" not in text
    assert "shop.models:base" in made.analysis().page().html()
    assert "2026-01-01 00:05+00:00 to 2026-01-14 23:55+00:00; 98,765 units, 499,000 impressions" in printed(
        made.analysis(), 120
    )
    assert max(map(len, text.splitlines())) <= 80


def test_what_was_left_out_is_said_and_so_is_nothing():
    assert line(printed(made.analysis(), 120), "clicks without exposure").startswith(
        "clicks without exposure 12 - dropped"
    )
    assert line(printed(made.analysis(exclusions=())), "rows left out") == "rows left out none"


def test_a_sample_ratio_that_is_off_is_an_alarm():
    text = printed(made.analysis("invalid"))
    assert "The sample ratio is not as planned (p = 1e-09, alarm below 0.001)" in text
    assert "The sample ratio is as planned (p = 0.91" in printed(made.analysis())


def test_names_that_hold_html_are_text_and_the_data_are_whole():
    for result in (made.analysis(), made.design(sizing=made.sizing("base_prediction")), made.aa_result()):
        page = result.page().html()
        assert "<img" not in page
        assert made.EVIL in printed(result) or result == made.aa_result()
        (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
        assert type(result).from_dict(json.loads(data)).to_dict() == result.to_dict()


def test_a_result_is_a_file_a_notebook_s_cell_and_a_line(tmp_path, monkeypatch):
    result = made.analysis()
    result.to_html(tmp_path / "result.html")
    assert (tmp_path / "result.html").read_text("utf-8") == result.page().html()
    assert result._repr_html_().startswith('<iframe title="A/B test deepfm-crosses"')
    with pytest.raises(ArtefactError):
        result.to_html(tmp_path)
    from nid_plugins.report import page

    page._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert result._repr_html_() is None
    page._environment.cache_clear()


def test_a_plan_says_who_gets_what_and_how_large_it_must_be():
    text = printed(made.design(sizing=made.sizing("base_prediction")))
    assert line(text, "base control") == "base control 50.00% 20.00% shop.models:base"
    assert line(text, "ctr primary").startswith("ctr primary sum of click")
    assert line(text, "units 100") == "units 100,000 64,000"
    assert line(text, "of these crosses") == "of these crosses 50,000 32,000"
    assert line(text, "days 11") == "days 11 7"
    assert line(text, "variance saved by it") == "variance saved by it 36.0%"
    assert line(text, "namespace") == "namespace ranking, 0 to 0.4, hash version 1"
    without = printed(made.design(sizing=made.sizing()))
    assert line(without, "units 100") == "units 100,000"
    assert "Size of the experiment" not in printed(made.design())


def test_a_a_runs_say_whether_the_tests_keep_their_promise():
    text = printed(made.aa_result())
    assert "The tests keep their promise on these logs" in text
    assert line(text, "fixed 98") == "fixed 98 2,000 4.90% [3.99%, 5.94%] 1"
    assert line(text, "fixed with peeking 640").endswith("32.00% [29.96%, 34.10%] 100")
    assert "do not keep" in printed(made.aa_result(passes=False))
    chart = made.aa_result().page().sections[0].blocks[1].layout()
    assert chart["rows"][0]["low"] < chart["reference"] < chart["rows"][0]["high"]


def test_with_an_effect_put_in_the_rates_are_powers():
    text = printed(dataclasses.replace(made.aa_result(), effect=0.02))
    assert text.startswith(
        "Simulated power of deepfm-crosses\n2,000 experiments with an effect of +2.00% put in"
    )
    assert "promise" not in text


def test_unknown_effects_are_drawn_as_unknown():
    nothing = made.effect(low=math.nan, high=math.nan)
    page = made.analysis("continue", effects=(nothing,), sequential=()).page().html()
    assert "(no interval)" in page
    assert "there are no always-valid ones" in page


def test_effects_over_time_are_drawn_where_they_are_known():
    page = made.analysis(timeline=made.timeline()).page()
    text = page.html()
    assert text.count("<svg") == 2
    assert "ctr of crosses, cumulated over time" in text
    assert "always valid: +3.20% (no interval) at 2026-01-02 00:00+00:00, +1.34% [" in text
    assert "looked at once: +3.20% [-4.80%, +11.20%] at 2026-01-02" in text
    once = made.analysis(timeline=made.timeline(sequential=False)).page().html()
    assert once.count('<path class="band"') == 1
    assert text.count('<path class="band"') == 2
    assert ">2026-01-02</text>" in text


def test_a_terminal_shows_some_of_the_looks():
    text = printed(made.analysis(timeline=made.timeline()))
    shown = text[text.index("cumulated over time") : text.index("Effects")]
    assert line(shown, "always valid") == "always valid looked at once"
    assert line(shown, "2026-01-02") == "2026-01-02 00:00+00:00 +3.20% (no interval) +3.20% [-4.80%, +11.20%]"
    assert len(re.findall("2026-01-", shown)) == 5
    assert line(shown, "2026-01-15").startswith("2026-01-15 00:00+00:00 +1.34% [-2.08%, +4.76%]")


def test_the_page_of_a_result_opens_without_an_error(visit):
    window = visit(made.analysis().page().html())
    assert window.title == "A/B test deepfm-crosses"
    heads = window.find_elements("css selector", "h2")
    assert [h.text for h in heads] == [
        "Decision",
        "Effects",
        "Guardrails",
        "Data",
        "Variants",
        "Metrics",
        "Settings",
    ]
    assert len(window.find_elements("css selector", "svg .row")) == 3
    assert window.execute_script("return document.images.length") == 0
