"""Before and after on a page of its own and in that of a report; looked at by a browser, narrow and wide."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from rich.console import Console

import nid_plugins as nid
from nid_plugins.comparison import CalibrationBin, Measure, ModelComparison
from nid_plugins.report import Interaction, InteractionReport
from nid_plugins.report.content import Notice, Table

EVIL = "</script><script>document.title='run'</script>"


def made(log_loss=-0.02, names=("base", "injected"), bins=10, notes=()):
    """A comparison with a change of the log-loss, every interval 0.01 to both sides."""
    values = {
        "auc": (0.74, 0.03),
        "log_loss": (0.38, log_loss),
        "rig": (0.12, 0.05),
        "calibration": (0.97, 0.02),
    }
    measures = tuple(
        Measure(name, before, before + change, change, change - 0.01, change + 0.01)
        for name, (before, change) in values.items()
    )
    calibration = tuple(
        tuple(CalibrationBin(100, k, 0.01 * k + off, 0.01 * k) for k in range(bins)) for off in (0.004, 0.001)
    )
    return ModelComparison(measures, 1000, 45, 0.045, 0.95, names, calibration, notes, {"kept": None})


@pytest.mark.parametrize(
    ("change", "title", "tone", "moved"),
    [
        (-0.02, "The model after predicts better", "good", "falls by 0.02"),
        (0.02, "The model after predicts worse", "bad", "rises by 0.02"),
        (0.002, "These rows do not tell which model predicts better", "open", "rises by 0.002"),
        (0.0, "These rows do not tell which model predicts better", "open", "changes by 0"),
    ],
)
def test_the_verdict_is_the_log_losses(change, title, tone, moved):
    notice, table = made(change, notes=("Few.",)).page().sections[0].blocks
    assert isinstance(notice, Notice)
    assert (notice.title, notice.tone) == (title, tone)
    assert moved in notice.lines[0]
    assert "95 % interval of the change" in notice.lines[0]
    assert notice.lines[1] == "Few."
    assert isinstance(table, Table)
    cells = [[cell["text"] for cell in row] for row in table.cells()]
    assert cells[0] == ["AUC", "0.74000", "0.77000", "+0.03", "+0.02 to +0.04", "better"]
    assert cells[3][-1] == "-"


def test_a_model_that_was_not_trained_on_is_said_to_predict_alike():
    label = np.arange(200) % 2
    notice, _ = nid.compare(label, np.arange(200.0), np.arange(200.0)).page().sections[0].blocks
    assert notice.title == "Both models predict alike on these rows"
    assert "until it is trained on" in notice.lines[1]


def test_the_terminal_shows_the_measures_and_not_every_bin():
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(made())
    assert "log-loss" in out.getvalue()
    assert "clicked before" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_bins_are_a_curve_and_a_table():
    curve, table = made().page().sections[1].blocks
    assert [series.label for series in curve.series] == ["before", "after"]
    assert math.isnan(curve.series[0].y[0])  # without clicks
    assert curve.series[0].y[1:] == pytest.approx([0.4 / k for k in range(1, 10)])
    assert len(table.rows) == 10
    assert table.rows[4][1:5] == [100, pytest.approx(0.044), 0.04, pytest.approx(0.1)]
    (only,) = made(bins=1).page().sections[1].blocks
    assert len(only.rows) == 1


def test_it_joins_the_page_of_a_report():
    schema = nid.FeatureSchema([nid.DenseField("a"), nid.DenseField("b")])
    report = InteractionReport([Interaction(("a", "b"), 1, 1.0, 1.0)], schema, r2=np.ones(1))
    comparison = made()
    titles = {section.title: section for section in report.page(before_after=comparison).sections}
    assert titles["Before and after"].blocks == comparison.page().sections[0].blocks
    assert titles["Calibration"].detail


def test_a_notebook_shows_it(visit):
    pytest.importorskip("jinja2", reason="pages are templates of Jinja2")
    window = visit(
        f"<!doctype html><link rel=icon href='data:,'><body>{made(names=(EVIL, EVIL))._repr_html_()}</body>"
    )
    window.switch_to.frame(0)
    assert EVIL in window.find_element("tag name", "header").text
    assert window.execute_script("return document.title") == "Two models compared"
    window.switch_to.default_content()


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well(visit, width, scheme):
    """Heads name their rows and columns, nothing but tables is wider than the window, and words stand out from the ground."""
    pytest.importorskip("jinja2", reason="pages are templates of Jinja2")
    window = visit(made(notes=("There are few clicks (45): the intervals are rough.",)).to_html())
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    window.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        wide, inner = window.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide == inner <= width
        table = window.find_element("css selector", "#section-1 table")
        assert table.find_element("tag name", "caption").text == "Before and after, on the same rows"
        captions = "return Array.from(document.querySelectorAll('caption'), one => one.getBoundingClientRect().right)"
        assert max(window.execute_script(captions)) <= inner
        scopes = "return Array.from(arguments[0].querySelectorAll('th'), one => one.getAttribute('scope'))"
        assert window.execute_script(scopes, table) == ["col"] * 6 + ["row"] * 4
        assert min(window.execute_script(CONTRASTS)) >= 4.5
        if width == 1200:
            inside = "const s = arguments[0].closest('.scroll'); return s.scrollWidth <= s.clientWidth"
            assert window.execute_script(inside, table)
    finally:
        window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


CONTRASTS = """
const bright = text => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const ground = element => {
  for (let one = element; one; one = one.parentElement) {
    const found = getComputedStyle(one).backgroundColor;
    if (found !== 'rgba(0, 0, 0, 0)') return found;
  }
};
return Array.from(document.querySelectorAll('#section-1 th, #section-1 td, #section-1 .mark, #section-1 p'))
  .map(one => {
    const [a, b] = [bright(getComputedStyle(one).color), bright(ground(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
"""
