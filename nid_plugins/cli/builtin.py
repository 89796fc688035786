"""The built-in commands, registered like anyone's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import click


@hookimpl
def nid_register_commands(register: Callable[[click.Command], object]) -> None:
    """Add the commands of this folder."""
    from nid_plugins.cli.ab import ab
    from nid_plugins.cli.compare import compare
    from nid_plugins.cli.cross import cross
    from nid_plugins.cli.demo import demo
    from nid_plugins.cli.detect import detect
    from nid_plugins.cli.plugins import plugins
    from nid_plugins.cli.report import report
    from nid_plugins.cli.screen import screen

    for command in (ab, compare, cross, demo, detect, plugins, report, screen):
        register(command)
