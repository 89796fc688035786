"""``nid plugins``: which plug-ins are at work, and what is wrong with the others."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """List plug-ins: name, version, where from, hooks."""
    from nid_plugins.plugins import get_manager

    manager = get_manager()
    problems, infos = manager.problems, manager.plugins()
    if as_json:
        click.echo(json.dumps({"plugins": [asdict(info) for info in infos], "problems": problems}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "version", "source", "hooks")
    for column in table.columns[:3]:
        column.no_wrap = True
    for info in infos:
        table.add_row(info.name, info.version or "", info.source, "\n".join(info.hooks))
    console = Console()
    console.print(table)
    for problem in problems:
        console.print(f"problem: {problem}", markup=False, highlight=False, soft_wrap=True)
