"""``nid ab``: an experiment from its plan to its decision. Each command is imported when it is asked for."""

from __future__ import annotations

import importlib

import click

COMMANDS = ("design", "assign", "simulate", "analyze")
"""In the order they are used; each is a module here, with a command of its own name."""


class _Steps(click.Group):
    """The steps of an experiment, in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return command


@click.group("ab", cls=_Steps)
def ab() -> None:
    """Set up, check and read an A/B test of two models.

    In this order: design writes the plan and says how large the test must be; simulate runs A/A tests on your own logs;
    assign says who gets which model, for services that do not use the router; analyze reads the result.
    """
