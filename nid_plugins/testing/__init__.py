"""Conformance suites for whoever writes an adapter or a detector. They need pytest, which nothing else here does.

Subclass :class:`AdapterConformance` or :class:`DetectorConformance` in a test module, fill in what it asks for, and
pytest runs the suite: ``docs/plugins/adapters.md`` and ``docs/plugins/detectors.md`` show how.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from nid_plugins.errors import MissingExtraError

if TYPE_CHECKING:
    from nid_plugins.testing.case import AdapterCase
    from nid_plugins.testing.conformance import AdapterConformance
    from nid_plugins.testing.detector_case import DetectorCase
    from nid_plugins.testing.detector_conformance import DetectorConformance
    from nid_plugins.testing.golden import IdInput
    from nid_plugins.testing.log import ClickLog, click_log

__all__ = [
    "AdapterCase",
    "AdapterConformance",
    "ClickLog",
    "DetectorCase",
    "DetectorConformance",
    "IdInput",
    "click_log",
]

_HOME_OF = {
    "AdapterCase": "case",
    "AdapterConformance": "conformance",
    "ClickLog": "log",
    "DetectorCase": "detector_case",
    "DetectorConformance": "detector_conformance",
    "IdInput": "golden",
    "click_log": "log",
}
_ASSERTING = (
    *("fixtures", "recognition", "prediction", "injection", "ids", "bad_input", "conformance"),
    *("detector_fixtures", "detector_choosing", "detector_answering", "detector_finding"),
    "detector_conformance",
)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _rewrite_asserts()
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def _rewrite_asserts() -> None:
    """Have pytest show the values in the suite's assertions, as it does in test modules."""
    if importlib.util.find_spec("pytest") is None:
        raise MissingExtraError(
            "the conformance suite is run by pytest, which is not installed",
            expected="pytest 8 or newer",
            hint="pip install pytest",
        )
    import sys

    import pytest

    names = [f"{__name__}.{module}" for module in _ASSERTING]
    pytest.register_assert_rewrite(*(name for name in names if name not in sys.modules))
