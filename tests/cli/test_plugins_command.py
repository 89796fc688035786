"""``nid`` itself and ``nid plugins``: what is listed, blocked, traced, and how mistakes are said."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from nid_plugins import NidWarning, SettingError, __version__, hookimpl
from nid_plugins import plugins as host
from nid_plugins.cli import nid
from nid_plugins.plugins import get_manager


@pytest.fixture
def call(monkeypatch):
    """Return a function that runs ``nid`` in this process without the environment's plug-in settings."""
    for name in ("NID_DISABLE_PLUGINS", "NID_LOAD_PLUGINS", "NID_TRACE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        return CliRunner().invoke(nid, arguments)

    return run


class Broken:
    """Registers a command that fails in every way a command can."""

    @hookimpl
    def nid_register_commands(self, register):
        register(click.Command("wrong", callback=self.wrong, help="Fail as a user's mistake does."))
        register(click.Command("crash", callback=self.crash))
        register("not a command")

    def wrong(self):
        raise SettingError("no such\nthing", received="x", hint="Ask for another")

    def crash(self):
        raise ZeroDivisionError("a bug of ours")


@pytest.fixture
def broken(monkeypatch, call):
    """Add a plug-in to every manager the command line makes."""
    load = host.PluginManager._load

    def and_broken(self):
        first = not self._loaded
        load(self)
        if first:
            self.register(Broken(), "broken")

    monkeypatch.setattr(host.PluginManager, "_load", and_broken)
    return call


def test_version_and_help(call):
    assert call("--version").output.strip() == f"nid, version {__version__}"
    done = call("--help")
    assert done.exit_code == 0
    assert "plugins" in done.output
    assert "--disable NAME" in done.output


def test_plugins_as_a_table(call):
    done = call("plugins")
    assert done.exit_code == 0
    for word in ("detection", "cli", "built-in", "entry point", "nid_register_commands", __version__):
        assert word in done.stdout
    assert "problem" not in done.output
    assert done.stderr == ""


def test_plugins_as_json(call):
    done = call("plugins", "--json")
    listed = json.loads(done.stdout)
    assert listed["problems"] == []
    plugins = {plugin.pop("name"): plugin for plugin in listed["plugins"]}
    assert plugins["cli"] == {
        "version": __version__,
        "hooks": ["nid_register_commands"],
        "source": "built-in",
    }
    assert plugins["torch"] == {
        "version": __version__,
        "hooks": ["nid_register_adapters"],
        "source": "entry point",
    }
    assert {"detection", "deepctr_torch"} <= set(plugins)


def test_problems_are_shown(broken):
    done = broken("plugins", "--json")
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem.startswith("plug-in 'broken' registered an unusable command")
    assert f"problem: {problem}\n" in broken("plugins").stdout
    assert done.stderr == f"nid: warning: {problem}\n"


def test_a_broken_environment_is_said_and_the_rest_works(call, monkeypatch):
    monkeypatch.setenv("NID_LOAD_PLUGINS", "absent")
    done = call("plugins", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["problems"] == [
        "plug-in 'absent' named in NID_LOAD_PLUGINS but not installed"
    ]


def test_disable_leaves_a_plugin_out_for_this_command_only(call):
    before = [info.name for info in get_manager().plugins()]
    done = call("--disable", "torch", "--disable", "deepctr_torch", "plugins", "--json")
    assert {p["name"] for p in json.loads(done.stdout)["plugins"]}.isdisjoint({"torch", "deepctr_torch"})
    assert [info.name for info in get_manager().plugins()] == before
    assert "torch" in {p["name"] for p in json.loads(call("plugins", "--json").stdout)["plugins"]}


def test_disable_can_remove_a_command(call):
    done = call("--disable", "cli", "plugins")
    assert done.exit_code == 2
    assert "No such command 'plugins'" in done.stderr


def test_disable_of_an_unknown_plugin_is_an_error(call):
    done = call("--disable", "trch", "plugins")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("nid: no plug-in to disable; received: ['trch']; expected: ")
    assert done.stderr.count("\n") == 1


def test_trace(call):
    done = call("--trace-plugins", "plugins", "--json")
    json.loads(done.stdout)
    assert "nid: nid_register_commands(register=" in done.stderr
    assert " -> cli\n" in done.stderr
    assert "nid: nid_register_commands returned [] in " in done.stderr
    assert "nid_register" not in call("plugins", "--json").stderr


def test_a_user_s_mistake_is_one_line_on_stderr_and_exit_2(broken):
    done = broken("wrong")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.endswith("nid: no such thing; received: x; Ask for another.\n")
    assert "Traceback" not in done.stderr


def test_debug_shows_where_it_came_from(broken):
    done = broken("--debug", "wrong")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "test_plugins_command.py" in done.stderr


def test_a_bug_is_not_passed_off_as_a_user_s_mistake(broken):
    assert isinstance(broken("crash").exception, ZeroDivisionError)


def test_unknown_command_and_option(call):
    assert call("detekt").exit_code == 2
    assert "No such command 'detekt'" in call("detekt").stderr
    assert call("--verbose").exit_code == 2


def test_warnings_outside_the_command_line_are_as_they_were(broken):
    with pytest.warns(NidWarning, match="'broken'"):
        host.PluginManager(builtins={}, entry_points=False, environ={}).commands()


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "nid_plugins", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: nid [OPTIONS] COMMAND")
