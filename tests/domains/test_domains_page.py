"""The page on domains: its code runs from top to bottom, and the example shows what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_code_on_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the page explains a network of scikit-learn's")
    pytest.importorskip("jinja2", reason="the page writes one")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "domains.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*[Mm]aximum iterations")
        for number, code in enumerate(blocks):
            exec(compile(code, f"domains.md, block {number}", "exec"), names)  # noqa: S102 - our own documentation
    assert json.loads((tmp_path / "explanation.json").read_text("utf-8"))["domain"] == "text"
    assert "<mark>not</mark> <mark>good</mark>" in (tmp_path / "explanation.html").read_text("utf-8")


def test_the_example_runs(tmp_path):
    pytest.importorskip("sklearn", reason="the example trains a pipeline of scikit-learn's")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "domain_text.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first = re.findall(r"P\(praise\).*\n\s+([-+]\d\.\d+)  (.*?)  \(", done.stdout)
    assert [name for _, name in first] == ["not x good", "not x dull", "was x great"]
    assert [float(effect) > 0 for effect, _ in first] == [False, True, True]
    for linear, both in re.findall(r"explainer ([01]\.\d+), with the interactions ([01]\.\d+)", done.stdout):
        assert float(both) > float(linear)
    assert (tmp_path / "explanation.html").exists()
