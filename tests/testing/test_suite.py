"""The conformance suite beside its tests: data, messages, adapters that do less, and pytest missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nid_plugins.testing
from nid_plugins.errors import UnsupportedError
from nid_plugins.plugins import PluginManager
from nid_plugins.testing import AdapterConformance, click_log
from nid_plugins.testing.fixtures import BATCH, differs, frozen, seen


@pytest.mark.parametrize("dense", [True, False])
def test_the_log_has_combinations_in_a_batch_beyond_it_and_too_rare(dense):
    log = click_log(dense=dense)
    assert bool(log.schema.dense) is dense
    ids = log.crosses.transform(log.frame)
    assert (ids == 0).any(axis=0).all()
    for own, size in zip(seen(log.crosses, log.rows(0, BATCH)), log.crosses.vocabulary_sizes, strict=True):
        assert 0 < len(own) < size
    assert log.label.mean() == pytest.approx(0.5, abs=0.2)
    assert click_log(dense=dense) is log


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({"a": [1, np.zeros(3)]}, {"a": [1, np.zeros(3)]}, None),
        ({"a": np.array([np.nan])}, {"a": np.array([np.nan])}, None),
        ({"a": [1, np.zeros(3)]}, {"a": [1, np.ones(3)]}, "state['a'][1] is another array"),
        ({"a": np.array([0.0])}, {"a": np.array([-0.0])}, "state['a'] is another array"),
        ({"a": np.zeros(2)}, {"a": np.zeros(2, np.float32)}, "state['a'] is another array"),
        ({"a": 1}, {"a": True}, "state['a'] is True, was 1"),
        ({"a": 1}, {"b": 1}, "state has the entries ['b'], had ['a']"),
        ([1, 2], [1], "state has 1 entries, had 2"),
    ],
)
def test_states_are_compared_to_the_last_bit(before, after, says):
    assert differs(frozen(before), frozen(after)) == says


def test_a_frozen_state_does_not_follow_the_model():
    weights = np.zeros(2)
    before = frozen({"weights": [weights]})
    weights += 1
    assert differs(before, frozen({"weights": [weights]})) is not None


def test_a_hook_that_is_missing_is_named():
    with pytest.raises(TypeError, match=r"abstract method.*\bpredict\b"):
        type("Bare", (AdapterConformance,), {})()


def test_what_the_module_offers():
    for name in nid_plugins.testing.__all__:
        assert getattr(nid_plugins.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'AdapterConformence'"):
        _ = nid_plugins.testing.AdapterConformence


def test_without_pytest_the_error_says_so():
    code = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "pytest" else real(name, *rest)
import nid_plugins.testing
assert "pytest" not in sys.modules
try:
    nid_plugins.testing.AdapterConformance
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MissingExtraError" in done.stdout
    assert "pip install pytest" in done.stdout


PREDICTS_ONLY = '''
"""An adapter of minifm that only predicts."""
from nid_minifm.plugin import MinifmAdapter
from nid_plugins import Adapter, hookimpl


class Predicting(Adapter):
    name = "predicting"
    classes = MinifmAdapter.classes
    predictor = MinifmAdapter.predictor


@hookimpl
def nid_register_adapters(register):
    register(Predicting())
'''

CONFORMS = """
from test_minifm import TestMinifm as Full


class TestPredicting(Full):
    adapter = "predicting"
    plugin = "predicting_plugin"
    modes = frozenset()
    declares_schema = False

    def cross_ids(self, crosses, columns, way):
        raise AssertionError("an adapter that injects nothing is not asked for ids")


del Full
"""


def test_an_adapter_that_only_predicts_passes_by_refusing_the_rest(case, tmp_path):
    (tmp_path / "predicting_plugin.py").write_text(PREDICTS_ONLY, encoding="utf-8")
    (tmp_path / "test_predicting.py").write_text(CONFORMS, encoding="utf-8")
    code = f"import sys, pytest; sys.path[:0] = {[*sys.path, str(tmp_path)]!r}; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
    assert case().modes == {"residual"}


def test_a_plug_in_that_is_not_installed_is_registered_by_its_module(case):
    manager = case().manager()
    assert isinstance(manager, PluginManager)
    assert "minifm" in manager.adapters()
    assert "detection" in manager.names
    with pytest.raises(UnsupportedError):
        PluginManager(entry_points=False).adapter_for(case().model(click_log().schema, 1))
