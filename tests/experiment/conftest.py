"""Exposures, models and processes for the tests of experiments."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.experiment import Exposures


@pytest.fixture
def schema():
    return nid.FeatureSchema(
        [nid.SparseField("site", 50), nid.SparseField("ad", 30), nid.DenseField("price")]
    )


@pytest.fixture
def frame_of():
    """Return a function from a number of rows and a seed to a frame of ``schema``, with unit ids."""

    def make(rows, seed=0):
        rng = np.random.default_rng(seed)
        return {
            "user_id": np.array([f"user-{i}" for i in rng.integers(0, 10_000, rows)], dtype=object),
            "site": rng.integers(0, 50, rows),
            "ad": rng.integers(0, 30, rows),
            "price": rng.random(rows).astype(np.float32),
        }

    return make


@pytest.fixture
def events_of():
    """Return a function from a number of rows and a prefix to exposures whose impressions are ``prefix-i``."""

    def make(rows, prefix="i", **changed):
        names = np.array(["control", "treatment"], dtype=object)
        columns = {
            "experiment": "exp",
            "unit": [f"u{i % 7}" for i in range(rows)],
            "variant": names[np.arange(rows) % 2],
            "served": names[np.arange(rows) % 2],
            "fallback": False,
            "reason": None,
            "impression": [f"{prefix}-{i}" for i in range(rows)],
            "request": "r",
            "timestamp": np.datetime64("2030-01-31T12:00:00.000001", "us"),
            "latency_ms": np.full(rows, 1.5, dtype=np.float32),
            "prediction": np.linspace(0, 1, rows),
            "covariate": np.where(np.arange(rows) % 3 == 0, np.nan, 0.25),
        }
        return Exposures(columns | changed, rows)

    return make


@pytest.fixture
def python(tmp_path):
    """Return a function that starts a Python process on some code, its standard output readable line by line."""
    started = []

    def start(code, *args):
        path = os.pathsep.join(p for p in sys.path if p)
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def module_of():
    """Return a function from a seed to a small torch module with dropout, in train mode, that returns probabilities."""
    import torch
    from torch import nn

    def make(seed=0):
        torch.manual_seed(seed)
        layers = (
            nn.Linear(3, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.ReLU(),
            nn.Linear(8, 1),
            nn.Sigmoid(),
        )
        return nn.Sequential(*layers).train()

    return make


@pytest.fixture
def deepfm_of(schema):
    """Return a function from a seed to a DeepFM of DeepCTR-Torch."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    columns = [
        SparseFeat(field.name, field.cardinality, embedding_dim=4)
        if isinstance(field, nid.SparseField)
        else DenseFeat(field.name, 1)
        for field in schema
    ]

    def make(seed=0):
        return DeepFM(columns, columns, dnn_hidden_units=(8,), init_std=0.5, seed=seed)

    return make


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.batches = []
        self.calls = []

    def write(self, events):
        self.batches.append(events)

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")

    @property
    def events(self):
        return [event for batch in self.batches for event in batch]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture(scope="session")
def trial():
    """Return a function that makes exposures and clicks of an experiment called ``exp``, as pandas frames."""
    import pandas as pd

    def make(n=600, *, lift=0.0, seed=0, names=("control", "treatment"), rate=0.2):
        rng = np.random.default_rng(seed)
        assigned = rng.integers(0, len(names), n)
        units = np.repeat(np.arange(n), rng.geometric(0.3, n))
        rows = len(units)
        known = rng.beta(2.0, 2.0 / rate - 2.0, n)[units]
        chance = np.minimum(known * np.where(assigned[units] > 0, 1.0 + lift, 1.0), 1.0)
        labels = np.array(names, dtype=object)[assigned[units]]
        times = pd.Timestamp("2030-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 7 * 86_400, rows), "s")
        exposures = pd.DataFrame(
            {
                "experiment": "exp",
                "unit": [f"u{i}" for i in units],
                "variant": labels,
                "served": labels,
                "fallback": rng.random(rows) < 0.02,
                "impression": [f"i{i}" for i in range(rows)],
                "timestamp": times,
                "latency_ms": rng.lognormal(1.0, 0.5, rows).astype(np.float32),
                "prediction": chance,
                "covariate": known,
            }
        )
        hit = rng.random(rows) < chance
        clicks = pd.DataFrame(
            {
                "impression": exposures.impression[hit].to_numpy(),
                "timestamp": times[hit] + pd.Timedelta(1, "s"),
                "revenue": rng.exponential(2.0, int(hit.sum())),
            }
        )
        return exposures, clicks

    return make


@pytest.fixture(scope="session")
def plan():
    """Return a function that makes the design of ``trial``'s experiment."""
    from nid_plugins.experiment import Design, Variant

    def make(names=("control", "treatment"), **options):
        return Design("exp", variants=tuple(Variant(name, 1 / len(names)) for name in names), **options)

    return make
