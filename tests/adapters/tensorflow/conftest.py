"""Tests that need TensorFlow, in processes of their own: one with Keras 3, one with tf_keras and DeepCTR.

The environment decides which: with ``TF_USE_LEGACY_KERAS=1`` it is tf_keras. ``make unit`` runs both. In a run of the
whole tree these tests are left to those two, so that one process never holds both.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # keras_nets.py, which tests import: they are not a package

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
ONLY_LEGACY = ("test_deepctr", "test_conformance_deepctr", "test_demo_deepctr")
ONLY_KERAS3 = ("test_demo_keras",)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what belongs to the other process."""
    named = any("tensorflow" in str(argument) for argument in config.args)
    other = ONLY_KERAS3 if LEGACY else ONLY_LEGACY
    if collection_path.suffix == ".py" and (not named or collection_path.name.startswith(other)):
        return True
    return None


@pytest.fixture(scope="session")
def K():  # noqa: N802 - as Keras's own examples call it
    """The Keras of this process: ``tf_keras`` or ``keras``."""
    return importlib.import_module("tf_keras" if LEGACY else "keras")


@pytest.fixture(scope="session")
def L(K):  # noqa: N802 - its layers
    """Our layers for it."""
    from nid_keras.flavour import layers_for

    return layers_for(K)
