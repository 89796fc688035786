"""What every benchmark shares: one thread unless asked, JSON out, versions beside the numbers."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("nid-plugins", "numpy", "pandas", "torch", "deepctr-torch"),
    *("tensorflow", "keras", "tf-keras", "deepctr"),
)


def environment() -> dict[str, Any]:
    """Return what the numbers depend on besides the code."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {"python": platform.python_version(), "cores": os.cpu_count(), "packages": found}


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a benchmark's result as JSON, environment included, and return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"environment": environment(), **result}, indent=1, allow_nan=False) + "\n", "utf-8"
    )
    print(f"wrote {path}")
    return path
