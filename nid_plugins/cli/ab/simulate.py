"""``nid ab simulate``: A/A tests on one's own logs, which show whether the plan's tests keep their promise there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nid_plugins.cli.ab.logs import read_log
from nid_plugins.cli.ab.outputs import FAILED, check_outputs, output_options, tell
from nid_plugins.cli.inputs import FILE, with_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("simulate", short_help="Run A/A tests, or tests of an effect, on past logs.")
@click.argument("design", type=FILE)
@click.option(
    "--logs",
    required=True,
    metavar="LOG",
    help="Past impressions: the unit of each, and what the primary metric reads.",
)
@click.option(
    "--clicks", metavar="LOG", help="Past clicks by impression, where the logs have no column of them."
)
@click.option(
    "--units", metavar="LOG", help="Covariates by unit, where the logs do not have the design's covariate."
)
@click.option(
    "--effect",
    type=float,
    default=0.0,
    help="Relative effect to put into the treatments: the rates are then powers.  [default: none, an A/A test]",
)
@click.option("--runs", type=int, default=2000, show_default=True, help="Experiments to simulate.")
@click.option("--looks", type=int, default=100, show_default=True, help="Looks at each while it runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same runs.")
@with_options(output_options)
@click.pass_context
def simulate(
    ctx: click.Context,
    design: Path,
    logs: str,
    clicks: str | None,
    units: str | None,
    effect: float,
    runs: int,
    looks: int,
    seed: int,
    page: Path | None,
    data: Path | None,
) -> None:
    """Run the test planned in DESIGN many times on past logs, with no difference between its variants.

    Each run deals the units of the logs out anew and tests the primary metric: the share of runs that find an effect is
    the real false-positive rate. With --effect 0.02 it is how often an effect of 2 % would be found. A LOG is a Parquet or CSV file, a folder of Parquet
    files, a pattern in quotes, or file.duckdb::table.

    The exit status is 0 when the rates are what the plan promises, 3 when they are not, 2 for an error.
    """
    from nid_plugins.experiment import Design, aa

    check_outputs(page, data)
    plan = Design.load(design)
    past, clicked, known = (read_log(log, plan) for log in (logs, clicks, units))
    result = aa(plan, past, clicked, units=known, runs=runs, looks=looks, seed=seed, effect=effect)
    tell(result, page, data)
    if not result.passes:
        ctx.exit(FAILED)
