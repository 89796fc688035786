"""The conformance tests of the worked adapter and of the worked detector, to be run on ones with a fault."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what tests import: they are not a package

EXAMPLE = Path(__file__).parents[1] / "plugins" / "nid_minifm"


@pytest.fixture
def case(monkeypatch):
    """The class ``TestMinifm``, with the framework and the plug-in importable."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    spec = importlib.util.spec_from_file_location("minifm_conformance", EXAMPLE / "test_minifm.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module.TestMinifm


@pytest.fixture
def forest_case(monkeypatch):
    """The class ``TestForestH`` of the worked detector, with the plug-in importable."""
    folder = EXAMPLE.parent / "nid_forest"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("forest_conformance", folder / "test_forest.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module.TestForestH
