"""``nid demo`` in processes where TensorFlow is not imported yet, and what every framework's demo must have said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import nid_plugins as nid
from nid_plugins.simulate import simulate

SMALL = ["--instances", "16", "--perturbations", "300", "--max-crosses", "12"]
_RUNS = """
import json, sys
from click.testing import CliRunner
from nid_plugins.cli import nid
results = [CliRunner().invoke(nid, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.output] for result in results]))
"""


def in_a_process(runs, **environment):
    """Return standard error, and exit code and output of several commands: importing TensorFlow takes seconds."""
    unset = ("TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "KERAS_BACKEND")
    done = subprocess.run(
        [sys.executable, "-c", _RUNS, json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in unset} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, json.loads(done.stdout)


def assert_the_whole_story(run, folder, framework):
    """A run on simulated clicks tells every step, and saves what it says."""
    code, output = run
    assert code == 0, output
    assert f"in {framework}, early-stopped" in output
    for step in ("Simulate clicks", "Train a DeepFM", "Detect", "Cross and screen", "Inject"):
        assert step in output
    assert re.search(r"\d of 5 planted pairs are among the first 5 pairs; picked at random: 0\.2", output)
    saved = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert list(saved["arms"])[-1] == "+ detected crosses"
    for arm in saved["arms"].values():
        assert 0.55 < arm["auc"] < 1
        assert f"{arm['auc']:.4f}" in output
    assert saved["arms"]["+ detected crosses"]["auc"] > saved["arms"]["DeepFM"]["auc"]
    report = nid.InteractionReport.load(folder / "report.json")
    assert report.schema == simulate(10, seed=0).schema
    assert list(nid.CrossFeatures.load(folder / "crosses").names) == saved["crosses"]


def assert_a_csv_was_read(run):
    """A run on the 600 rows of a file gets to detection."""
    code, output = run
    assert code == 0, output
    assert "600 rows, 2 categorical fields" in output
    assert "Detect" in output


def assert_silent(stderr, runs):
    """Nothing but the demo is on the screen."""
    assert stderr == ""
    for _, output in runs:
        assert not re.search(r"warning|oneDNN|cuda", output, re.IGNORECASE), output
