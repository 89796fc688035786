"""The suite's tests of how an adapter is found, and of what finding it costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import nid_plugins as nid
from nid_plugins.adapter import class_paths
from nid_plugins.errors import UnsupportedError
from nid_plugins.plugins import PluginManager, get_manager
from nid_plugins.testing.fixtures import Fixtures

if TYPE_CHECKING:
    from nid_plugins.testing.log import ClickLog

_LOOK = """
import importlib, sys
sys.path[:] = {path!r}
from nid_plugins.plugins import PluginManager
manager = PluginManager(entry_points=False, environ={{}})
manager.register(importlib.import_module({plugin!r}), {plugin!r})
assert {adapter!r} in manager.adapters(), sorted(manager.adapters())
manager.find_adapter(object())
print("imported:", sorted(set({frameworks!r}) & set(sys.modules)))
"""


class Recognition(Fixtures):
    """Which models the adapter claims, and what it declares of them."""

    def test_the_plugin_registers_the_adapter_without_a_problem(self) -> None:
        """A manager that knows no other plug-in finds nothing wrong with this one."""
        manager = PluginManager(entry_points=False, environ={})
        manager.register(sys.modules.get(self.plugin) or __import__(self.plugin, fromlist=["_"]), self.plugin)
        adapters = manager.adapters()
        assert manager.problems == []
        assert self.adapter in adapters
        adapter = adapters[self.adapter]
        assert adapter.classes, "the adapter names no class, so it can claim no model"

    def test_importing_the_plugin_imports_no_framework(self) -> None:
        """In an interpreter of its own; nor does registering the adapter or asking it for a model of no framework."""
        assert self.frameworks, "name the framework's top-level modules in the attribute `frameworks`"
        path = [entry for entry in sys.path if entry]
        code = _LOOK.format(
            path=path, plugin=self.plugin, adapter=self.adapter, frameworks=tuple(self.frameworks)
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - our own code
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "imported: []"

    def test_its_models_are_found_by_class_path(self, source: Any) -> None:
        """A class the adapter names is among the model's own and their bases, and no adapter names a nearer one."""
        adapter = get_manager().adapter_for(source)
        assert adapter.name == self.adapter
        assert set(class_paths(source)) & set(adapter.classes)

    def test_models_of_others_are_left_to_others(self) -> None:
        """What the hook ``strangers`` returns, things of no framework, and classes that only share a name."""
        manager = get_manager()
        classes = manager.adapters()[self.adapter].classes
        lookalikes = [type(path.rpartition(".")[2], (), {"__module__": "elsewhere"})() for path in classes]
        others = [lambda columns: columns, object(), "model", {}, np.zeros(3), None, type(lookalikes[0])]
        for other in (*self.strangers(), *lookalikes, *others):
            found = manager.find_adapter(other)
            assert found is None or found.name != self.adapter, f"{class_paths(other)[0]} is claimed"

    def test_a_strange_model_is_a_typed_error(self) -> None:
        """Of no adapter and no function."""
        with self.raises(UnsupportedError):
            nid.wrap(object(), nid.FeatureSchema([nid.DenseField("x")]))

    def test_the_schema_is_read_off_the_model_or_refused(self, source: Any, log: ClickLog) -> None:
        """``nid.FeatureSchema.of`` gives the fields the model was made of, and those of feature columns, in their own order."""
        if not self.declares_schema:
            with self.raises(UnsupportedError):
                nid.FeatureSchema.of(source)
            return
        with self.unchanged(source):
            declared = nid.FeatureSchema.of(source)
        assert {field.name: field for field in declared} == {field.name: field for field in log.schema}
        assert nid.wrap(source, **self.wrap_options).schema == declared
        if "rebuild" in self.modes:  # crosses have to be fitted before there is a model
            columns = self.builder(log.schema)[1]
            assert set(nid.FeatureSchema.of(columns)) == set(log.schema)
