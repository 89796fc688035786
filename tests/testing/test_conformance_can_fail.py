"""Each test of the conformance suite fails on an adapter with a fault it is for, and passes without it."""

from __future__ import annotations

import inspect

import faults_of_injection
import faults_of_input
import faults_of_models
import pytest
from spoiling import FAULTS, Parts

from nid_plugins.errors import NidError
from nid_plugins.plugins import use_manager
from nid_plugins.testing import AdapterConformance, click_log

REGISTERED_BY = (faults_of_models, faults_of_injection, faults_of_input)


def run(case, test, arguments, folder):
    """Call one test as pytest would."""
    one, log = case(), click_log(dense=case.dense)
    offered = {"log": log, "tmp_path": folder, **arguments}
    wanted = inspect.signature(getattr(one, test)).parameters
    with use_manager(one.manager()):
        if {"source", "target"} & set(wanted):
            offered["source"] = one.trained(one.model_of(log), log)
        if "target" in wanted:
            offered["target"] = one.trained(one.injected("residual", offered["source"], log), log, 3)
        getattr(one, test)(**{name: offered[name] for name in wanted})


@pytest.mark.filterwarnings("ignore::nid_plugins.errors.NidWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name, case, monkeypatch, tmp_path):
    test, arguments, spoil = FAULTS[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    folders = [tmp_path / kind for kind in ("sound", "faulty")]
    for folder in folders:
        folder.mkdir()
    run(type("Sound", (case,), {}), test, arguments, folders[0])
    faulty = type("Faulty", (case,), {})
    offered = {"parts": Parts(monkeypatch), "case": faulty, "folder": tmp_path}
    spoil(**{name: offered[name] for name in inspect.signature(spoil).parameters})
    # What pytest.raises and pytest.fail raise is not an Exception.
    failures = (AssertionError, pytest.fail.Exception, NidError, TypeError, ValueError, AttributeError)
    with pytest.raises(failures):
        run(faulty, test, arguments, folders[1])


def test_every_test_of_the_suite_finds_some_fault():
    tests = {name for name in dir(AdapterConformance) if name.startswith("test_")}
    of_builders = {"test_a_builder_that_fails_is_a_typed_error"}  # which the worked adapter has none of
    assert {test for test, *_ in FAULTS.values()} | of_builders == tests
