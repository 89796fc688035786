"""Each test of the suite for detectors fails on a detector with a fault it is for, and passes without it."""

from __future__ import annotations

import inspect
import warnings

import pytest
from faults_of_detectors import FAULTS

from nid_plugins.errors import NidError, NidWarning
from nid_plugins.plugins import use_manager
from nid_plugins.testing import DetectorConformance


class Spoil:
    """The worked detector's class, and a way to change it."""

    def __init__(self, monkeypatch):
        from nid_forest.detector import ForestH

        self.detector = ForestH
        self._monkeypatch = monkeypatch

    def set(self, name, value):
        self._monkeypatch.setattr(self.detector, name, value, raising=False)


def run(case, test, arguments):
    """Call one test as pytest would."""
    one = case()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NidWarning)
        with use_manager(one.manager()):
            getattr(one, test)(**arguments)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name, forest_case, monkeypatch, tmp_path):
    test, arguments, spoil = FAULTS[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    small = {"instances": 12, "perturbations": 400}
    run(type("Sound", (forest_case,), small), test, arguments)
    faulty = type("Faulty", (forest_case,), small)
    offered = {"spoil": Spoil(monkeypatch), "case": faulty, "folder": tmp_path}
    spoil(**{wanted: offered[wanted] for wanted in inspect.signature(spoil).parameters})
    # What pytest.raises raises is not an Exception.
    failures = (
        AssertionError,
        pytest.fail.Exception,
        NidError,
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
    )
    with pytest.raises(failures):
        run(faulty, test, arguments)


def test_every_test_of_the_suite_finds_some_fault():
    tests = {name for name in dir(DetectorConformance) if name.startswith("test_")}
    assert {test for test, *_ in FAULTS.values()} == tests
