"""The explanation: it adds up, survives its file, and is shown on the instance, names as text."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import nid_plugins as nid
from nid_plugins.domains import LocalExplanation

SENTENCE = 'A <b>film</b> that is not good & "right"'


@pytest.fixture
def found(sentiment, quick):
    return nid.explain(sentiment, SENTENCE, domain="text", output="logit", **quick)


@pytest.fixture
def of_all_kinds(found):
    image = np.random.default_rng(0).integers(0, 255, (6, 6, 3)).astype(np.uint8)
    corner = {"segments": np.kron(np.arange(4).reshape(2, 2), np.ones((3, 3), int)), "off": 0}
    nodes, edges = np.ones((5, 2)), [[0, 1], [1, 2], [2, 3], [3, 4]]
    settings = {"output": "score", "perturbations": 200}
    return [
        found,
        nid.explain(
            lambda x: x[:, 0, 0, 0] * x[:, 5, 5, 0] / 9.0, image, domain="image", **corner, **settings
        ),
        nid.explain(
            lambda x: x[:, 1, 0] * x[:, 3, 0], nodes, domain="graph", edges=edges, node=2, **settings
        ),
        nid.explain(
            lambda x: x[:, 0] * x[:, 1], [1.0, 2.0, 3.0], domain="tabular", off=[0, 0, 0], **settings
        ),
        nid.explain(
            lambda s: [one[:2] == "AC" for one in s], "ACGT", domain="sequence", off="neutral", **settings
        ),
    ]


def test_the_model_adds_up_to_the_instance(of_all_kinds):
    for one in of_all_kinds:
        assert len(one) >= 1
        total = one.intercept + sum(one.effects) + sum(i.effect for i in one)
        assert total == pytest.approx(one.logit, abs=0.05)


def test_json_keeps_everything(of_all_kinds, tmp_path):
    for k, one in enumerate(of_all_kinds):
        path = tmp_path / f"{k}.json"
        one.save(path)
        again = LocalExplanation.load(path)
        assert again == one
        assert again.interactions == one.interactions or np.isnan(one.interactions[0].strength)
        assert json.loads(path.read_text("utf-8"))["schema_version"] == 1
        assert again._repr_html_() == one._repr_html_()


def test_the_table(found):
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.loc[0, "interaction"] == "not x good"
    assert frame.loc[0, "positions"] == [6, 7]
    assert found.top(1) == [("not", "good")]
    assert "not x good" in str(found)


def test_settings_tell_what_the_result_depends_on(found):
    assert found.settings["domain"] == {"name": "text", "tokenizer": None, "mask": None, "join": None}
    assert found.settings["detector"] == "least_squares"
    assert found.settings["perturbations"] == 400
    described = nid.explain(
        len_of, "a b c", domain="text", output="score", tokenizer=str.split, perturbations=50
    )
    assert described.settings["domain"]["tokenizer"] == "str.split"


def len_of(texts):
    return [float(len(text)) for text in texts]


def test_html_shows_the_words_marked_and_everything_else_as_text(found):
    html = found._repr_html_()
    assert "<mark>not</mark> <mark>good</mark>" in html
    assert "<b>film" not in html
    assert "&lt;" in html
    page = found.to_html()
    assert "<mark>not</mark> <mark>good</mark>" in page
    assert "<b>film" not in page


def test_pages_of_all_kinds(of_all_kinds, tmp_path):
    pytest.importorskip("jinja2", reason="it fills the pages")
    for one in of_all_kinds:
        path = tmp_path / "page.html"
        text = one.to_html(path, title="Mine <i>")
        assert path.read_text("utf-8") == text
        assert "Mine &lt;i&gt;" in text
        assert one.interactions[0].labels[0] in text
    assert "data:image/png;base64," in of_all_kinds[1].to_html()
    assert "<circle" in of_all_kinds[2].to_html()


def test_names_from_outside_cannot_leave_their_place(quick):
    evil = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "b", "c"]
    found = nid.explain(
        lambda x: x[:, 0, 0] * x[:, 1, 0],
        np.ones((4, 2)),
        domain="graph",
        names=evil,
        output="score",
        **quick,
    )
    for html in (found._repr_html_(), found.to_html()):
        assert "<script>alert" not in html
        assert "<img" not in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "not an explanation"),
        ({"schema_version": 2}, "newer version"),
        ({"labels": None}, "damaged"),
        ({"interactions": [{"fields": []}]}, "damaged"),
    ],
)
def test_damaged_files(found, tmp_path, change, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**found.to_dict(), **change}), "utf-8")
    with pytest.raises(nid.ArtefactError, match=message):
        LocalExplanation.load(path)


def test_files_that_are_none(found, tmp_path):
    (tmp_path / "x.json").write_text("{", "utf-8")
    for path, message in ((tmp_path / "x.json", "damaged"), (tmp_path / "y.json", "cannot be read")):
        with pytest.raises(nid.ArtefactError, match=message):
            LocalExplanation.load(path)
    with pytest.raises(nid.ArtefactError, match="a folder has this name"):
        found.save(tmp_path)
    with pytest.raises(nid.SettingError, match="not an explanation file"):
        found.save(3)
