"""What the detection tests share: a small schema, a frame, and a function with known interactions as the model."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid


@pytest.fixture
def schema():
    return nid.FeatureSchema(
        [
            nid.SparseField("a", 4),
            nid.DenseField("b"),
            nid.DenseField("c"),
            nid.SparseField("d", 5, oov=0),
            nid.SparseField("e", 3),
        ]
    )


@pytest.fixture
def frame():
    rng = np.random.default_rng(11)
    n = 60
    return {
        "a": rng.integers(0, 4, n),
        "b": rng.normal(size=n),
        "c": rng.normal(size=n),
        "d": rng.integers(1, 5, n),
        "e": rng.integers(0, 3, n),
    }


@pytest.fixture
def planted():
    """Logits with the pairs (a, b) and (c, d) interacting; e only adds."""

    def logits(columns):
        return (
            0.4 * columns["a"]
            + 1.5 * (columns["a"] % 2) * columns["b"]
            + columns["c"] * (columns["d"] - 2.0)
            + 0.7 * columns["e"]
        )

    return logits


@pytest.fixture
def box(planted, schema):
    return nid.wrap(planted, schema, output="logit")


@pytest.fixture
def small():
    """Settings of a detection that takes a fraction of a second."""
    return {"instances": 20, "perturbations": 300, "progress": False}


@pytest.fixture
def plugin():
    """Return a function that registers a plug-in on the process-wide manager for the length of the test."""
    manager = nid.get_manager()
    names = []

    def register(thing):
        name = f"test-{len(names)}"
        manager.register(thing, name)
        names.append(name)
        return thing

    try:
        yield register
    finally:
        for name in names:
            manager.unregister(name)
