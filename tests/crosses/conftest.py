"""What the cross tests share: a small schema and frame, and the slow reference as a module."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nid_plugins.crosses import loops
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="session")
def slow() -> ModuleType:
    """The pure-Python reference; loaded by path because tests are not a package."""
    path = Path(__file__).with_name("slow_reference.py")
    spec = importlib.util.spec_from_file_location("slow_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def restored_loops(monkeypatch) -> ModuleType:
    """The module of loops, which can be compiled; what a test loads of them is gone after it."""
    pytest.importorskip("numba", reason="compiled loops need numba (extra fast)")
    monkeypatch.setattr(loops, "_machine", loops._machine)
    monkeypatch.setattr(loops, "_asked", loops._asked)
    return loops


@pytest.fixture
def schema() -> FeatureSchema:
    return FeatureSchema(
        [
            SparseField("site", 6),
            DenseField("price"),
            SparseField("item", 40),
            SparseField("user", 10**10),
            SparseField("device", 10**10),
        ]
    )


@pytest.fixture
def train() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    n = 600
    return {
        "site": rng.integers(0, 6, n),
        "price": np.round(rng.lognormal(size=n), 2),
        "item": np.minimum(rng.zipf(1.5, n), 40) - 1,
        "user": rng.integers(0, 8, n) * 1_234_567_890,
        "device": rng.integers(0, 5, n) * 2_345_678_901,
    }
