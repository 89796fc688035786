"""The tables in README and docs are what the benchmarks' JSON says, and the quick start is the file that is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_the_page_is_in_step_with_the_results(page):
    assert tables.updated(page) == page.read_text("utf-8"), "run: make docs"


def test_a_changed_number_is_noticed(tmp_path, monkeypatch):
    page = next(page for page in tables.pages() if "<!-- ten_functions -->" in page.read_text("utf-8"))
    result = json.loads((tables.RESULTS / "ten_functions.json").read_text("utf-8"))
    for run in result["runs"]:
        run["auc"] = 0.123
    (tmp_path / "ten_functions.json").write_text(json.dumps(result), "utf-8")
    for path in tables.RESULTS.glob("*.json"):
        if path.stem != "ten_functions":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.updated(page) != page.read_text("utf-8")


def test_every_result_is_from_a_script_that_exists():
    for path in tables.RESULTS.glob("*.json"):
        assert any(ROOT.joinpath("benchmarks").rglob(f"{re.sub('_.*', '', path.stem)}*")), path.name


def test_the_readme_shows_the_quick_start_that_is_run():
    readme = (ROOT / "README.md").read_text("utf-8")
    code = (ROOT / "examples" / "quickstart.py").read_text("utf-8").split("annotations\n\n", 1)[1].rstrip()
    assert f"```python\n{code}\n```" in readme


def test_the_quick_start_runs(tmp_path):
    pytest.importorskip("deepctr_torch", reason="the quick start trains a DeepCTR-Torch model")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "quickstart.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"^auc +(0\.\d+) -> (0\.\d+) .* better$", done.stdout, re.MULTILINE)
    assert float(found[2]) > float(found[1]) > 0.6
    assert (tmp_path / "crosses" / "crosses.json").exists()
