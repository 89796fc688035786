"""``nid demo --framework deepctr`` in a process of its own, where TensorFlow is not imported yet."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import nid_plugins as nid
from nid_plugins.simulate import simulate

SMALL = ["--instances", "16", "--perturbations", "300", "--max-crosses", "12"]
RUNS = """
import json, sys
from click.testing import CliRunner
from nid_plugins.cli import nid
results = [CliRunner().invoke(nid, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.output] for result in results]))
"""


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Three runs in one process: importing TensorFlow takes seconds."""
    folder = tmp_path_factory.mktemp("demo")
    lines = [f"{i % 3 == 0:d},{i % 3},{i * 7 % 5},{i / 2}" for i in range(600)]
    (folder / "log.csv").write_text("click,shop,type,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bad.csv").write_text("click,shop id\n" + "0,1\n1,2\n" * 30, encoding="utf-8")
    (folder / "numbers.csv").write_text("click,price\n" + "0,1.5\n1,2.5\n" * 30, encoding="utf-8")
    read = ["--label", "click", "--framework", "deepctr", *SMALL]
    runs = [
        ["demo", "--framework", "deepctr", "--rows", "12000", *SMALL, "--out", str(folder / "out")],
        ["demo", "--data", str(folder / "log.csv"), *read],
        ["demo", "--data", str(folder / "bad.csv"), *read],
        ["demo", "--data", str(folder / "numbers.csv"), *read],
    ]
    unset = ("TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "KERAS_BACKEND")
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in unset},
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stderr, json.loads(done.stdout)


def test_the_demo_tells_the_whole_story_and_saves_it(demos):
    folder, _, ((code, output), *_) = demos
    assert code == 0, output
    assert "in DeepCTR, early-stopped" in output
    for step in ("Simulate clicks", "Train a DeepFM", "Detect", "Cross and screen", "Inject"):
        assert step in output
    assert re.search(r"\d of 5 planted pairs are among the first 5 pairs; picked at random: 0\.2", output)
    saved = json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(saved["arms"])[-1] == "+ detected crosses"
    for arm in saved["arms"].values():
        assert 0.55 < arm["auc"] < 1
        assert f"{arm['auc']:.4f}" in output
    assert saved["arms"]["+ detected crosses"]["auc"] > saved["arms"]["DeepFM"]["auc"]
    report = nid.InteractionReport.load(folder / "out" / "report.json")
    assert report.schema == simulate(10, seed=0).schema
    assert list(nid.CrossFeatures.load(folder / "out" / "crosses").names) == saved["crosses"]


def test_a_csv_is_read_and_trained_on(demos):
    _, _, (_, (code, output), *_) = demos
    assert code == 0, output
    assert "600 rows, 2 categorical fields" in output
    assert "Detect" in output


def test_fields_deepctr_cannot_take_are_said_in_one_line(demos):
    _, _, (*_, name, numbers) = demos
    assert name[0] == numbers[0] == 2
    assert "field 'shop id': DeepCTR cannot take a field of this name" in name[1]
    assert "DeepCTR's DeepFM needs a categorical field" in numbers[1]
    assert "Traceback" not in name[1] + numbers[1]


def test_nothing_but_the_demo_is_on_the_screen(demos):
    _, stderr, runs = demos
    assert stderr == ""
    for _, output in runs:
        assert not re.search(r"warning|oneDNN|cuda", output, re.IGNORECASE), output
