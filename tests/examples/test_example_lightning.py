"""The Lightning example runs as a reader would run it, and shows what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "lightning_callbacks.py"


def test_the_lightning_example_runs(tmp_path):
    pytest.importorskip("lightning", reason="the example trains with Lightning")
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    (planted,) = re.findall(r"^planted: (\[.*\])$", done.stdout, re.MULTILINE)
    checks = re.findall(r"^epoch (\d): loss (0\.\d+) (\[.*?\])", done.stdout, re.MULTILINE)
    assert [int(epoch) for epoch, _, _ in checks] == list(range(6))
    losses = [float(loss) for _, loss, _ in checks]
    assert losses == sorted(losses, reverse=True)

    def found(names):
        sets = {frozenset(one.split(" x ")) for one in re.findall(r"'([^']+)'", planted)}
        return [frozenset(name) in sets for name in names]

    tops = [found(name.split(" x ") for name in re.findall(r"'([^']+)'", top)) for _, _, top in checks]
    assert sum(tops[-1]) > sum(tops[0])  # the planted sets rise as training goes on
    (injected,) = re.findall(r"^injected after epoch 2: \((.*)\)$", done.stdout, re.MULTILINE)
    crosses = found(name.split("__x__") for name in re.findall(r"'([^']+)'", injected))
    assert sum(crosses) > len(crosses) / 2  # a young model also shows what nobody planted
    assert float(re.search(r"^AUC on test rows: (0\.\d+)$", done.stdout, re.MULTILINE)[1]) > 0.72
