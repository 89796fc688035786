"""``nid ab design``: plans written, checked and sized from the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nid_plugins.cli import nid
from nid_plugins.experiment import Design, growthbook_payload, size

for needed in ("ibis", "jsonschema", "tea_tasting", "yaml"):
    pytest.importorskip(needed, reason="nid ab needs the extra ab")


def run(*arguments):
    return CliRunner().invoke(nid, ["ab", "design", *map(str, arguments)])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rng = np.random.default_rng(0)
    units, rows = 2_000, 12_000
    user = rng.integers(units, size=rows)
    rate = rng.beta(2, 8, units)[user]
    seconds = np.concatenate([[0, 4 * 86_400 - 1], rng.integers(4 * 86_400, size=rows - 2)])
    table = pd.DataFrame(
        {
            "user_id": user,
            "click": (rng.random(rows) < rate).astype(int),
            "base": rate,
            "timestamp": np.datetime64("2030-01-01") + seconds.astype("m8[s]"),
        }
    )
    path = tmp_path_factory.mktemp("logs") / "log.parquet"
    table.to_parquet(path)
    table.to_csv(path.with_suffix(".csv"), index=False)
    return path


def test_a_new_plan_with_its_size(tmp_path, log):
    done = run(
        *(
            tmp_path / "plan",
            "--new",
            "crosses-1",
            "--variant",
            "base=0.6=shop:base",
            "--variant",
            "crosses=0.4",
        ),
        *("--mde", 0.1, "--power", 0.9, "--covariate", "base", "--logs", log),
        *(
            "--growthbook",
            tmp_path / "gb.json",
            "--json",
            tmp_path / "plan.json",
            "--html",
            tmp_path / "plan.html",
        ),
    )
    assert done.exit_code == 0, done.output
    design = Design.load(tmp_path / "plan")
    assert [(v.name, v.weight, v.model) for v in design.variants] == [
        ("base", 0.6, "shop:base"),
        ("crosses", 0.4, ""),
    ]
    assert (design.mde, design.power, design.primary.covariate) == (0.1, 0.9, "base")
    assert design.sizing == size(design, log)
    assert f"{design.sizing.units:,}" in done.output
    assert f"{design.sizing.units_cuped:,}" in done.output
    assert json.loads((tmp_path / "gb.json").read_text("utf-8")) == growthbook_payload(design)
    assert Design.load(tmp_path / "plan.json") == design
    assert "crosses-1" in (tmp_path / "plan.html").read_text("utf-8")


def test_a_plan_is_checked_and_left_alone(tmp_path, log):
    path = Design("x", mde=0.1).save(tmp_path / "plan.yaml")
    before = path.read_bytes()
    done = run(path, "--logs", log.with_suffix(".csv"), "--units-per-day", 50_000)
    assert done.exit_code == 0, done.output
    assert f"{size(Design('x', mde=0.1), log, units_per_day=50_000).units:,}" in done.output
    assert path.read_bytes() == before


def test_the_size_is_written_into_the_plan(tmp_path, log):
    Design("x", mde=0.1).save(tmp_path / "design.json")
    assert run(tmp_path, "--logs", log, "--write").exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["design.json"]
    assert Design.load(tmp_path).sizing == size(Design("x", mde=0.1), log)


def test_what_some_days_can_find(tmp_path, log):
    path = Design("x").save(tmp_path / "plan.yaml")
    done = run(path, "--logs", log, "--days", 3, "--write", "--covariate", "base")
    assert done.exit_code == 0, done.output
    sizing = Design.load(path).sizing
    assert sizing.days == 3
    assert sizing.mde_cuped < sizing.mde


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.yaml"], "no such file"),
        (["plan.yaml", "--new", "y"], "a plan is there already"),
        (["new.yaml", "--new", "two words"], "GrowthBook"),
        (["new.yaml", "--new", "y", "--variant", "base"], "NAME=WEIGHT"),
        (["new.yaml", "--new", "y", "--variant", "a=0.5", "--variant", "b=0.6"], "overlap"),
        (["new.toml", "--new", "y"], "unknown ending"),
        (["plan.yaml", "--mde", "0.1"], "--mde; Give --new"),
        (["plan.yaml", "--variant", "a=1"], "--variant; Give --new"),
        (["plan.yaml", "--days", "3"], "--days; Give --logs"),
        (["plan.yaml", "--covariate", "base"], "--covariate; Give --logs"),
        (["plan.yaml", "--write"], "--write; Give --logs"),
        (["plan.yaml", "--logs", "gone.parquet"], "gone.parquet"),
        (["plan.yaml", "--growthbook", "gone/x.json"], "no place for a file"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Design("x").save("plan.yaml")
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert done.output.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["plan.yaml"]
