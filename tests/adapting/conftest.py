"""Crosses for the tests of the adapters' tools; no framework is needed."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.crosses import CrossFeatures, fit_crosses
from nid_plugins.schema import DenseField, FeatureSchema, SparseField


@pytest.fixture(scope="session")
def crosses() -> CrossFeatures:
    rng = np.random.default_rng(3)
    frame = {
        "site": rng.integers(0, 5, 300),
        "price": rng.lognormal(size=300),
        "item.id": rng.integers(0, 7, 300),
    }
    schema = FeatureSchema([SparseField("site", 5), DenseField("price"), SparseField("item.id", 7)])
    return fit_crosses([("site", "item.id"), ("site", "price")], frame, schema, bins=4)
