"""``nid demo --framework keras`` in a process of its own, where TensorFlow is not imported yet."""

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


def in_a_process(runs, hash_seed):
    """Return standard error, and exit code and output of several commands: importing TensorFlow takes seconds."""
    unset = ("TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "KERAS_BACKEND")
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in unset}
        | {"PYTHONHASHSEED": hash_seed},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, json.loads(done.stdout)


def read(path, *more):
    return ["demo", "--data", str(path), "--label", "click", "--framework", "keras", *SMALL, *more]


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    lines = [f"{i * i % 5 == 1:d},{i % 3},{i * 7 % 5},{i / 2}" for i in range(600)]
    (folder / "log.csv").write_text("click,shop id,sum,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bad.csv").write_text("click,a/b\n" + "0,1\n1,2\n" * 30, encoding="utf-8")
    runs = [
        ["demo", "--framework", "keras", "--rows", "12000", *SMALL, "--out", str(folder / "out")],
        read(folder / "log.csv", "--out", str(folder / "csv")),
        read(folder / "bad.csv"),
        ["demo", "--framework", "deepctr", "--rows", "1000"],
    ]
    return folder, *in_a_process(runs, "0")


def test_the_demo_tells_the_whole_story_and_saves_it(demos):
    folder, _, ((code, output), *_) = demos
    assert code == 0, output
    assert "in Keras 3, early-stopped" in output
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


def test_the_same_seed_gives_the_same_model_in_another_process(demos):
    folder, *_ = demos
    _, ((code, output),) = in_a_process([read(folder / "log.csv", "--out", str(folder / "again"))], "1")
    assert code == 0, output
    first, again = ((folder / name / "results.json").read_bytes() for name in ("csv", "again"))
    assert first == again


def test_a_name_keras_cannot_take_is_said_in_one_line(demos):
    _, _, (_, _, (code, output), _) = demos
    assert code == 2
    assert "field 'a/b': Keras cannot take a field of this name" in output
    assert "Traceback" not in output


def test_where_tensorflow_is_imported_already_deepctr_says_what_to_set_and_when(demos):
    _, _, (*_, (code, output)) = demos
    assert code == 2
    assert (
        "DeepCTR needs TF_USE_LEGACY_KERAS=1 in the environment before tensorflow is first imported" in output
    )
    assert "Traceback" not in output


def test_nothing_but_the_demo_is_on_the_screen(demos):
    _, stderr, runs = demos
    assert stderr == ""
    for _, output in runs:
        assert not re.search(r"warning|oneDNN|cuda", output, re.IGNORECASE), output
