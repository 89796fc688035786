"""What tests of several rooms share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def ray():
    """A real Ray of this machine, two CPUs, started once: that takes seconds."""
    ray = pytest.importorskip("ray", reason="the optional package ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
