"""What plug-ins registered is found: the nearest adapter, things by name, the process-wide manager."""

from __future__ import annotations

import warnings

import pytest

from nid_plugins.adapter import Adapter
from nid_plugins.errors import NidWarning, SettingError, UnsupportedError
from nid_plugins.plugins import BUILTINS, PluginManager, get_manager, hookimpl, use_manager


class _Adapter(Adapter):
    def __init__(self, name, *classes, claims=True, columns=None):
        self.name = name
        self.classes = classes
        self._claims = claims
        self._columns = columns

    def claims(self, model):
        if isinstance(self._claims, Exception):
            raise self._claims
        return self._claims

    def claims_columns(self, columns):
        return self._columns is not None and isinstance(columns, self._columns)

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        raise NotImplementedError


class _Adapters:
    def __init__(self, *adapters):
        self.adapters = adapters

    @hookimpl
    def nid_register_adapters(self, register):
        for adapter in self.adapters:
            register(adapter)


class Base: ...


class Middle(Base): ...


class Leaf(Middle): ...


HERE = Base.__module__


def bare(**settings):
    return PluginManager(**{"builtins": {}, "entry_points": False, "environ": {}, **settings})


def names(manager):
    return [info.name for info in manager.plugins()]


# Adapters


def test_the_nearest_class_wins():
    manager = bare()
    manager.register(_Adapters(_Adapter("middle", f"{HERE}.Middle")), "p1")
    manager.register(_Adapters(_Adapter("base", f"{HERE}.Base", "builtins.object")), "p2")
    assert manager.find_adapter(Leaf()).name == "middle"
    assert manager.find_adapter(Base()).name == "base"
    assert manager.find_adapter(object()).name == "base"
    assert manager.find_adapter(Leaf(), name="base").name == "base"
    with pytest.raises(
        SettingError, match=r"unknown adapter; received: 'nobody'; expected: one of \['base', 'middle'\]"
    ):
        manager.find_adapter(Leaf(), name="nobody")


def test_the_later_registered_wins_a_tie_and_claims_can_decline():
    manager = bare()
    manager.register(_Adapters(_Adapter("early", f"{HERE}.Leaf")), "p1")
    manager.register(_Adapters(_Adapter("late", f"{HERE}.Leaf")), "p2")
    assert manager.adapter_for(Leaf()).name == "late"
    manager.register(_Adapters(_Adapter("declines", f"{HERE}.Leaf", claims=False)), "p3")
    assert manager.adapter_for(Leaf()).name == "late"


def test_an_adapter_that_raises_in_claims_is_passed_over_by_name():
    manager = bare()
    manager.register(_Adapters(_Adapter("sound", f"{HERE}.Base")), "p1")
    manager.register(_Adapters(_Adapter("shaky", f"{HERE}.Leaf", claims=KeyError("x"))), "p2")
    with pytest.warns(NidWarning, match="adapter 'shaky' failed in claims: KeyError: 'x'"):
        assert manager.adapter_for(Leaf()).name == "sound"


def test_no_adapter():
    manager = bare()
    manager.register(_Adapters(_Adapter("a", "x.Y")), "p")
    assert manager.find_adapter(Leaf()) is None
    with pytest.raises(UnsupportedError, match=rf"received: {HERE}.Leaf; expected: .*\['a'\]"):
        manager.adapter_for(Leaf())
    with pytest.raises(UnsupportedError, match="no adapter claims the feature columns; received: list"):
        manager.adapter_for_columns([1])


def test_adapter_for_columns():
    manager = bare()
    manager.register(_Adapters(_Adapter("lists", "x.Y", columns=list)), "p1")
    manager.register(_Adapters(_Adapter("dicts", "x.Y", columns=dict)), "p2")
    manager.register(_Adapters(_Adapter("none", "x.Y")), "p3")
    assert manager.adapter_for_columns([1]).name == "lists"
    assert manager.adapter_for_columns({}).name == "dicts"


@pytest.mark.parametrize("kind", ["detector", "baseline", "executor", "domain"])
def test_unknown_names_say_what_is_known(kind):
    with pytest.raises(SettingError, match=rf"unknown {kind}; received: 'x'; expected: one of \[\]"):
        getattr(bare(), kind)("x")


# The process-wide manager


def test_get_manager_is_one_object_and_can_be_replaced_for_a_while():
    manager = get_manager()
    assert get_manager() is manager
    other = bare()
    with use_manager(other):
        assert get_manager() is other
        with use_manager(None):
            assert get_manager() not in {other, manager}
        assert get_manager() is other
    assert get_manager() is manager


def test_our_own_plugins_are_sound():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        manager = PluginManager(environ={"NID_LOAD_PLUGINS": "torch,deepctr_torch"})
        assert manager.problems == []
    assert names(manager)[: len(BUILTINS)] == list(BUILTINS)
    assert set(names(manager)) == {*BUILTINS, "torch", "deepctr_torch"}
    assert {"torch", "deepctr_torch"} <= set(manager.adapters())
