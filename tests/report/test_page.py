"""A page is one file that runs nothing but its own script; a name holding HTML is text on it, in charts and data too."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import sys
from html.parser import HTMLParser

import pytest
from rich.console import Console

from nid_plugins.errors import ArtefactError, MissingExtraError, SettingError
from nid_plugins.report.charts import Forest, Interval, Lines, Series
from nid_plugins.report.content import Column, Facts, Notice, Paragraph, Section, Table, numbers
from nid_plugins.report.page import Page, _environment
from nid_plugins.report.values import Mark

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' [bold]&amp; \x1b[31m"
EVIL_SHOWN = EVIL.replace("\x1b", "\ufffd")
VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """Reads elements with their attributes, text by element, and checks that elements are closed in their order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def evil_page():
    """Return a page that says EVIL wherever something can be said."""
    forest = Forest(EVIL, [Interval(EVIL, -0.01, 0.01, 0.03, "good")], note=EVIL)
    lines = Lines(EVIL, [0, 1], [Series(EVIL, [0.1, 0.2], [0.0, 0.1], [0.2, 0.3])], x_title=EVIL, note=EVIL)
    table = Table(
        EVIL, [Column(EVIL), numbers(EVIL)], [[EVIL, 1], [Mark(EVIL, "bad"), 2]], note=EVIL, search=True
    )
    blocks = [table, Facts(EVIL, [(EVIL, EVIL)]), Notice(EVIL, "bad", [EVIL]), Paragraph(EVIL), forest, lines]
    return Page(EVIL, [Section(EVIL, blocks, EVIL)] * 3, EVIL, data={EVIL: EVIL})


def small_page():
    rows = [["b", 2.0, Mark("safe", "good")], ["a", math.nan, Mark("harmed", "bad")]]
    table = Table("Two rows", [Column("name"), numbers("size", ".1f"), Column("status")], rows)
    chart = Forest(
        "Lift", [Interval("ctr", -0.01, 0.01, 0.03), Interval("none", math.nan, math.nan, math.nan)]
    )
    return Page("Small", [Section("Rows", [table, chart])], data={"x": 1})


def test_a_name_holding_a_script_is_text_everywhere():
    page = evil_page()
    read = Reader(page.html())
    assert read.open == []
    assert read.all("script") == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert not read.all("img")
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
    assert "\x1b" not in page.html()
    whole = {tag for tag, text in read.texts if EVIL_SHOWN.strip() in text}
    assert whole >= {
        "title",
        "h1",
        "h2",
        "h3",
        "a",
        "p",
        "strong",
        "caption",
        "th",
        "span",
        "dt",
        "dd",
        "desc",
        "text",
    }


def test_data_come_back_as_they_were():
    text = evil_page().html()
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(found) == {EVIL: EVIL}
    assert "<" not in found
    assert Reader(Page("none").html()).all("button") == []


def test_the_page_is_alone_and_runs_its_own_script_only():
    text = small_page().html()
    read = Reader(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert all(not attributes.get("src") for _, attributes in read.elements)
    assert read.all("link") == [{"rel": "icon", "href": "data:,"}]
    (policy,) = [m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in read.elements)


def test_ids_are_unique_and_what_refers_to_one_finds_it():
    read = Reader(evil_page().html())
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in read.elements:
        named = attributes.get("aria-labelledby", "").split()
        assert set(named) <= set(ids)
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_tables_have_captions_and_scopes_and_charts_say_what_they_show():
    read = Reader(small_page().html())
    assert read.all("html") == [{"lang": "en"}]
    assert ("caption", "Two rows") in read.texts
    assert [th.get("scope") for th in read.all("th")] == ["col"] * 3 + ["row"] * 2
    assert [th.get("data-key") for th in read.all("td")] == ["2.0", None, "", None]
    assert [text for text in read.texts if text[1] in {"2.0", "-"}] == [("td", "2.0"), ("span", "-")]
    assert [text for tag, text in read.texts if tag == "desc"] == [
        "ctr: +1.00% [-1.00%, +3.00%]; none: - (no interval)."
    ]
    (drawing,) = read.all("svg")
    assert drawing["role"] == "img"
    assert drawing["aria-labelledby"]
    assert len(read.all("circle")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_has_contrast_enough(scheme):
    """WCAG AA: 4.5 for text, on the ground and on raised parts."""
    css = small_page().html().split("<style>")[1].split("</style>")[0]
    found = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme == "dark"]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", found))
    assert set(colours) == {"ground", "surface", "line", "text", "muted", "accent", "good", "bad", "open"}
    for name in ("text", "muted", "accent", "good", "bad", "open"):
        for below in ("ground", "surface"):
            assert contrast(colours[name], colours[below]) >= 4.5, (name, below)


def contrast(one, other):
    """Return WCAG's contrast ratio."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_motion_is_for_those_who_take_it():
    css = small_page().html().split("<style>")[1].split("</style>")[0]
    before, after = css.split("@media (prefers-reduced-motion: no-preference)")
    assert "scroll-behavior" in after
    assert not re.search(r"scroll-behavior|transition|animation", before)


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page.html"
    small_page().save(path)
    assert path.read_text("utf-8") == small_page().html()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(ArtefactError, match="a folder has this name"):
        small_page().save(tmp_path)
    with pytest.raises(ArtefactError, match="the page cannot be written"):
        small_page().save(tmp_path / "none" / "page.html")
    with pytest.raises(SettingError, match="not a page's file"):
        small_page().save(3)


def test_data_that_json_cannot_hold_are_refused():
    for data in ({"x": math.nan}, {"x": object()}):
        with pytest.raises(SettingError, match="JSON cannot hold"):
            Page("t", data=data).html()


def test_a_notebook_gets_the_page_in_a_frame_of_its_own():
    read = Reader(evil_page()._repr_html_())
    ((tag, attributes),) = read.elements
    assert tag == "iframe"
    assert attributes["srcdoc"] == evil_page().html()
    assert attributes["title"] == EVIL_SHOWN
    assert "allow-same-origin" not in attributes["sandbox"]


def test_without_jinja_the_error_names_the_extra(monkeypatch):
    _environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"nid-plugins\[report\]"):
        small_page().html()
    _environment.cache_clear()


def test_the_terminal_shows_the_same_and_takes_no_markup_from_names():
    out = io.StringIO()
    Console(file=out, width=200, highlight=False, force_terminal=True, color_system=None).print(evil_page())
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count(EVIL_SHOWN) >= 10
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(small_page())
    text = out.getvalue()
    assert re.search(r"^ *b +2\.0 +safe", text, re.MULTILINE)
    assert re.search(r"^ctr +├─+┼*─*●─+┤ +\+1\.00% \[-1\.00%, \+3\.00%\]", text, re.MULTILINE)


def test_long_tables_are_searched_and_cut_in_a_terminal():
    table = Table("Many", [Column("n")], [[str(i)] for i in range(50)], shown=5)
    assert table.searchable
    assert not Table("Few", [Column("n")], [["1"]]).searchable
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    assert "and 45 more" in out.getvalue()
    assert Page("t", [Section("s", [table])]).html().count('scope="row"') == 50


def test_what_does_not_fit_is_said():
    with pytest.raises(SettingError, match="a row does not fit"):
        Table("t", [Column("a")], [["x", "y"]])
    with pytest.raises(SettingError, match="a column without a title"):
        Table("t", [Column("")], [["x"]])
    with pytest.raises(SettingError, match="curves do not fit"):
        Lines("t", [0, 1], [Series("s", [1.0])])
    with pytest.raises(SettingError, match="curves do not fit"):
        Lines("t", [], [])
