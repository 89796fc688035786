"""What the adapters' tests share: a tiny click log with a planted interaction, and the crosses fitted on it."""

from __future__ import annotations

import importlib.util
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nid_plugins.crosses import CrossFeatures, fit_crosses
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

torch = pytest.importorskip("torch")


def _beside(name: str) -> Any:
    """Return a module of this folder; loaded by path because tests are not a package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pickle looks their classes up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def nets() -> Any:
    """The models of ``torch_nets.py``."""
    return _beside("torch_nets")


@pytest.fixture(scope="session")
def lit() -> Any:
    """The modules, loaders and trainers of ``lightning_modules.py``."""
    return _beside("lightning_modules")


@dataclass(frozen=True)
class Log:
    """A click log: frame, label, schema, and crosses fitted on the frame."""

    frame: dict[str, np.ndarray]
    label: np.ndarray
    schema: FeatureSchema
    crosses: CrossFeatures

    @property
    def rows(self) -> np.ndarray:
        return np.column_stack([self.frame[name] for name in self.schema.names]).astype(np.float64)


@pytest.fixture(scope="session")
def log() -> Log:
    rng = np.random.default_rng(11)
    n = 1200
    frame = {
        "site": rng.integers(0, 6, n),
        "price": rng.lognormal(size=n).astype(np.float32),
        "item": np.minimum(rng.zipf(1.6, n), 12) - 1,
        "hour": rng.integers(0, 4, n),
    }
    logit = (
        2.0 * ((frame["site"] + frame["item"]) % 2) - 1.0 + 0.8 * (frame["price"] > 1) * (frame["hour"] == 2)
    )
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    schema = FeatureSchema(
        [SparseField("site", 6), DenseField("price"), SparseField("item", 12), SparseField("hour", 4)]
    )
    crosses = fit_crosses(
        [("site", "item"), ("price", "hour"), ("site", "item", "hour")], frame, schema, bins=8
    )
    return Log(frame, label, schema, crosses)


def state_of(model: Any) -> dict[str, Any]:
    """Return copies of everything that looking at a model must leave alone."""
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict(keep_vars=False).items()},
        "buffers": {k: v.clone() for k, v in model.named_buffers()},
        "training": {k: m.training for k, m in model.named_modules()},
        "gradients": {k: (p.requires_grad, p.grad is None) for k, p in model.named_parameters()},
        "hooks": {k: (len(m._forward_hooks), len(m._forward_pre_hooks)) for k, m in model.named_modules()},
        "class": type(model),
        # NumPy's global state is what a careless adapter would touch.
        "random": (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()),
    }


def assert_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Fail unless two results of :func:`state_of` are equal to the last bit."""
    for part in ("tensors", "buffers"):
        assert before[part].keys() == after[part].keys()
        for name, tensor in before[part].items():
            assert torch.equal(tensor, after[part][name]), name
    for part in ("training", "gradients", "hooks", "class"):
        assert before[part] == after[part]
    assert torch.equal(before["random"][0], after["random"][0])
    assert np.array_equal(before["random"][1], after["random"][1])
    assert before["random"][2] == after["random"][2]


@pytest.fixture
def unchanged() -> Any:
    """A context manager: the model given to it, and all random state, are the same after as before."""
    import contextlib

    @contextlib.contextmanager
    def check(model: Any) -> Any:
        before = state_of(model)
        yield
        assert_same_state(before, state_of(model))

    return check
