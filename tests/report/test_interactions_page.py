"""The page of a detection: what it shows, of what it was given, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.crosses.offsets import sigmoid
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.report import Interaction, InteractionReport
from nid_plugins.report.combinations import strongest_combinations
from nid_plugins.report.content import Folded, Table
from nid_plugins.report.pictures import graph, heat_map, pair_strengths

pytest.importorskip("jinja2", reason="pages are templates of Jinja2")

SCHEMA = nid.FeatureSchema([nid.SparseField("site", 4), nid.DenseField("price"), nid.SparseField("hour", 3)])


def made(pairs=True, found=True):
    interactions = [
        Interaction(("site", "hour"), 8, 0.8, 1.25, math.nan, 1.0),
        Interaction(("site", "price", "hour"), 3, 0.3, 0.5, math.nan, 0.625),
    ]
    return InteractionReport(
        interactions if found else [],
        SCHEMA,
        {"seed": 3, "detector": "least_squares", "options": {"linear": False, "none": {}}},
        np.array([0.9, 0.5]),
        np.array([0.2, math.nan]),
        np.array([2, 1]),
        {"site": 0.25, "price": 0.0, "hour": 0.0},
        np.array([[0.0, 0.5, 2.0], [0.5, 0.0, 0.25], [2.0, 0.25, 0.0]]) if pairs else None,
    )


@pytest.fixture(scope="module")
def rows():
    """Rows in which site 1 at hour 2 clicks far more than the model, which sees no interaction, says."""
    rng = np.random.default_rng(0)
    n = 4000
    frame = {"site": rng.integers(0, 4, n), "price": rng.random(n), "hour": rng.integers(0, 3, n)}
    logits = np.full(n, -1.0)
    true = logits + 2.0 * ((frame["site"] == 1) & (frame["hour"] == 2))
    label = (rng.random(n) < sigmoid(true)).astype(float)
    return frame, label, logits


@pytest.fixture(scope="module")
def crosses(rows):
    return nid.fit_crosses([("site", "hour"), ("site", "price")], rows[0], SCHEMA, bins=4)


def tables(page):
    blocks = [block for section in page.sections for block in section.blocks]
    blocks += [inner for block in blocks if isinstance(block, Folded) for inner in block.blocks]
    return {block.caption: block for block in blocks if isinstance(block, Table)}


def test_the_ranking_is_that_of_the_report():
    page = made().page()
    table = tables(page)["Interactions, best first"]
    assert [column.title for column in table.columns] == [
        "interaction",
        "rank",
        "count",
        "share",
        "strength",
        "stability",
    ]
    assert list(table.rows[1]) == ["site x price x hour", 2, 3, 0.3, 0.5, 0.625]
    assert table.searchable
    assert page.subtitle == "2 interactions from 2 instances of 3 fields"


def test_its_data_are_the_report():
    text = made().to_html()
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    spec = json.loads(data)
    assert spec["format"] == "nid-plugins/interaction-report"
    assert [one["count"] for one in spec["interactions"]] == [8, 3]


def test_screened_gains_join_the_ranking_by_the_fields(rows, crosses):
    frame, label, logits = rows
    screening = nid.screen(crosses, frame, label, logits)
    page = made().page(screening=screening)
    table = tables(page)["Interactions, best first"]
    gain = next(one.gain for one in screening if one.fields == ("site", "hour"))
    assert gain > 0.005
    assert table.rows[0][6:] == [gain, screening[0].error]
    assert table.rows[1][6:] == [None, None]
    assert f"{gain:+.6f}" in page.html()


def test_the_strongest_combination_is_the_planted_one(rows, crosses):
    frame, label, logits = rows
    best = strongest_combinations(crosses, frame, label, logits)[0][0]
    hit = (frame["site"] == 1) & (frame["hour"] == 2)
    assert best.values == ("1", "2")
    assert best.rows == hit.sum()
    assert best.observed == pytest.approx(label[hit].mean())
    assert best.predicted == pytest.approx(sigmoid(-1.0))
    assert best.offset == pytest.approx(2.0, abs=0.3)
    page = made().page(crosses=crosses, frame=frame, label=label, logits=logits)
    table = tables(page)["Strongest combinations of site x hour"]
    assert list(table.rows[0]) == ["1", "2", best.rows, best.observed, best.predicted, best.offset]
    assert page.html().count("<details") == 2


def test_bins_are_told_by_their_edges(rows, crosses):
    frame, label, logits = rows
    low, mid, high = (f"{edge:.4g}" for edge in crosses.edges["price"])
    found = strongest_combinations(crosses, frame, label, logits, most=16)[1]
    assert {one.values[1] for one in found} == {
        f"below {low}",
        f"{low} to below {mid}",
        f"{mid} to below {high}",
        f"{high} or more",
    }
    counts = {one.values: one.rows for one in found}
    top = (frame["site"] == 2) & (frame["price"].astype(np.float32) >= crosses.edges["price"][2])
    assert counts["2", f"{high} or more"] == top.sum()


def test_before_and_after_are_compared():
    page = made().page(before_after={"auc": (0.75, 0.78), "log_loss": (0.0, 0.4)})
    rows = tables(page)["The model without and with the crosses"].rows
    assert rows[0][:3] == ["auc", 0.75, 0.78]
    assert rows[0][3:] == [pytest.approx(0.03), pytest.approx(0.04)]
    assert math.isnan(rows[1][4])


def test_pictures_say_in_words_what_they_show():
    report = made()
    assert heat_map(report).description == (
        "The strongest pairs of 3 fields: site x hour: 2; site x price: 0.5; price x hour: 0.25."
    )
    assert heat_map(report).body.count("<rect") == 3
    words = graph(report).description
    assert words.startswith("3 pairs of 3 fields. site x hour: 80.0% of instances; ")
    assert graph(report).body.count('class="link"') == 3


def test_without_strengths_of_pairs_those_of_the_sets_are_taken():
    report = made(pairs=False)
    assert pair_strengths(report).tolist() == [[0, 0.5, 1.25], [0.5, 0, 0.5], [1.25, 0.5, 0]]


def test_pictures_of_many_fields_hold_the_busiest():
    schema = nid.FeatureSchema([nid.DenseField(f"f{i}") for i in range(90)])
    strengths = np.zeros((90, 90))
    strengths[80, 85] = strengths[85, 80] = 1.0
    report = InteractionReport([], schema, r2=np.ones(1), pair_strengths=strengths)
    drawn = heat_map(report)
    assert "The 60 of 90 fields that interact most are shown." in drawn.note
    assert "f80 x f85: 1" in drawn.body


def test_a_report_without_interactions_says_so():
    page = made(pairs=False, found=False).page()
    assert [section.title for section in page.sections] == ["Ranking", "Explanations", "Settings"]
    assert "No interactions were found" in page.html()


def test_settings_are_laid_flat():
    facts = made().page().sections[-1].blocks[0]
    assert list(facts.pairs) == [
        ("seed", 3),
        ("detector", "least_squares"),
        ("options.linear", False),
        ("options.none", None),
    ]


def test_to_html_writes_what_it_returns(tmp_path):
    report = made()
    assert report.to_html(tmp_path / "r.html") is None
    assert (tmp_path / "r.html").read_text("utf-8") == report.to_html()
    assert report._repr_html_().startswith("<iframe")


def test_what_does_not_fit_is_refused(rows, crosses):
    frame, label, logits = rows
    report = made()
    with pytest.raises(SettingError, match="need clicks and predictions.*no frame, label, logits"):
        report.to_html(crosses=crosses)
    with pytest.raises(SettingError, match="not a screening"):
        report.to_html(screening=[1])
    with pytest.raises(SettingError, match="not crosses"):
        report.to_html(crosses="x", frame=frame, label=label, logits=logits)
    for wrong in ([1], {"auc": 1.0}, {"auc": ("a", "b")}, {"auc": (1, 2, 3)}):
        with pytest.raises(SettingError, match="before_after"):
            report.to_html(before_after=wrong)
    with pytest.raises(FrameError, match="base_logits"):
        report.to_html(crosses=crosses, frame=frame, label=label, logits=logits[:-1])
    with pytest.raises(SettingError, match="most"):
        strongest_combinations(crosses, frame, label, logits, most=0)
