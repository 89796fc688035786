"""The guide to A/B tests is run from its first block to its last, as one script, on two small models and simulated users."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BEFORE = """
import numpy as np

import nid_plugins as nid
from nid_plugins.simulate import simulate

rng = np.random.default_rng(0)
log = simulate(16_000, seed=0)
schema = log.schema
online = 1 / (1 + np.exp(-log.logit))


def crossed(frame):
    # As good as it gets: the true probability of a row, looked up by the row's number.
    return online[frame["row"]]


schema = nid.FeatureSchema([*schema, nid.SparseField("row", len(online))])
crossed = nid.wrap(crossed, schema, output="probability")
base = nid.wrap(lambda frame: 0.1 * frame[log.schema.names[-1]] - 1, schema, output="logit")
frame = {**log.frame, "row": np.arange(len(online))}
past = {
    "user_id": np.repeat(np.arange(1000), 8),
    "click": log.label[:8000],
    "covariate": np.repeat(rng.random(1000), 8) + log.label[:8000] * 0.2,
}


def batches():
    for start in range(0, 16_000, 400):
        rows = slice(start, start + 400)
        users = np.repeat(rng.integers(0, 800, 200), 2)
        yield users, {name: np.asarray(values)[rows] for name, values in frame.items()}


requests = batches()


def best_of(users, predictions):
    return np.arange(0, len(predictions), 2) + predictions.reshape(-1, 2).argmax(axis=1)


def clicks_on(candidates, row):
    return rng.random() < online[candidates["row"][row]]
"""


def blocks():
    text = (ROOT / "docs" / "ab.md").read_text("utf-8")
    return [
        textwrap.dedent(code) for code in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def test_the_guide_runs_from_the_plan_to_the_decision(tmp_path):
    for needed in ("tea_tasting", "ibis", "duckdb", "pyarrow", "jinja2", "yaml", "jsonschema"):
        pytest.importorskip(needed, reason="the guide needs the extra ab")
    assert len(blocks()) == 6
    (tmp_path / "guide.py").write_text("\n".join([BEFORE, *blocks()]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    from nid_plugins.experiment import Analysis, Design

    result = Analysis.load(tmp_path / "ab" / "result.json")
    assert f"\n{result.decision} {result.variant}\n" in done.stdout
    assert result.sample_ratio.passes
    # Which of the two is faster is this machine's affair; which is better is not.
    assert result.effect(sequential=True).relative_low > 0
    assert {v.effect.metric: v.status for v in result.guardrails}["calibration"] == "safe"
    assert Design.load(tmp_path / "ab") == result.design
    assert result.design.sizing is not None
    assert re.search(
        r"^\d+ units, \d+ days\n\d+ units, \d+ days with the covariate", done.stdout, re.MULTILINE
    )
    assert {path.name for path in (tmp_path / "ab").iterdir()} == {
        "design.yaml",
        "exposures",
        "result.json",
        "result.html",
    }


def test_decisions_and_columns_of_the_guide_are_those_of_the_code():
    pytest.importorskip("numpy")
    from nid_plugins.experiment.exposures import COLUMNS
    from nid_plugins.experiment.results import DECISIONS

    text = (ROOT / "docs" / "ab.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert [row for row in rows if row in DECISIONS] == ["ship", "stop", "continue", "invalid"]
    assert tuple(row for row in rows if row in COLUMNS) == COLUMNS
