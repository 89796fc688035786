"""The page in a real headless Chromium: no error in the console, sorting and search work, a script in a name does not run."""

from __future__ import annotations

import json
import math
import time

import pytest

from nid_plugins.report.charts import Forest, Interval
from nid_plugins.report.content import Column, Facts, Notice, Section, Table, numbers
from nid_plugins.report.page import Page
from nid_plugins.report.values import Mark

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")

EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
NAMES = ["beta 2", "beta 10", "Alpha", "gamma", EVIL, *(f"more {i}" for i in range(7))]
SIZES = [2.0, 10.0, math.nan, -3.0, 0.5, *(100.0 + i for i in range(7))]


def page():
    rows = [[name, size, Mark("safe", "good")] for name, size in zip(NAMES, SIZES, strict=True)]
    table = Table("Things", [Column("name"), numbers("size", ".1f"), Column("status")], rows)
    chart = Forest("Lift", [Interval(EVIL, -0.01, 0.01, 0.02)])
    sections = [
        Section("First", [Notice(EVIL, "good"), chart]),
        Section("Second", [table]),
        Section("Third", [Facts("Settings", [(EVIL, EVIL)])]),
    ]
    return Page("A page", sections, EVIL, data={"name": EVIL})


def column(window, i):
    """Return the texts of the visible cells of a column, from the top."""
    return window.execute_script(
        "return Array.from(document.querySelectorAll('tbody tr'))"
        ".filter(row => row.offsetParent !== null).map(row => row.cells[arguments[0]].textContent)",
        i,
    )


def click_head(window, i):
    head = window.find_elements("css selector", "thead th")[i]
    head.find_element("tag name", "button").click()
    return head.get_attribute("aria-sort")


def status(window):
    return window.find_element("css selector", "[role=status]").get_attribute("textContent")


def test_no_script_of_a_name_runs(visit):
    window = visit(page().html())
    assert window.title == "A page"
    assert window.execute_script("return document.images.length") == 0
    assert json.loads(window.execute_script("return document.getElementById('data').textContent")) == {
        "name": EVIL
    }
    assert EVIL in window.find_element("tag name", "dl").text


def test_columns_sort_numbers_as_numbers_and_text_as_people_do(visit):
    window = visit(page().html())
    assert click_head(window, 1) == "descending"
    sizes = [float(text) if text != "-" else None for text in column(window, 1)]
    assert sizes[-1] is None
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert status(window) == "Sorted by size, descending."
    assert click_head(window, 1) == "ascending"
    sizes = [float(text) if text != "-" else None for text in column(window, 1)]
    assert sizes[-1] is None
    assert sizes[:-1] == sorted(sizes[:-1])
    assert click_head(window, 0) == "ascending"
    names = column(window, 0)
    assert [n for n in names if n.startswith(("A", "b", "g"))] == ["Alpha", "beta 2", "beta 10", "gamma"]
    heads = [th.get_attribute("aria-sort") for th in window.find_elements("css selector", "thead th")]
    assert heads == ["ascending", "none", "none"]


def test_heads_are_sorted_by_the_keyboard_too(visit):
    window = visit(page().html())
    button = window.find_elements("css selector", "thead th button")[0]
    button.send_keys("\ue007")
    assert column(window, 0)[:2] == sorted(column(window, 0)[:2])
    assert window.find_element("css selector", "thead th").get_attribute("aria-sort") == "ascending"


def test_search_leaves_the_rows_that_hold_every_word(visit):
    window = visit(page().html())
    box = window.find_element("css selector", "input[type=search]")
    assert box.accessible_name == "Search in Things"
    box.send_keys("BETA 10")
    assert column(window, 0) == ["beta 10"]
    assert status(window) == "1 of 12 rows are shown."
    box.clear()
    box.send_keys("<img")
    assert column(window, 0) == [EVIL]
    box.send_keys("\ue003" * 4)
    assert len(column(window, 0)) == len(NAMES)


def test_the_data_are_saved_by_the_button(visit, tmp_path):
    window = visit(page().html())
    window.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    window.find_element("id", "save").click()
    saved = tmp_path / "A page.json"
    for _ in range(100):
        if saved.exists():
            break
        time.sleep(0.05)
    assert json.loads(saved.read_text("utf-8")) == {"name": EVIL}


@pytest.mark.parametrize("width", [320, 1000])
def test_nothing_but_tables_is_wider_than_the_window(visit, width):
    window = visit(page().html())
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    wide, inner = window.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width - 20 < inner <= width
    assert wide == inner


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(15, 20, 25)")])
def test_the_page_is_as_light_as_the_system(visit, scheme, ground):
    window = visit(page().html())
    window.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    found = window.execute_script("return getComputedStyle(document.body).backgroundColor")
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found == ground


def test_the_policy_stops_a_script_that_got_in(browser, tmp_path):
    """The second line of defence, shown on a page that was tampered with; the console says so."""
    path = tmp_path / "page.html"
    text = page().html().replace("</footer>", "</footer><script>document.title = 'run'</script>")
    path.write_text(text, encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.title == "A page"
    assert any("Content Security Policy" in line["message"] for line in browser.get_log("browser"))


def test_a_notebook_s_frame_works_inside_another_page(visit):
    window = visit(f"<!doctype html><link rel=icon href='data:,'><body>{page()._repr_html_()}</body>")
    window.switch_to.frame(0)
    assert click_head(window, 1) == "descending"
    assert column(window, 0)[0] == "more 6"
    window.switch_to.default_content()
