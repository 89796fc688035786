"""``nid demo``, for real but small: simulated clicks, a CSV, and what is said when there is no gain."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import nid_plugins as nid
from nid_plugins.cli import nid as command
from nid_plugins.cli import story
from nid_plugins.cli.demo import demo
from nid_plugins.cli.trial import Arm
from nid_plugins.readers import Encoder
from nid_plugins.simulate import simulate

SMALL = ["--instances", "16", "--perturbations", "300"]


def run(*arguments):
    return CliRunner().invoke(command, ["demo", *SMALL, *arguments])


@pytest.mark.parametrize(("framework", "title"), [("deepctr-torch", "DeepCTR-Torch"), ("torch", "PyTorch")])
def test_the_demo_tells_the_whole_story_and_saves_it(framework, title, tmp_path):
    small = ("--rows", "12000", "--max-crosses", "12", "--out", str(tmp_path / "out"))
    result = run("--framework", framework, *small)
    assert result.exit_code == 0, result.output
    assert f"in {title}, early-stopped" in result.output
    for step in ("Simulate clicks", "Train a DeepFM", "Detect", "Cross and screen", "Inject"):
        assert step in result.output
    log = simulate(10, seed=0)
    for one in log.planted:
        assert " x ".join(one.fields) in result.output
    assert re.search(
        r"\d of 5 planted pairs are among the first 5 pairs; picked at random: 0\.2", result.output
    )
    saved = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    for arm in saved["arms"].values():
        assert 0.5 < arm["auc"] < 1
        assert f"{arm['auc']:.4f}" in result.output
        assert f"{arm['log_loss']:.4f}" in result.output
    report = nid.InteractionReport.load(tmp_path / "out" / "report.json")
    assert report.schema == log.schema
    crosses = nid.CrossFeatures.load(tmp_path / "out" / "crosses")
    assert list(crosses.names) == saved["crosses"]
    assert (
        nid.FeatureSchema.from_dict(json.loads((tmp_path / "out" / "schema.json").read_text())) == log.schema
    )


@pytest.mark.parametrize("framework", ["deepctr-torch", "torch"])
def test_the_same_seed_gives_the_same_run(framework):
    first, again, other = (
        run("--framework", framework, "--rows", "1500", "--seed", seed) for seed in ("3", "3", "4")
    )
    cut = [result.output.partition("Done in")[0] for result in (first, again, other)]
    assert cut[0] == cut[1] != cut[2]


@pytest.mark.parametrize("framework", ["deepctr-torch", "torch"])
def test_a_csv_is_read_trained_on_and_its_coding_saved(framework, tmp_path):
    log = simulate(3000, seed=1)
    path = tmp_path / "log.csv"
    columns = {
        "click": log.label,
        **{name: log.frame[name] for name in ("device", "browser", "hour", "price")},
    }
    rows = zip(*columns.values(), strict=True)
    path.write_text(
        "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]), encoding="utf-8"
    )
    read_as = ("--label", "click", "--exclude", "hour")
    result = run("--framework", framework, "--data", str(path), *read_as, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "3,000 rows, 2 categorical fields" in result.output
    assert "2,400/300/300 rows, at random" in re.sub(r"\s+", " ", result.output)
    assert Encoder.load(tmp_path / "out" / "encoder.json").schema.names == ("device", "browser", "price")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "click"], "--label says how to read a file"),
        (["--rows", "5"], "too few rows to split"),
        (["--data", "absent.csv", "--label", "y"], "no such file"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_csv_needs_a_label(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,0\n", encoding="utf-8")
    result = run("--data", str(path))
    assert result.exit_code == 2
    assert "which column is the label" in result.output


def arm(title, logit, label):
    return Arm(title, title, None, 1, logit, label)


@pytest.fixture
def label():
    return np.random.default_rng(0).integers(0, 2, 2000)


def test_the_verdict_is_a_gain_only_against_every_other_arm(label):
    noise = np.random.default_rng(1).normal(size=2000)
    right = np.where(label == 1, 1.0, -1.0)
    weak, good, better = (
        arm(name, noise + s * right, label) for name, s in (("weak", 0), ("good", 1), ("better", 2))
    )
    assert "help" in story.verdict(better, [weak, good])
    assert "against good" in story.verdict(better, [weak, good])
    assert "No gain" in story.verdict(good, [weak, good])
    assert "behind another" in story.verdict(good, [weak, better])
    assert "hurt" in story.verdict(weak, [good, weak])
    assert "against good" in story.verdict(weak, [good, weak])


def test_an_identical_model_is_no_gain(label):
    one = arm("one", np.zeros(2000), label)
    assert "No gain" in story.verdict(one, [one, one])


def test_recall_counts_pairs_by_hand():
    log = simulate(10, planted=(("device", "os"), ("hour", "segment", "price")))
    found = [("device", "os"), ("os", "hour"), ("hour", "price"), ("device", "os", "hour")]
    report = nid.InteractionReport(
        [nid.Interaction(fields, 10 - i, 0.5, 1.0) for i, fields in enumerate(found)],
        log.schema,
        {"perturbations": 100},
        r2=np.ones(10),
        r2_linear=np.ones(10),
    )
    console = Console(width=200, record=True, file=io.StringIO())
    story.planted_and_found(console, log.planted, report)
    text = console.export_text()
    assert "1 of 1 planted pairs are among the first 1 pairs; picked at random: 0.0" in text
    assert "2 of 4 pairs that truly interact" in text
    assert "not planted, but among the first 2: os x hour" in text
    assert re.search(r"segment x hour x price +- +its pairs: -, -, 3", text)


def test_options_are_documented():
    assert all(getattr(option, "help", None) for option in demo.params)


@pytest.mark.parametrize("name", ["shop.id", "type"])
def test_a_name_deepctr_torch_cannot_take_is_said_in_one_line(name, tmp_path):
    lines = [f"{i % 2},{i % 3},{i / 2}" for i in range(60)]
    (tmp_path / "log.csv").write_text(f"click,{name},price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    result = run("--data", str(tmp_path / "log.csv"), "--label", "click")
    assert result.exit_code == 2
    assert "cannot take a field of this name" in result.output
    assert "Traceback" not in result.output
