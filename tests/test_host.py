"""The plug-in host: what works, and that what is broken is named and takes nothing else down."""

from __future__ import annotations

import sys
import textwrap
import warnings
from dataclasses import dataclass

import click
import pytest

from nid_plugins.adapter import Adapter
from nid_plugins.errors import NidWarning, PluginError, SettingError
from nid_plugins.plugins import BUILTINS, PluginInfo, PluginManager, hookimpl


class _Adapter(Adapter):
    def __init__(self, name, *classes):
        self.name = name
        self.classes = classes

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        raise NotImplementedError


class _Adapters:
    def __init__(self, *adapters):
        self.adapters = adapters

    @hookimpl
    def nid_register_adapters(self, register):
        for adapter in self.adapters:
            register(adapter)


@dataclass
class _Unhashable(_Adapters):
    adapters: tuple = ()


class Base: ...


class Middle(Base): ...


class Leaf(Middle): ...


HERE = Base.__module__


def bare(**settings):
    return PluginManager(**{"builtins": {}, "entry_points": False, "environ": {}, **settings})


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with one entry point a module on the path, as an installer would."""

    def put(distribution, modules, version="1.2.3", target=None):
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[nid_plugins]"]
        for name, source in modules.items():
            module = f"{distribution}_{name}"
            (tmp_path / f"{module}.py").write_text(
                "from nid_plugins import hookimpl\n" + textwrap.dedent(source)
            )
            lines.append(f"{name} = {module}{target or ''}")
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield put
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def names(manager):
    return [info.name for info in manager.plugins()]


GOOD = """
@hookimpl
def nid_after_detect(report):
    return f"seen {report}"
"""


def test_entry_point_is_imported_on_first_use_and_not_before(install):
    install("lazydist", {"lazy": GOOD})
    manager = PluginManager(environ={"NID_LOAD_PLUGINS": "lazy"})
    assert "lazydist_lazy" not in sys.modules
    info = next(info for info in manager.plugins() if info.name == "lazy")
    assert "lazydist_lazy" in sys.modules
    assert info == PluginInfo("lazy", "1.2.3", ("nid_after_detect",), "entry point")
    assert manager.notify("nid_after_detect", report="it") == ["seen it"]


BROKEN = {
    "missing": ("import a_module_that_is_not_there", "failed to import: ModuleNotFoundError"),
    "quits": ("raise SystemExit(3)", "failed to import: SystemExit: 3"),
    "syntax": ("def (:", "failed to import: SyntaxError"),
    "misspelt": ("@hookimpl\ndef nid_after_detekt(report): ...", "expected: nid_after_detect;"),
    "argument": ("@hookimpl\ndef nid_after_detect(result): ...", "result"),
    "unmarked": ("def nid_after_detect(report): ...", "Put @hookimpl above it"),
    "hookless": ("x = 1", "implements no hook"),
    "wrapping": ("@hookimpl(wrapper=True)\ndef nid_after_detect(report):\n    yield", "as a wrapper"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(install, broken):
    source, said = BROKEN[broken]
    install("brokendist", {broken: source, "well": GOOD})
    manager = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": f"{broken},well"})
    with pytest.warns(NidWarning, match=broken) as caught:
        assert names(manager) == ["well"]
    assert len(caught) == 1
    (problem,) = manager.problems
    assert repr(broken) in problem
    assert said in problem
    assert "\n" not in problem
    assert manager.notify("nid_after_detect", report=1) == ["seen 1"]


def test_all_broken_at_once(install):
    install("manydist", {name: source for name, (source, _) in BROKEN.items()} | {"well": GOOD})
    manager = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": ",".join([*BROKEN, "well"])})
    with pytest.warns(NidWarning):
        problems = manager.problems
    assert names(manager) == ["well"]
    assert len(problems) == len(BROKEN)
    for name in BROKEN:
        assert sum(repr(name) in problem for problem in problems) == 1


def test_where_warnings_are_errors_nothing_stays_unloaded(install):
    install("strictdist", {"one": "import nothing_there", "two": "import nothing_there", "well": GOOD})
    manager = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": "one,two,well"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        with pytest.raises(NidWarning, match="'one'"):
            manager.plugins()
        assert names(manager) == ["well"]
    assert len(manager._problems) == 2


def test_an_entry_point_to_a_class_is_refused_with_a_hint(install):
    source = "class Plugin:\n    @hookimpl\n    def nid_after_detect(self, report): ..."
    install("classdist", {"classy": source}, target=":Plugin")
    manager = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": "classy"})
    with pytest.warns(NidWarning, match="'classy' is not usable; received: the class Plugin"):
        assert names(manager) == []


def test_two_entry_points_of_one_name(install):
    install("onedist", {"same": GOOD})
    install("twodist", {"same": GOOD})
    manager = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": "same"})
    with pytest.warns(NidWarning, match="'same': the name is taken"):
        assert names(manager) == ["same"]
    assert len(manager.problems) == 1


def test_register_raises_what_entry_points_only_report():
    manager = bare()
    with pytest.raises(PluginError, match="the class _Adapters"):
        manager.register(_Adapters, "classy")
    with pytest.raises(PluginError, match="nothing"):
        manager.register(None, "nothing")
    manager.register(_Adapters(), "taken")
    with pytest.raises(PluginError, match="'taken': the name is taken"):
        manager.register(_Adapters(), "taken")
    with pytest.raises(PluginError, match="'data'.*which has no hash.*eq=False"):
        manager.register(_Unhashable(), "data")
    plugin = _Adapters()
    manager.register(plugin, "once")
    with pytest.raises(PluginError, match="'twice' is already registered as 'once'"):
        manager.register(plugin, "twice")
    assert names(manager) == ["taken", "once"]
    assert manager.problems == []


def test_a_refused_plugin_leaves_nothing_behind():
    class HalfGood:
        @hookimpl
        def nid_after_detect(self, report):
            return "should not be called"

        @hookimpl
        def nid_before_detect(self, wrong):
            return "nor this"

    manager = bare()
    with pytest.raises(PluginError, match="half"):
        manager.register(HalfGood(), "half")
    assert manager.notify("nid_after_detect", report=None) == []
    manager.register(_Adapters(), "next")
    assert names(manager) == ["next"]


class _Nameless(_Adapter):
    def __init__(self):
        self.classes = ("a.B",)


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (_Adapter, "the class _Adapter"),
        (object(), "expected: an instance of nid_plugins.adapter.Adapter"),
        (_Nameless(), "name None"),
        (_Adapter("", "a.B"), "name ''"),
        (_Adapter(3, "a.B"), "name 3"),
        (_Adapter("one"), "'one' with classes ()"),
        (_Adapter("good", "c.D"), "the name 'good' is taken by that of plug-in 'mixed'"),
    ],
)
def test_an_unusable_thing_is_reported_and_the_rest_of_the_plugin_works(thing, said):
    if isinstance(thing, _Adapter) and thing.classes == ():
        thing.classes = "torch.nn.modules.module.Module"  # a string, where a tuple is wanted
        said = "with classes 'torch.nn.modules.module.Module'"
    manager = bare()
    manager.register(_Adapters(_Adapter("good", "a.B"), thing, _Adapter("also", "a.B")), "mixed")
    with pytest.warns(NidWarning, match="'mixed' registered an unusable adapter"):
        assert list(manager.adapters()) == ["good", "also"]
    (problem,) = manager.problems
    assert said in problem


def test_a_register_hook_that_raises_keeps_what_it_had_registered():
    class Half:
        @hookimpl
        def nid_register_adapters(self, register):
            register(_Adapter("first", "a.B"))
            raise RuntimeError("no\nlicence")

    manager = bare()
    manager.register(Half(), "half")
    manager.register(_Adapters(_Adapter("other", "a.B")), "whole")
    with pytest.warns(
        NidWarning, match="plug-in 'half' failed in nid_register_adapters: RuntimeError: no licence"
    ):
        assert list(manager.adapters()) == ["first", "other"]


def test_register_hooks_are_called_once():
    calls = []

    class Counting:
        @hookimpl
        def nid_register_adapters(self, register):
            calls.append("adapters")

        @hookimpl
        def nid_register_commands(self, register):
            calls.append("commands")

    manager = bare()
    manager.register(Counting(), "counting")
    assert calls == []
    manager.find_adapter(Leaf())
    manager.find_adapter(Leaf())
    assert calls == ["adapters"]
    assert manager.problems == []
    assert calls == ["adapters", "commands"]


def test_a_plugin_registered_late_is_asked_too():
    manager = bare()
    assert manager.commands() == []

    class Late:
        @hookimpl
        def nid_register_commands(self, register):
            register(click.Command("late"))

    manager.register(Late(), "late")
    assert [command.name for command in manager.commands()] == ["late"]
    manager.unregister("late")
    assert manager.commands() == []
    assert names(manager) == []
    with pytest.raises(SettingError, match="unknown plug-in; received: 'late'"):
        manager.unregister("late")


def test_versions():
    plugin = _Adapters()
    plugin.__version__ = "7.1"
    manager = PluginManager(entry_points=False, environ={}, builtins={"cli": BUILTINS["cli"]})
    manager.register(plugin, "versioned")
    manager.register(_Adapters(), "plain")
    assert [(info.version, info.source) for info in manager.plugins()[1:]] == [
        ("7.1", "registered"),
        (None, "registered"),
    ]
    assert manager.plugins()[0].version is not None


# Blocking and restricting


def test_disable_by_environment_neither_imports_nor_reports(install):
    install("offdist", {"off": "raise RuntimeError('must not be imported')", "on": GOOD})
    manager = PluginManager(
        builtins={}, environ={"NID_LOAD_PLUGINS": "off,on", "NID_DISABLE_PLUGINS": " off , not-here"}
    )
    assert names(manager) == ["on"]
    assert manager.problems == []
    assert manager.names == {"off", "on"}


def test_block_before_and_after_loading():
    manager = bare()
    manager.register(_Adapters(_Adapter("a", f"{HERE}.Leaf")), "pa")
    manager.register(_Adapters(_Adapter("b", f"{HERE}.Base")), "pb")
    assert manager.adapter_for(Leaf()).name == "a"
    manager.block("pa")
    assert manager.adapter_for(Leaf()).name == "b"
    assert names(manager) == ["pb"]
    manager.register(_Adapters(_Adapter("a", f"{HERE}.Leaf")), "pa")
    manager.block("pc")
    manager.register(_Adapters(_Adapter("c", f"{HERE}.Leaf")), "pc")
    assert names(manager) == ["pb"]
    assert PluginManager(block=list(BUILTINS), entry_points=False, environ={}).plugins() == []


def test_load_plugins_restricts_entry_points_only(install):
    install("somedist", {"some": GOOD, "other": GOOD})
    manager = PluginManager(builtins={"cli": BUILTINS["cli"]}, environ={"NID_LOAD_PLUGINS": "some"})
    assert names(manager) == ["cli", "some"]
    assert names(PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": ""})) == []
    missing = PluginManager(builtins={}, environ={"NID_LOAD_PLUGINS": "some,absent"})
    with pytest.warns(NidWarning, match="'absent' named in NID_LOAD_PLUGINS but not installed"):
        assert names(missing) == ["some"]
