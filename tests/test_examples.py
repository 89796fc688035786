"""The examples of callbacks in PyTorch are run as they stand. Those of TensorFlow: tests/adapters/tensorflow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", ["torch_loop", "deepctr_torch_callbacks"])
def test_the_example_watches_and_injects(name, tmp_path):
    pytest.importorskip("torch", reason="the example trains in PyTorch")
    if name.startswith("deepctr"):
        pytest.importorskip("deepctr_torch", reason="the example trains a DeepCTR-Torch model")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    checks = re.findall(r"^epoch (\d+): (\d+) rows explained", done.stdout, re.MULTILINE)
    assert checks[0][0] == "0"
    assert all(int(rows) >= 8 for _, rows in checks)
    planted, injected = (
        re.search(rf"^{word}: (.+)$", done.stdout, re.MULTILINE)[1].split()
        for word in ("planted", "injected")
    )
    assert set(planted) & set(injected)
    if name.startswith("deepctr"):
        lines = (tmp_path / "checks.jsonl").read_text("utf-8").splitlines()
        assert [str(json.loads(line)["epoch"]) for line in lines] == [epoch for epoch, _ in checks]
