"""Every hook is typed and documented, and what the documentation shows works."""

from __future__ import annotations

import inspect
import re
import types
import typing
import warnings
from pathlib import Path

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins import hookspecs
from nid_plugins.errors import NidWarning
from nid_plugins.plugins import PluginManager, use_manager
from nid_plugins.registry import KINDS

DOCS = Path(__file__).parent.parent / "docs" / "plugins" / "hooks.md"
HOOKS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("nid_")}
LIFE_CYCLE = [name for name in HOOKS if not name.startswith("nid_register_")]


def signature(name):
    return f"{name}({', '.join(inspect.signature(HOOKS[name]).parameters)})"


def section(name):
    """Return what the guide says of a hook, up to the next heading."""
    text = DOCS.read_text(encoding="utf-8")
    return re.split(r"^#", text.split(f"### `{signature(name)}`\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def example(name):
    """Execute a hook's example as the module it would be."""
    (code,) = re.findall(r"```python\n(.*?)```", section(name), flags=re.DOTALL)
    module = types.ModuleType(f"example_of_{name}")
    exec(compile(code, f"{DOCS.name}:{name}", "exec"), module.__dict__)  # noqa: S102 - our own documentation
    return module


def test_the_design_s_hooks_are_all_there_and_no_others():
    assert {name: tuple(inspect.signature(spec).parameters) for name, spec in HOOKS.items()} == {
        "nid_register_adapters": ("register",),
        "nid_register_detectors": ("register",),
        "nid_register_baselines": ("register",),
        "nid_register_executors": ("register",),
        "nid_register_domains": ("register",),
        "nid_register_commands": ("register",),
        "nid_before_detect": ("request",),
        "nid_after_detect": ("report",),
        "nid_before_inject": ("model", "crosses"),
        "nid_after_inject": ("model", "target", "crosses"),
        "nid_epoch_end": ("state",),
        "nid_exposure": ("events",),
    }


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented_with_its_exact_signature(name):
    headings = re.findall(r"^### `(.*)`$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings.count(signature(name)) == 1
    assert len(section(name).strip()) > 100


def test_no_hook_is_documented_that_does_not_exist():
    text = DOCS.read_text(encoding="utf-8")
    assert set(re.findall(r"^### `(.*)`$", text, flags=re.MULTILINE)) == {signature(name) for name in HOOKS}
    assert set(re.findall(r"\bnid_(?:register|before|after|epoch|exposure)\w*[a-z]\b", text)) <= set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_says_what_each_argument_is(name):
    spec = HOOKS[name]
    described = inspect.getdoc(spec)
    for parameter in inspect.signature(spec).parameters.values():
        assert f"\n    {parameter.name}: " in described
        assert parameter.annotation is not inspect.Parameter.empty
    assert "return" in spec.__annotations__


def test_hook_types_can_be_resolved():
    import collections.abc

    import click

    from nid_plugins.detection import Baseline, Detector, DetectRequest, Executor
    from nid_plugins.domains import Domain

    names = {n: getattr(collections.abc, n) for n in ("Callable", "Mapping", "Sequence")}
    names |= {t.__name__: t for t in (Baseline, DetectRequest, Detector, Executor, nid.CrossFeatures)}
    names |= {"Adapter": nid.Adapter, "InteractionReport": nid.InteractionReport, "click": click}
    names |= {"Domain": Domain}
    for spec in HOOKS.values():
        assert len(typing.get_type_hints(spec, localns=names)) == len(inspect.signature(spec).parameters) + 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_register_example_registers(kind):
    module = example(kind.hook)
    manager = PluginManager(entry_points=False, environ={})
    before = set(manager.collected(kind.name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        manager.register(module, "example")
        assert len(set(manager.collected(kind.name)) - before) == 1
    assert manager.problems == []


class _Catcher:
    @nid.hookimpl
    def nid_before_detect(self, request):
        self.request = request


@pytest.fixture(scope="module")
def known():
    """Return a real argument for every life-cycle hook."""
    schema = nid.FeatureSchema([nid.SparseField("a", 2), *(nid.DenseField(f"x{i}") for i in range(100))])
    frame = {name: np.arange(8) % 2 for name in schema.names}
    box = nid.wrap(lambda columns: columns["a"], schema, output="logit")
    manager, catcher = PluginManager(entry_points=False, environ={}), _Catcher()
    manager.register(catcher, "catcher")
    with use_manager(manager):
        report = nid.explain(box, dict.fromkeys(schema.names, 1), background=frame, perturbations=400)
    return {
        "request": catcher.request,
        "report": report,
        "model": "model",
        "target": "target",
        "crosses": nid.fit_crosses([("a", "x0")], frame, schema),
        "state": {"epoch": 3, "model": "model"},
        "events": [{"unit": "u7", "experiment": "e", "variant": "b"}],
    }


@pytest.mark.parametrize("name", LIFE_CYCLE)
def test_life_cycle_example_is_called(name, known, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    manager = PluginManager(builtins={}, entry_points=False, environ={})
    manager.register(example(name), "example")
    arguments = {argument: known[argument] for argument in inspect.signature(HOOKS[name]).parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        results = manager.notify(name, **arguments)
    expected = {
        "nid_before_inject": "adding 1 crosses to a str\n",
        "nid_after_inject": "str has a__x__x0\n",
        "nid_epoch_end": "epoch 3 is over\n",
        "nid_exposure": "u7 b\n",
    }
    assert capsys.readouterr().out == expected.get(name, "")
    assert results == ([{"perturbations": 800}] if name == "nid_before_detect" else [])
    assert (tmp_path / "last-report.json").exists() is (name == "nid_after_detect")
