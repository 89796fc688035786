"""The suite's tests of how a detector is found, and how its options are set."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import nid_plugins as nid
from nid_plugins.errors import SettingError
from nid_plugins.plugins import BUILTINS, PluginManager
from nid_plugins.testing.detector_fixtures import Asked, DetectorFixtures, rows, schema

_LOOK = """
import importlib, sys
sys.path[:] = {path!r}
from nid_plugins.plugins import BUILTINS, PluginManager
others = {{name: path for name, path in BUILTINS.items() if path != {plugin!r}}}
manager = PluginManager(builtins=others, entry_points=False, environ={{}})
manager.register(importlib.import_module({plugin!r}), {plugin!r})
assert {detector!r} in manager.detectors(), sorted(manager.detectors())
print("imported:", sorted(set({libraries!r}) & set(sys.modules)))
"""


class Choosing(DetectorFixtures):
    """A detector by its name, with options."""

    def test_the_plugin_registers_the_detector_without_a_problem(self) -> None:
        """A manager that knows no other plug-in but the built-in ones finds nothing wrong with this one."""
        others = {name: path for name, path in BUILTINS.items() if path != self.plugin}
        manager = PluginManager(builtins=others, entry_points=False, environ={})
        manager.register(importlib.import_module(self.plugin), self.plugin)
        assert manager.detectors()[self.detector].name == self.detector
        assert manager.problems == []

    def test_registering_it_imports_no_library(self) -> None:
        """In an interpreter of its own: detectors are looked up whenever one is chosen, also when that is another one."""
        path = [entry for entry in sys.path if entry]
        code = _LOOK.format(
            path=path, plugin=self.plugin, detector=self.detector, libraries=tuple(self.libraries)
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - our own code
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "imported: []"

    def test_options_are_set_by_name_and_told_in_the_report(self) -> None:
        """Those chosen, and the defaults of all others; the detector that is registered keeps its own."""
        before = self.manager().detector(self.detector).options()
        report = self.detected("pairs", instances=2, options=dict(self.other_options))
        told = report.settings["options"]
        assert set(told) == set(before)
        chosen = json.loads(json.dumps(dict(self.other_options)))
        assert {name: told[name] for name in chosen} == chosen
        assert {name: told[name] for name in told if name not in chosen} == {
            name: value for name, value in before.items() if name not in chosen
        }
        with TemporaryDirectory() as folder:
            path = Path(folder) / "report.json"
            report.save(path)
            assert nid.InteractionReport.load(path) == report
        detector = self.registered()
        detector.configured(**self.other_options)
        assert detector.options() == {**before, **json.loads(json.dumps(dict(self.options)))}

    def test_every_option_is_tried(self) -> None:
        """Each option of the detector has another value in ``other_options`` and some in ``bad_options``."""
        detector = self.registered()
        known = set(detector.options())
        assert set(self.other_options) == known, "other_options must name every option"
        assert set(self.bad_options) == known, "bad_options must name every option"
        own = detector.options()
        same = [name for name, value in self.other_options.items() if value == own[name]]
        assert not same, f"the same value as the suite's: {same}"

    def test_a_bad_option_is_a_typed_error_before_the_model_is_asked(self) -> None:
        """Named, with what was received: a detection may take hours, and must not fail at its end."""
        for name, values in self.bad_options.items():
            for value in values:
                asked = Asked("pairs")
                box = nid.wrap(asked, schema(), output="logit")
                with pytest.raises(SettingError, match=name):
                    nid.detect(
                        box,
                        rows(),
                        detector=self.detector,
                        options={name: value},
                        instances=1,
                        progress=False,
                    )
                assert asked.rows == 0, f"the model was asked before {name}={value!r} was refused"

    def test_an_unknown_option_is_named(self) -> None:
        """And what options there are is said."""
        with pytest.raises(SettingError, match="no option 'not_an_option'"):
            self.detected("pairs", options={"not_an_option": 1})
