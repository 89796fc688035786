"""The worked detector keeps what detectors promise, and does what it is there for."""

# ruff: noqa: RUF012 - what a test class declares is not changed

from __future__ import annotations

import numpy as np
from nid_forest.detector import ForestH

from nid_plugins.detection import random_masks
from nid_plugins.testing import DetectorConformance


class TestForestH(DetectorConformance):
    detector = "forest_h"
    plugin = "nid_forest.plugin"
    libraries = ("sklearn",)
    options = {"trees": 30}
    other_options = {"trees": 20, "leaf": 3, "share": 1.0, "fields": 8, "contexts": 16}
    bad_options = {
        "trees": (0, 1.5, True),
        "leaf": (0, "2"),
        "share": (0.0, 1.5, "half"),
        "fields": (1, 2.0),
        "contexts": (0, None),
    }


def test_strengths_are_differences_of_the_logit():
    masks = random_masks(6, 2000, np.random.default_rng(0))
    logits = masks @ np.arange(6.0) + 2.0 * (masks[:, 1] & masks[:, 4])
    detector = ForestH()
    (found,) = detector.fit(detector.prepare(masks), logits[None], [np.random.SeedSequence(1)])
    assert found.sets[0] == (1, 4)
    assert 1.8 < found.strengths[0] < 2.2
    assert found.strengths[1:].max() < 0.2
