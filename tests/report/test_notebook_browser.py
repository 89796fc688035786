"""What a notebook shows, several results in one document: nothing of the document reaches into them, nor they out."""

from __future__ import annotations

import functools
import http.server
import threading

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.report import Interaction, InteractionReport

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")

STYLE = """
body { background: rgb(20, 20, 60); color: rgb(240, 240, 200); font: 20px monospace; margin: 7px }
h1 { color: rgb(255, 0, 0); letter-spacing: 9px }
table, nav { display: none }
#section-1, .muted, .table { visibility: hidden }
"""
LOOK = """
const css = getComputedStyle(document.querySelector(arguments[0]));
return [css.color, css.fontFamily, css.letterSpacing, css.backgroundColor, css.display, css.marginTop];
"""


def results():
    """A report of fields, a comparison, and explanations of a text and of a graph."""
    rng = np.random.default_rng(0)
    schema = nid.FeatureSchema([nid.DenseField(name) for name in "abc"])
    found = [Interaction(("a", "b"), 9, 0.9, 1.5), Interaction(("b", "c"), 2, 0.2, 3.5)]
    report = InteractionReport(found, schema, {"seed": 0}, np.ones(10))
    logits = rng.normal(-1, 1, 300)
    label = (rng.random(300) < 1 / (1 + np.exp(-logits))).astype(int)
    comparison = nid.compare(label, np.full(300, -1.0), logits)
    settings = {"output": "score", "perturbations": 200}
    text = nid.explain(
        lambda texts: [2.0 * ("not" in text and "good" in text) for text in texts],
        "This is not good",
        domain="text",
        **settings,
    )
    graph = nid.explain(
        lambda x: x[:, 1, 0] * x[:, 3, 0],
        np.ones((4, 2)),
        domain="graph",
        edges=[[0, 1], [1, 2], [2, 3]],
        node=2,
        **settings,
    )
    return report, comparison, text, graph


def notebook(*cells):
    outputs = "".join(f"<div class='output'>{one._repr_html_()}</div>" for one in cells)
    return (
        f"<!doctype html><html><head><title>Notebook</title><link rel=icon href='data:,'><style>{STYLE}</style></head>"
        f"<body><h1>Notebook</h1><p>words</p>{outputs}</body></html>"
    )


def test_pages_in_one_notebook_are_apart_from_it_and_from_each_other(visit):
    report, comparison, *_ = results()
    window = visit(notebook())
    alone = [window.execute_script(LOOK, one) for one in ("body", "h1", "p")]
    window = visit(notebook(report, comparison, report))
    assert [window.execute_script(LOOK, one) for one in ("body", "h1", "p")] == alone
    assert window.title == "Notebook"
    assert window.execute_script("return document.querySelectorAll('[id], script').length") == 0
    frames = window.find_elements("tag name", "iframe")
    titles = ["Interactions of a model", "Two models compared", "Interactions of a model"]
    assert [one.get_attribute("title") for one in frames] == titles
    orders = []
    for number, title in enumerate(titles):
        window.switch_to.frame(number)
        head, table = (window.find_element("css selector", one) for one in ("h1", ".table table"))
        assert head.text == title
        assert table.is_displayed()
        colour, font, spacing, *_ = window.execute_script(LOOK, "h1")
        assert colour == "rgb(27, 31, 36)"
        assert "monospace" not in font
        assert spacing == "normal"
        if number == 0:  # sorted by strength; the same report below stays as it was
            window.find_elements("css selector", ".table thead button")[4].click()
        orders.append([row.text for row in table.find_elements("css selector", "tbody th")])
        window.switch_to.default_content()
    assert orders[0] == ["b x c", "a x b"]
    assert orders[2] == ["a x b", "b x c"]


def test_explanations_take_the_notebook_s_look_and_leave_it_alone(visit):
    *_, text, graph = results()
    window = visit(notebook())
    alone = [window.execute_script(LOOK, one) for one in ("body", "h1", "p")]
    window = visit(notebook(text, graph, text))
    assert [window.execute_script(LOOK, one) for one in ("body", "h1", "p")] == alone
    count = "return document.querySelectorAll('.output style, .output script, .output link, .output [id], .output [class]').length"
    assert window.execute_script(count) == 0
    marks = [one.text for one in window.find_elements("css selector", ".output mark")]
    assert marks[:2] == marks[-2:] == ["not", "good"]
    label = window.find_element("css selector", ".output svg text")
    assert label.value_of_css_property("fill") == "rgb(240, 240, 200)"
    (picture,) = window.find_elements("css selector", ".output [role=img]")
    assert picture.accessible_name == "The instance with node 1 [1], node 3 [2] marked."


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def test_links_to_sections_stay_in_their_frame(browser, tmp_path):
    """On a server, as notebooks are: a frame's links are taken from the address of the document around it."""
    report, comparison, *_ = results()
    (tmp_path / "notebook.html").write_text(notebook(report, comparison), encoding="utf-8")
    serve = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/notebook.html")
        browser.switch_to.frame(1)
        link = browser.find_elements("css selector", "nav a")[2]
        assert link.text == "Settings"
        link.click()
        assert browser.find_element("tag name", "h1").text == "Two models compared"
        assert browser.execute_script("return document.activeElement.id") == "section-3"
        assert browser.execute_script("return document.documentElement.scrollTop") > 100
        browser.switch_to.default_content()
        assert browser.title == "Notebook"
        server.shutdown()
    assert browser.get_log("browser") == []


def test_frames_fit_a_narrow_notebook(visit):
    report, comparison, *_ = results()
    window = visit(notebook(report, comparison))
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    sizes = "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    try:
        wide, inner = window.execute_script(sizes)
        assert wide == inner <= 360
        for number in range(2):
            window.switch_to.frame(number)
            wide, inner = window.execute_script(sizes)
            assert wide == inner <= 360
            window.switch_to.default_content()
    finally:
        window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
