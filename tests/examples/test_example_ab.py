"""The example of an A/B test is run as it stands: it ships the better model, and leaves a folder that says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ab_test.py"


def test_the_better_model_is_shipped(tmp_path):
    for needed in ("torch", "tea_tasting", "ibis", "duckdb", "pyarrow", "jinja2", "yaml"):
        pytest.importorskip(needed, reason="the example needs PyTorch and the extra ab")
    from nid_plugins import CrossFeatures
    from nid_plugins.experiment import Analysis, Design, read_exposures

    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("decision: ship crosses\n")
    design = Design.load(tmp_path / "ab")
    crosses = CrossFeatures.load(tmp_path / "ab" / design.artefacts["crosses"])
    assert len(crosses.crosses) == 7
    result = Analysis.load(tmp_path / "ab" / "result.json")
    assert result.design == design
    assert result.sample_ratio.passes
    assert (
        read_exposures(tmp_path / "ab" / "exposures").num_rows == sum(result.impressions.values()) == 12_000
    )
    assert result.effect().covariate == "covariate"
    assert (tmp_path / "ab" / "result.html").read_text("utf-8") == result.page().html()
