"""``nid ab assign``: files of ids in, who gets which variant out."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nid_plugins.cli import nid
from nid_plugins.experiment import Design, Variant, assign, bucket

DESIGN = Design("x", variants=(Variant("base", 0.7), Variant("crosses", 0.3)), coverage=0.6)

for needed in ("ibis", "jsonschema", "tea_tasting", "yaml"):
    pytest.importorskip(needed, reason="nid ab needs the extra ab")


def run(*arguments):
    return CliRunner().invoke(nid, ["ab", "assign", *map(str, arguments)])


@pytest.fixture
def plan(tmp_path):
    return DESIGN.save(tmp_path / "plan.yaml")


def check(found: pd.DataFrame, ids) -> None:
    """Check units, variants and buckets against the functions of the package."""
    indices = assign(DESIGN, ids)
    assert found["unit"].tolist() == list(ids)
    assert found["variant"].tolist() == [["base", "crosses", ""][index] for index in indices]
    assert found["bucket"].tolist() == bucket(ids, "x").tolist()


def test_text_is_taken_as_it_stands(tmp_path, plan):
    ids = ["007", "7", "NA", "é,😀", "1e3", " x"] + [f"u{i}" for i in range(50)]
    pd.DataFrame({"user_id": ids, "other": 1}).to_csv(tmp_path / "ids.csv", index=False)
    done = run(plan, tmp_path / "ids.csv", "--out", tmp_path / "out.csv")
    assert done.exit_code == 0, done.output
    check(pd.read_csv(tmp_path / "out.csv", dtype={"unit": str}, keep_default_na=False), ids)
    printed = run(plan, tmp_path / "ids.csv", "--out", "-")
    check(pd.read_csv(io.StringIO(printed.output), dtype={"unit": str}, keep_default_na=False), ids)


def test_integers_of_a_parquet_file(tmp_path, plan):
    ids = np.arange(500)
    pd.DataFrame({"member": ids}).to_parquet(tmp_path / "ids.parquet")
    done = run(plan, tmp_path / "ids.parquet", "--column", "member", "--out", tmp_path / "out.parquet")
    assert done.exit_code == 0, done.output
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["unit"].dtype == np.int64
    check(found.fillna({"variant": ""}), ids.tolist())


def test_units_are_counted_once(tmp_path, plan):
    pd.DataFrame({"user_id": [f"u{i}" for i in range(100)] * 3}).to_csv(tmp_path / "ids.csv", index=False)
    done = run(plan, tmp_path / "ids.csv")
    out = int((assign(DESIGN, [f"u{i}" for i in range(100)]) < 0).sum())
    assert f"100 units, {out} of them not in the experiment" in done.output
    assert "200 rows name a unit again" in done.output


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("user_id\na\n\nb\n", ["--column", "user"], "no such column"),
        ("user_id,x\na,1\n,2\n", [], "missing at row 1"),
        ("user_id\n", [], "no rows"),
        ("user_id\na\n", ["--out", "out.txt"], "unknown ending"),
        ("user_id\na\n", ["--out", "gone/out.csv"], "no place for a file"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path, monkeypatch, plan, text, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ids.csv").write_text(text)
    done = run(plan, "ids.csv", *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert done.output.count("\n") == 1


def test_files_that_are_not_there(tmp_path, plan):
    assert "no such file" in run(plan, tmp_path / "gone.csv").output
    assert "no such file" in run(tmp_path / "gone.yaml", plan).output
