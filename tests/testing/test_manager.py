"""What the suites test is looked up by name: found installed or not, and a name that is none is told as such."""

from __future__ import annotations

import sys

import pytest

from nid_plugins.errors import SettingError
from nid_plugins.testing import AdapterConformance, DetectorConformance
from nid_plugins.testing.manager import manager_with

PLUGIN = """
from nid_plugins import hookimpl
from nid_plugins.detection import NID

class Ours(NID):
    name = "ours"

@hookimpl
def nid_register_detectors(register):
    register(Ours())
"""


@pytest.fixture(params=["installed", "importable"])
def plugin(request, tmp_path, monkeypatch):
    """A plug-in with a detector "ours", installed with an entry point or only on the path."""
    (tmp_path / "ours_plugin.py").write_text(PLUGIN, "utf-8")
    if request.param == "installed":
        info = tmp_path / "ours-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text("[nid_plugins]\nours = ours_plugin\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "ours_plugin"
    sys.modules.pop("ours_plugin", None)


def test_it_is_found_however_it_comes(plugin):
    manager = manager_with("detector", "ours", plugin)
    assert manager.detector("ours").name == "ours"
    assert manager.has(sys.modules[plugin])
    assert [one.name for one in manager.plugins() if "ours" in one.name] in (["ours"], ["ours_plugin"])


def test_a_misspelt_detector_is_told_with_the_names_there_are(plugin):
    case = type("Misspelt", (DetectorConformance,), {"detector": "uors", "plugin": plugin})
    with pytest.raises(
        SettingError, match=r"unknown detector; received: 'uors'; expected: one of \[.*'ours'"
    ):
        case().manager()


def test_a_misspelt_adapter_too():
    class Misspelt(AdapterConformance):
        adapter = "troch"
        plugin = "nid_torch.plugin"

    Misspelt.__abstractmethods__ = frozenset()
    with pytest.raises(
        SettingError, match=r"unknown adapter; received: 'troch'; expected: one of \[.*'torch'"
    ):
        Misspelt().manager()
