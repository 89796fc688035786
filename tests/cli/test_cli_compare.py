"""``nid compare`` and the models after of ``nid report``: in the terminal, as a page, as JSON, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.metrics import sigmoid
from nid_plugins.report import Interaction, InteractionReport

needs_jinja = pytest.mark.skipif(
    importlib.util.find_spec("jinja2") is None, reason="pages are templates of Jinja2"
)
MODELS = """
import numpy as np
import nid_plugins as nid

SCHEMA = nid.FeatureSchema([nid.SparseField('a', 3), nid.SparseField('b', 4)])


def base():
    return nid.wrap(lambda rows: np.full(len(rows['a']), -1.1), SCHEMA, output='logit')


def injected():
    return nid.wrap(lambda rows: -1.1 + 2.5 * ((rows['a'] == 2) & (rows['b'] == 1)), SCHEMA, output='logit')


def bare():
    return lambda rows: -1.1 + 2.5 * ((rows['a'] == 2) & (rows['b'] == 1))
"""
ROWS = ("--data", "rows.parquet", "--label", "click")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A folder with rows in which ``a`` and ``b`` interact, two models, their scores as columns, and a report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    rng = np.random.default_rng(0)
    frame = {"a": rng.integers(0, 3, 3000), "b": rng.integers(0, 4, 3000)}
    logits = -1.1 + 2.5 * ((frame["a"] == 2) & (frame["b"] == 1))
    pd.DataFrame(
        {
            **frame,
            "click": (rng.random(3000) < sigmoid(logits)).astype(int),
            "base_logit": np.full(3000, -1.1),
            "injected_logit": logits,
            "base_chance": sigmoid(np.full(3000, -1.1)) + 1e-6 * frame["a"],
            "injected_chance": sigmoid(logits),
            "user": [f"u{i // 3}" for i in range(3000)],
            "weight": rng.random(3000) + 0.5,
            "gap": np.where(np.arange(3000) == 5, np.nan, -1.0),
            "never": 0,
        }
    ).to_parquet("rows.parquet")
    (tmp_path / "two_models.py").write_text(MODELS, encoding="utf-8")
    schema = nid.FeatureSchema([nid.SparseField("a", 3), nid.SparseField("b", 4)])
    (tmp_path / "schema.json").write_text(json.dumps(schema.to_dict()), encoding="utf-8")
    InteractionReport(
        [Interaction(("a", "b"), 9, 0.9, 1.5)], schema, {"seed": 0}, *np.ones((3, 10), dtype=int)
    ).save("r.json")
    nid.fit_crosses([("a", "b")], frame, schema).save("crosses")
    yield lambda *arguments: CliRunner().invoke(command, list(map(str, arguments)))
    sys.modules.pop("two_models", None)


def expected(**options):
    table = pd.read_parquet("rows.parquet")
    return nid.compare(table["click"], table["base_logit"], table["injected_logit"], **options)


@pytest.mark.parametrize(
    "models",
    [
        ("--model", "two_models:base", "--after", "two_models:injected"),
        ("--logits", "base_logit", "--after-logits", "injected_logit"),
        ("--model", "two_models:base", "--after-logits", "injected_logit"),
        (
            "--logits",
            "base_logit",
            "--after",
            "two_models:bare",
            "--schema",
            "schema.json",
            "--output",
            "logit",
        ),
    ],
)
def test_models_and_columns_are_compared_alike(call, tmp_path, models):
    result = call("compare", *ROWS, *models, "--out", "c.json")
    assert result.exit_code == 0, result.output
    assert "The model after predicts better" in result.output
    assert "comparison: c.json" in result.output
    found = nid.ModelComparison.load("c.json")
    assert found.measures == expected().measures
    assert found.names == tuple(
        f"column {name}" if "logit" in name else name for name in (models[1], models[3])
    )
    for one in found:
        assert f"{one.after:.5f}" in result.output


def test_columns_of_probabilities_are_asked_for(call):
    models = ("--logits", "base_chance", "--after-logits", "injected_chance")
    result = call("compare", *ROWS, *models)
    assert result.exit_code == 2
    assert "field 'base_chance': logits that look like probabilities" in result.output
    assert "--output" in result.output
    result = call("compare", *ROWS, *models, "--output", "probability", "--out", "c.json")
    assert result.exit_code == 0, result.output
    found, truth = nid.ModelComparison.load("c.json")["log_loss"], expected()["log_loss"]
    assert (found.before, found.after) == pytest.approx((truth.before, truth.after), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (("--kept", 0.25), {"kept": 0.25}),
        (("--weights", "weight"), {"weights": "weight"}),
        (("--units", "user"), {"units": "user"}),
    ],
)
def test_weights_and_units_are_columns(call, options, settings):
    models = ("--logits", "base_logit", "--after-logits", "injected_logit")
    assert call("compare", *ROWS, *models, *options, "--out", "c.json").exit_code == 0
    table = pd.read_parquet("rows.parquet")
    read = {name: table[value] if isinstance(value, str) else value for name, value in settings.items()}
    assert nid.ModelComparison.load("c.json").measures == expected(**read).measures
    assert expected(**read).measures != expected().measures


@needs_jinja
def test_a_comparison_is_a_page(call, tmp_path):
    result = call(
        "compare", *ROWS, "--logits", "base_logit", "--after", "two_models:injected", "--html", "out.html"
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out.html").read_text("utf-8")
    assert "Two models compared" in text
    assert "column base_logit and two_models:injected, on 3,000 rows" in text


@needs_jinja
@pytest.mark.parametrize("crosses", [(), ("--crosses", "crosses")])
def test_a_report_shows_what_the_crosses_changed(call, tmp_path, crosses):
    models = ("--model", "two_models:base", "--after", "two_models:injected", "--units", "user")
    result = call("report", "r.json", "--html", "out.html", *crosses, *ROWS, *models)
    assert result.exit_code == 0, result.output
    assert "The model after predicts better" in result.output
    text = (tmp_path / "out.html").read_text("utf-8")
    assert "Calibration by bins of predictions" in text
    assert ("Strongest combinations" in text) == bool(crosses)
    table = pd.read_parquet("rows.parquet")
    change = expected(units=table["user"])["auc"]
    assert f"{change.low:+.3g} to {change.high:+.3g}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--after-logits", "injected_logit"), "a comparison takes a model before"),
        (("--logits", "base_logit"), "a comparison takes a model after"),
        (("--logits", "base_logit", "--kept", "0.5"), "these are for a comparison with a model after"),
        (
            ("--logits", "base_logit", "--after", "two_models:base", "--after-logits", "injected_logit"),
            "two models after",
        ),
        (
            ("--logits", "nosuch", "--after-logits", "injected_logit"),
            "field 'nosuch': rows.parquet has no such column",
        ),
        (("--logits", "base_logit", "--after-logits", "nosuch"), "no such column"),
        (("--logits", "base_logit", "--after-logits", "user"), "'user'"),
        (("--logits", "base_logit", "--after-logits", "gap"), "field 'gap': a score is not finite, or huge"),
        (
            ("--logits", "base_logit", "--after-logits", "injected_logit", "--units", "nosuch"),
            "no such column",
        ),
        (("--logits", "base_logit", "--after-logits", "injected_logit", "--kept", "2"), "kept is no share"),
        (("--logits", "base_logit", "--after", "two_models:nosuch"), "has no 'nosuch'"),
        (
            ("--logits", "base_logit", "--after-logits", "injected_logit", "--label", "never"),
            "both clicks and rows without",
        ),
        (
            ("--logits", "base_logit", "--after-logits", "injected_logit", "--label", "weight"),
            "labels must be 0 or 1",
        ),
        (
            ("--logits", "base_logit", "--after-logits", "injected_logit", "--out", "absent/c.json"),
            "no place for a file",
        ),
        (
            ("--logits", "base_logit", "--after-logits", "injected_logit", "--html", "absent/c.html"),
            "no place for a file",
        ),
    ],
)
def test_it_says_what_is_wrong(call, arguments, message):
    result = call("compare", *ROWS, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--after", "two_models:injected"), "no --data, no --label"),
        ((*ROWS, "--model", "two_models:base"), "no --crosses or --after"),
        ((*ROWS, "--after", "two_models:injected"), "either --model or --logits"),
        (("--kept", "0.5"), "these are for a comparison with a model after"),
        ((*ROWS, "--model", "two_models:base", "--after", "x:y", "--after-logits", "z"), "two models after"),
    ],
)
def test_a_report_says_what_is_missing(call, arguments, message):
    result = call("report", "r.json", *arguments)
    assert result.exit_code == 2
    assert message in result.output
