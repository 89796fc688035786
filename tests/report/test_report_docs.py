"""The page on reports: its code runs from top to bottom, and writes what it says."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.crosses.offsets import sigmoid

TEXT = (Path(__file__).parents[2] / "docs" / "report.md").read_text("utf-8")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page takes for granted: a model of two interacting fields, rows and clicks."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    schema = nid.FeatureSchema([nid.SparseField("a", 4), nid.SparseField("b", 4), nid.DenseField("x")])
    columns = {"a": rng.integers(0, 4, 3000), "b": rng.integers(0, 4, 3000), "x": rng.random(3000)}
    frame = pd.DataFrame(columns)

    def model(rows):
        return 1.5 * (rows["a"] == 1) * (rows["b"] == 2) + 0.3 * rows["x"] - 1

    chance = sigmoid(np.asarray(model(frame) + 1.0 * ((frame["a"] == 3) & (frame["b"] == 3))))
    label = (rng.random(3000) < chance).astype(int)
    return {
        "nid": nid,
        "box": nid.wrap(model, schema, output="logit"),
        "schema": schema,
        "train": frame[:1500],
        "valid": frame[1500:],
        "label": label[1500:],
        "target_logits": np.asarray(model(frame) + 1.0 * ((frame["a"] == 3) & (frame["b"] == 3)))[1500:],
    }


def test_the_code_on_the_page_runs(names, tmp_path, capsys):
    pytest.importorskip("jinja2", reason="the page writes one")
    pytest.importorskip("matplotlib", reason="the page draws")
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=nid.errors.NidWarning)  # fewer crosses than ten
        for number, code in enumerate(blocks):
            exec(compile(code, f"report.md, block {number}", "exec"), names)  # noqa: S102 - our own documentation
    assert names["report"].top(1) == [("a", "b")]
    printed = capsys.readouterr().out
    # The first is what the model does not know, not what it knows.
    assert re.search(r"^a__x__b \('3', '3'\)", printed, re.MULTILINE)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "screened gain" in page
    assert "Strongest combinations of a x b" in page
    assert "The model after predicts better" in page
    assert re.search(r"^better \+?0\.\d", printed, re.MULTILINE)
    assert {"report.json", "comparison.json", "comparison.html", "ranking.png", "map.svg"} <= {
        path.name for path in tmp_path.iterdir()
    }

    lines = re.search(r"^```console\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1].splitlines()
    names["crosses"].save("crosses")
    columns = {"click": names["label"], "base": names["logits"], "injected": names["target_logits"]}
    names["valid"].assign(**columns).to_parquet("valid.parquet")
    for line in lines:
        # The models of the page are this test's, of which there is no module: their logits are columns.
        line = line.replace("--model my_models:load", "--logits base")  # noqa: PLW2901
        line = line.replace("--after my_models:load_injected", "--after-logits injected")  # noqa: PLW2901
        arguments = shlex.split(line, comments=True)
        result = CliRunner().invoke(command, arguments[1:])
        assert result.exit_code == 0, result.output


def test_sections_are_those_of_the_page(names):
    report = nid.detect(names["box"], names["train"], instances=20, seed=0, progress=False)
    crosses = nid.fit_crosses([("a", "b")], names["train"], names["schema"])
    page = report.page(
        crosses=crosses,
        frame=names["valid"],
        label=names["label"],
        logits=names["box"].logits(names["valid"]),
        before_after=nid.compare(names["label"], names["box"].logits(names["valid"]), names["target_logits"]),
    )
    table = re.search(r"^\| section \| \|\n(.*?)\n\n", TEXT, re.DOTALL | re.MULTILINE)[1]
    assert [section.title for section in page.sections] == re.findall(
        r"^\| ([A-Z][^|]*?) \|", table, re.MULTILINE
    )
