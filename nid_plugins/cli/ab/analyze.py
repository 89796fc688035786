"""``nid ab analyze``: the result of an experiment, from its exposures and clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nid_plugins.cli.ab.logs import read_log
from nid_plugins.cli.ab.outputs import FAILED, check_outputs, output_options, tell
from nid_plugins.cli.inputs import FILE, with_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("analyze", short_help="Read the result from exposures and clicks.")
@click.argument("design", type=FILE)
@click.option(
    "--exposures",
    required=True,
    metavar="LOG",
    help="What was shown to whom, as the router's sinks write it.",
)
@click.option(
    "--clicks",
    metavar="LOG",
    help="Clicks by impression. Leave it out if the exposures have a column of clicks.",
)
@click.option("--units", metavar="LOG", help="Covariates by unit, known before the test began.")
@click.option(
    "--sequential/--fixed",
    default=True,
    show_default=True,
    help="Whether to add intervals that hold at every look, not at the planned end only.",
)
@with_options(output_options)
@click.pass_context
def analyze(
    ctx: click.Context,
    design: Path,
    exposures: str,
    clicks: str | None,
    units: str | None,
    sequential: bool,
    page: Path | None,
    data: Path | None,
) -> None:
    """Read the result of the test planned in DESIGN: a file, or the folder it is kept in.

    A LOG is a Parquet or CSV file, a folder of Parquet files, a pattern in quotes, or file.duckdb::table.

    The exit status is 0 when the result can be read, whatever it says; 3 when it cannot, since the sample ratio is not as
    planned; 2 for an error. With --json a script reads the decision itself: ship, stop, continue or invalid.
    """
    from nid_plugins.experiment import Design
    from nid_plugins.experiment import analyze as read

    check_outputs(page, data)
    plan = Design.load(design)
    logs = [read_log(log, plan) for log in (exposures, clicks, units)]
    result = read(plan, *logs[:2], units=logs[2], sequential=sequential)
    tell(result, page, data)
    if result.decision == "invalid":
        ctx.exit(FAILED)
