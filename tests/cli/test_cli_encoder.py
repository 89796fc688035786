"""``nid detect``, ``nid cross`` and ``nid screen`` on raw values, which a saved encoder codes."""

from __future__ import annotations

import sys

import pandas as pd
from click.testing import CliRunner

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.readers import Encoder


def call(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_raw_rows_are_coded_by_a_saved_encoder(tmp_path, monkeypatch):
    raw = pd.DataFrame({"site": ["s1", "s2", "s3", "s1"] * 50, "price": [0.5, 1.5, 2.5, 3.5] * 50})
    raw.assign(click=[1, 0, 0, 1] * 50).to_csv(tmp_path / "raw.csv", index=False)
    encoder = Encoder.fit(raw)
    encoder.save(tmp_path / "encoder.json")
    (tmp_path / "bare.py").write_text(
        "def load():\n    return lambda frame: (frame['site'] == 2) * frame['price']\n", encoding="utf-8"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    options = ("--encoder", tmp_path / "encoder.json", "--output", "logit")
    small = ("--instances", 10, "--perturbations", 100, "--no-progress")
    result = call(
        "detect", "bare:load", "--rows", tmp_path / "raw.csv", "--out", tmp_path / "r.json", *options, *small
    )
    assert result.exit_code == 0, result.output
    assert nid.InteractionReport.load(tmp_path / "r.json").schema == encoder.schema
    result = call(
        "cross", tmp_path / "r.json", "--train", tmp_path / "raw.csv", "--out", tmp_path / "c", *options[:2]
    )
    assert result.exit_code == 0, result.output
    result = call(
        "screen",
        tmp_path / "c",
        "--data",
        tmp_path / "raw.csv",
        "--label",
        "click",
        "--model",
        "bare:load",
        *options,
    )
    sys.modules.pop("bare")
    assert result.exit_code == 0, result.output
