"""What the callbacks' tests share: a click log, a function that learns as a model, and a clock that is wound by hand."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.callbacks import InteractionMonitor


class Learner:
    """A model that is a function: main effects from the start, the pairs (a, b) and (c, d) as far as it has learned.

    Args:
        clock: Told what each call takes.
        cost: Seconds a row.
    """

    def __init__(self, clock=None, cost=0.0):
        self.clock, self.cost = clock, cost
        self.weights = [0.0, 0.0]
        self.calls = 0

    def __call__(self, columns):
        self.calls += 1
        if self.clock is not None:
            self.clock.now += self.cost * len(columns["a"])
        a, b, c, d = (columns[name].astype(float) for name in "abcd")
        first, second = self.weights
        return (
            0.3 * a
            + 0.2 * columns["e"]
            + 0.05 * (a == 1) * (columns["e"] == 1)
            + first * (a % 2) * (b % 2)
            + second * (c > 1) * (d > 1)
        )


class Clock:
    """Seconds that pass only when something says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def learner():
    return Learner()


@pytest.fixture
def slow(clock):
    """Makes a learner that takes so many seconds a row on the fixture's clock."""
    return lambda cost: Learner(clock, cost)


@pytest.fixture(scope="session")
def schema():
    return nid.FeatureSchema([nid.SparseField(name, 4) for name in "abcde"])


@pytest.fixture(scope="session")
def frame():
    rng = np.random.default_rng(5)
    return {name: rng.integers(0, 4, 400) for name in "abcde"}


@pytest.fixture(scope="session")
def labels(frame):
    rng = np.random.default_rng(6)
    logit = 4.0 * (frame["a"] % 2) * (frame["b"] % 2) - 1.0
    return (rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(int)


@pytest.fixture
def watched(schema, frame):
    """Makes a core that has begun, with small detections and no limit of time unless one is given."""

    def make(model, labels=None, *, begun=True, detect=None, **options):
        options = {"budget": None, "top_k": 3, "wrap": {"output": "logit"}, **options}
        small = {"instances": 12, "perturbations": 120, **(detect or {})}
        core = InteractionMonitor(model, schema, frame, labels, detect=small, **options)
        if begun:
            core.begin()
        return core

    return make
