"""The page of a detection in a real headless Chromium, as large as such pages get."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.report import Interaction, InteractionReport

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")

EVIL = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
FIELDS = [EVIL, *(f"field_{i}" for i in range(1, 40))]


@pytest.fixture(scope="module")
def report():
    """40 fields and 200 interactions of two to four fields."""
    rng = np.random.default_rng(0)
    schema = nid.FeatureSchema([nid.SparseField(name, 5) for name in FIELDS])
    sets = [tuple(FIELDS[i] for i in pair) for pair in itertools.combinations(range(20), 2)][:150]
    sets += [tuple(FIELDS[i : i + 3]) for i in range(30)] + [tuple(FIELDS[i : i + 4]) for i in range(20)]
    counts = sorted(rng.integers(1, 900, 200).tolist(), reverse=True)
    interactions = [
        Interaction(fields, count, count / 1000, float(rng.random()), math.nan, float(rng.random()))
        for fields, count in zip(sets, counts, strict=True)
    ]
    strengths = rng.random((40, 40))
    return InteractionReport(
        interactions,
        schema,
        {"name": EVIL},
        rng.random(1000),
        rng.random(1000),
        rng.integers(0, 9, 1000),
        dict.fromkeys(FIELDS, 0.1),
        strengths + strengths.T - 2 * np.diag(np.diag(strengths)),
    )


def ranking(window):
    """Return the texts of the ranking's visible rows."""
    return window.execute_script(
        "return Array.from(document.querySelector('.table table').tBodies[0].rows)"
        ".filter(row => row.offsetParent !== null).map(row => Array.from(row.cells, cell => cell.textContent))"
    )


def test_a_page_of_40_fields_and_200_interactions_is_small_and_works(report, visit):
    rng = np.random.default_rng(1)
    compared = nid.compare(rng.integers(0, 2, 500), *rng.normal(size=(2, 500)), names=(EVIL, EVIL))
    text = report.to_html(before_after=compared)
    assert len(text.encode()) < 1_000_000
    window = visit(text)
    assert len(ranking(window)) == 200
    heads = window.find_elements("css selector", ".table thead th")
    heads[4].find_element("tag name", "button").click()
    assert heads[4].get_attribute("aria-sort") == "descending"
    strengths = [float(row[4]) for row in ranking(window)]
    assert strengths == sorted(strengths, reverse=True)
    window.find_element("css selector", "input[type=search]").send_keys("field_3 field_4 field_5")
    found = ranking(window)
    assert 0 < len(found) < 20
    assert all({"field_3", "field_4", "field_5"} <= set(row[0].split(" x ")) for row in found)


def test_a_name_with_a_script_is_text_everywhere(report, visit):
    window = visit(report.to_html())
    assert window.title == "Interactions of a model"
    assert window.execute_script("return document.images.length") == 0
    assert window.execute_script("return document.scripts.length") == 2
    assert ranking(window)[0][0].startswith(EVIL)
    assert EVIL in window.execute_script(
        "return document.querySelector('svg rect title').textContent + "
        "Array.from(document.querySelectorAll('svg text title'), one => one.textContent).join(' ')"
    )


def test_pictures_have_names_and_words_and_are_not_squeezed(report, visit):
    window = visit(report.to_html())
    pictures = window.find_elements("css selector", "svg[role=img]")
    drawn = report.page().sections[1].blocks
    assert [one.accessible_name for one in pictures] == [f"{one.title} {one.description}" for one in drawn]
    for one in pictures:
        assert one.size["width"] == int(one.get_attribute("width"))


def test_on_a_phone_pictures_scroll_and_the_page_does_not(report, visit):
    window = visit(report.to_html())
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 320, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    wide, inner = window.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == inner <= 320


def test_combinations_open_and_sort(visit):
    rng = np.random.default_rng(1)
    frame = {name: rng.integers(0, 5, 500) for name in FIELDS[:3]}
    schema = nid.FeatureSchema([nid.SparseField(name, 5) for name in FIELDS[:3]])
    label, logits = rng.integers(0, 2, 500), np.zeros(500)
    crosses = nid.fit_crosses(list(itertools.combinations(FIELDS[:3], 2)), frame, schema)
    report = InteractionReport([Interaction(tuple(FIELDS[:2]), 1, 1.0, 1.0)], schema, r2=np.ones(1))
    window = visit(report.to_html(crosses=crosses, frame=frame, label=label, logits=logits))
    folded = window.find_elements("tag name", "details")
    assert [one.get_attribute("open") for one in folded] == ["true", None, None]
    folded[1].find_element("tag name", "summary").click()
    heads = folded[1].find_elements("css selector", "thead th")
    assert heads[0].text.startswith(EVIL)
    heads[2].find_element("tag name", "button").click()
    cells = window.execute_script(
        "return Array.from(arguments[0].querySelectorAll('tbody tr'), row => Number(row.cells[2].textContent))",
        folded[1],
    )
    assert cells == sorted(cells, reverse=True)
    assert len(cells) == 15
