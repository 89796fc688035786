"""The detectors of our own pass the suite that everyone's is to pass."""

# ruff: noqa: RUF012 - what a test class declares is not changed

from __future__ import annotations

from nid_plugins.testing import DetectorConformance

BUILTIN = "nid_plugins.detection.builtin"
LIBRARIES = ("sklearn", "torch", "tensorflow", "keras", "jax")


class TestLeastSquares(DetectorConformance):
    detector = "least_squares"
    plugin = BUILTIN
    libraries = LIBRARIES
    order = 3
    other_options = {"orders": 2, "pairs": 3, "triples": 2, "penalties": [0.5]}
    bad_options = {
        "orders": (1, 4, "2"),
        "pairs": (0, 1.5),
        "triples": (0, None),
        "penalties": ((), (0.0,), (-1e-3, 1.0), 1e-3),
    }


class TestArchDetect(DetectorConformance):
    detector = "archdetect"
    plugin = BUILTIN
    libraries = LIBRARIES
    other_options = {"probe": 200}
    bad_options = {"probe": (0, 23)}


class TestMatchingPursuit(DetectorConformance):
    detector = "matching_pursuit"
    plugin = BUILTIN
    libraries = LIBRARIES
    other_options = {"pairs": 5, "rounds": 2, "block": 3}
    bad_options = {"pairs": (0, True), "rounds": (0, 1.5), "block": (0, "8")}


class _Networks(DetectorConformance):
    plugin = BUILTIN
    libraries = LIBRARIES
    instances = 12
    perturbations = 1500
    bad_options = {
        "linear": (1, "yes"),
        "hidden": ((), (8, 0), 64),
        "l1": (-1e-3, "0"),
        "learning_rate": (0, -1.0),
        "batch": (0, 1.5),
        "epochs": (0, 1.5),
        "patience": (0, None),
    }
    other_options = {
        "linear": False,
        "hidden": [16],
        "l1": 1e-2,
        "learning_rate": 1e-2,
        "batch": 100,
        "epochs": 3,
        "patience": 2,
    }


class TestNID(_Networks):
    detector = "nid"
    order = 3


class TestGradientNID(_Networks):
    detector = "gradient_nid"
    other_options = {**_Networks.other_options, "contexts": 2}
    bad_options = {**_Networks.bad_options, "contexts": (0, 1.5, True)}
