"""``nid report``: in the terminal, as a page, as a plot, with crosses, and what it refuses."""

from __future__ import annotations

import importlib.util
import math
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.report import Interaction, InteractionReport

needs_jinja = pytest.mark.skipif(
    importlib.util.find_spec("jinja2") is None, reason="pages are templates of Jinja2"
)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A folder with a report, crosses, rows in which ``a`` and ``b`` interact, and a model that does not know it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    rng = np.random.default_rng(0)
    frame = {"a": rng.integers(0, 3, 3000), "b": rng.integers(0, 4, 3000), "x": rng.random(3000)}
    schema = nid.FeatureSchema([nid.SparseField("a", 3), nid.SparseField("b", 4), nid.DenseField("x")])
    chance = np.where((frame["a"] == 2) & (frame["b"] == 1), 0.8, 0.25)
    table = pd.DataFrame({**frame, "click": (rng.random(3000) < chance).astype(int), "base": -1.1})
    table.to_csv(tmp_path / "rows.csv", index=False)
    nid.fit_crosses([("a", "b"), ("a", "x")], frame, schema, bins=5).save(tmp_path / "crosses")
    found = [
        Interaction(("a", "b"), 9, 0.9, 1.5, math.nan, 1.0),
        Interaction(("b", "x"), 2, 0.2, 0.5, math.nan, 0.5),
    ]
    kept = np.ones(10, dtype=np.int64)
    InteractionReport(found, schema, {"seed": 0}, np.ones(10), np.ones(10), kept).save(tmp_path / "r.json")
    (tmp_path / "flat_model.py").write_text(
        "import numpy as np\nimport nid_plugins as nid\n"
        "SCHEMA = nid.FeatureSchema([nid.SparseField('a', 3), nid.SparseField('b', 4), nid.DenseField('x')])\n\n\n"
        "def load():\n    return nid.wrap(lambda frame: np.full(len(frame['a']), -1.1), SCHEMA, output='logit')\n",
        encoding="utf-8",
    )
    yield lambda *arguments: CliRunner().invoke(command, ["report", *map(str, arguments)])
    sys.modules.pop("flat_model", None)


def test_the_terminal_shows_the_ranking(call):
    result = call("r.json")
    assert result.exit_code == 0, result.output
    assert "a x b" in result.output
    assert "90.0%" in result.output


@needs_jinja
def test_a_page_is_written(call, tmp_path):
    result = call("r.json", "--html", "out.html")
    assert result.exit_code == 0, result.output
    assert "page: out.html" in result.output
    assert (tmp_path / "out.html").read_text("utf-8") == InteractionReport.load("r.json").to_html()


@needs_jinja
@pytest.mark.parametrize("base", [("--logits", "base"), ("--model", "flat_model:load")])
def test_crosses_bring_gains_and_combinations(call, tmp_path, base):
    result = call(
        *("r.json", "--html", "out.html", "--crosses", "crosses", "--data", "rows.csv", "--label", "click"),
        *base,
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out.html").read_text("utf-8")
    assert "screened gain" in text
    assert "Strongest combinations of a x b" in text
    rows = pd.read_csv("rows.csv")
    hit = rows[(rows["a"] == 2) & (rows["b"] == 1)]
    first = text.split("Strongest combinations of a x b")[1].split("<tbody>")[1].split("</tr>")[0]
    assert ">2<" in first
    assert ">1<" in first
    assert f"{hit['click'].mean():.2%}" in first
    assert f"{1 / (1 + math.exp(1.1)):.2%}" in first


def test_a_plot_is_drawn(call, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    result = call("r.json", "--plot", "out.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    result = call("r.json", "--plot", "out.nosuch")
    assert result.exit_code == 2
    assert "the plot cannot be written" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.json",), "the report cannot be read"),
        (("rows.csv",), "the report is damaged"),
        (("r.json", "--html", "absent/out.html"), "no place for a file"),
        (("r.json", "--crosses", "crosses"), "no --data, no --label"),
        (("r.json", "--model", "flat_model:load"), "no --crosses or --after, no --data, no --label"),
        (
            ("r.json", "--crosses", "crosses", "--data", "rows.csv", "--label", "click"),
            "either --model or --logits",
        ),
        (
            ("r.json", "--crosses", "crosses", "--data", "rows.csv", "--label", "nosuch", "--logits", "base"),
            "no such column",
        ),
    ],
)
def test_it_says_what_is_wrong(call, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_without_jinja_the_terminal_still_shows_it(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "markupsafe", None)
    assert call("r.json").exit_code == 0
