"""The example of callbacks in Keras 3, or in DeepCTR, is run as it stands, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

NAME = "deepctr" if os.environ.get("TF_USE_LEGACY_KERAS") == "1" else "keras"
EXAMPLE = Path(__file__).parents[3] / "examples" / f"{NAME}_callbacks.py"
UNSET = ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND")


def test_the_example_watches_and_injects(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={name: value for name, value in os.environ.items() if name not in UNSET},
    )
    assert done.returncode == 0, done.stderr
    checks = re.findall(r"^epoch (\d+): (\d+) rows explained", done.stdout, re.MULTILINE)
    assert checks[0][0] == "0"
    assert all(int(rows) >= 8 for _, rows in checks)
    lines = (tmp_path / "checks.jsonl").read_text("utf-8").splitlines()
    assert [str(json.loads(line)["epoch"]) for line in lines] == [epoch for epoch, _ in checks]
    planted, injected = (
        re.search(rf"^{word}: (.+)$", done.stdout, re.MULTILINE)[1].split()
        for word in ("planted", "injected")
    )
    assert set(planted) & set(injected)
