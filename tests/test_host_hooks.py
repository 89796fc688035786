"""The plug-in host calling hooks: each implementation guarded, arguments checked, calls traced."""

from __future__ import annotations

import click
import pytest

from nid_plugins.errors import NidWarning, SettingError
from nid_plugins.plugins import PluginManager, hookimpl


def bare(**settings):
    return PluginManager(**{"builtins": {}, "entry_points": False, "environ": {}, **settings})


class _Recorder:
    def __init__(self, log, name, error=None):
        self.log, self.name, self.error = log, name, error

    @hookimpl
    def nid_after_inject(self, target, crosses):
        self.log.append((self.name, target, crosses))
        if self.error is not None:
            raise self.error
        return self.name if self.name != "silent" else None


def test_notify_calls_the_latest_first_and_drops_none():
    log, manager = [], bare()
    for name in ("first", "silent", "last"):
        manager.register(_Recorder(log, name), name)
    assert manager.notify("nid_after_inject", model=0, target=1, crosses=2) == ["last", "first"]
    assert log == [("last", 1, 2), ("silent", 1, 2), ("first", 1, 2)]


def test_notify_guards_each_implementation():
    log, manager = [], bare()
    manager.register(_Recorder(log, "before"), "before")
    manager.register(_Recorder(log, "bad", ValueError("oh\nno")), "bad")
    manager.register(_Recorder(log, "after"), "after")
    with pytest.warns(
        NidWarning, match="plug-in 'bad' failed in nid_after_inject: ValueError: oh no"
    ) as caught:
        assert manager.notify("nid_after_inject", model=0, target=1, crosses=2) == ["after", "before"]
    assert len(caught) == 1
    assert [name for name, *_ in log] == ["after", "bad", "before"]


def test_notify_lets_an_interrupt_through():
    manager = bare()
    manager.register(_Recorder([], "stop", KeyboardInterrupt()), "stop")
    with pytest.raises(KeyboardInterrupt):
        manager.notify("nid_after_inject", model=0, target=1, crosses=2)


def test_notify_checks_the_hook_and_its_arguments():
    manager = bare()
    with pytest.raises(SettingError, match="unknown hook; received: 'nid_after_lunch'"):
        manager.notify("nid_after_lunch")
    with pytest.raises(SettingError, match="wrong arguments for the hook nid_after_detect"):
        manager.notify("nid_after_detect", reprot=1)


def test_trace_writes_call_and_outcome_of_each_guarded_implementation(capsys):
    manager, lines = bare(), []
    manager.register(_Recorder([], "good"), "good")
    manager.register(_Recorder([], "bad", ValueError("no")), "bad")
    stop = manager.trace(lines.append)
    with pytest.warns(NidWarning):
        manager.notify("nid_after_inject", model=0, target=1, crosses=2)
    assert lines[0] == "nid: nid_after_inject(model=0, target=1, crosses=2) -> bad"
    assert lines[1].startswith("nid: nid_after_inject raised ValueError: no in ")
    assert lines[2].endswith("-> good")
    assert lines[3].startswith("nid: nid_after_inject returned ['good'] in ")
    stop()
    with pytest.warns(NidWarning):
        manager.notify("nid_after_inject", model=0, target=1, crosses=2)
    assert len(lines) == 4
    assert capsys.readouterr().err == ""


class _Commands:
    @hookimpl
    def nid_register_commands(self, register):
        register(click.Command("some"))


@pytest.mark.parametrize(("setting", "traced"), [("1", True), ("0", False), ("", False)])
def test_trace_by_environment_goes_to_stderr(capsys, setting, traced):
    manager = bare(environ={"NID_TRACE_PLUGINS": setting})
    manager.register(_Commands(), "pa")
    manager.commands()
    assert ("nid_register_commands" in capsys.readouterr().err) is traced
