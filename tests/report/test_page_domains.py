"""Explanations of domains as pages in a real browser: nothing in the console, words and segments marked."""

from __future__ import annotations

import numpy as np

import nid_plugins as nid

SETTINGS = {"output": "score", "perturbations": 200}


def test_a_sentence(visit):
    found = nid.explain(
        lambda texts: [2.0 * ("not" in text and "good" in text) for text in texts],
        "This is not good, <b>really</b>",
        domain="text",
        **SETTINGS,
    )
    browser = visit(found.to_html(title="A sentence"))
    assert [one.text for one in browser.find_elements("css selector", "figure mark")][:2] == ["not", "good"]
    assert "<b>really</b>" in browser.find_element("css selector", "figure").text


def test_a_picture_and_a_graph(visit):
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    found = nid.explain(
        lambda x: 1e-4 * x[:, 0, 0, 0] * x[:, 15, 15, 0],
        image,
        domain="image",
        segments="grid",
        count=4,
        off=0,
        **SETTINGS,
    )
    browser = visit(found.to_html())
    width = "return document.querySelector('figure svg image').getBoundingClientRect().width"
    assert browser.execute_script(width) > 100
    assert len(browser.find_elements("css selector", "figure svg path")) == 3
    edges = [[0, 1], [1, 2], [2, 3]]
    found = nid.explain(
        lambda x: x[:, 1, 0] * x[:, 3, 0], np.ones((4, 2)), domain="graph", edges=edges, node=2, **SETTINGS
    )
    browser = visit(found.to_html())
    assert len(browser.find_elements("css selector", "figure svg circle")) == 4
