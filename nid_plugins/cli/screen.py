"""``nid screen``: what each cross adds to a model, on rows of a file the model was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, data_options, model_options, with_options
from nid_plugins.cli.scored import check_scored, read_scored
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("screen")
@click.argument("crosses", type=FILE)
@click.option("--data", type=FILE, required=True, metavar="FILE", help="Rows to screen on, with the label.")
@click.option("--label", required=True, metavar="COLUMN", help="Column of clicks.")
@click.option(
    "--model", metavar="MODEL", help="package.module:factory of the model the crosses are to be added to."
)
@click.option("--logits", metavar="COLUMN", help="Column of the model's logits, instead of --model.")
@click.option("--greedy", is_flag=True, help="Judge each cross on top of those picked before it.")
@click.option("--picks", type=int, default=40, show_default=True, help="Most crosses to pick with --greedy.")
@click.option("--folds", type=int, default=5, show_default=True, help="Folds, each held out once.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the folds.")
@click.option(
    "--out", type=FILE, metavar="DIR", help="Folder to write the crosses to that gain more than their error."
)
@with_options(data_options[1:], model_options)
def screen(crosses: Path, data: Path, label: str, **options: Any) -> None:
    """Measure what each of CROSSES adds to a model: held-out fall in log-loss, in nats a row.

    CROSSES is a folder nid cross wrote. Use rows the model was not trained on, such as the validation set.
    """
    import nid_plugins as nid

    check_scored(options, "screening is on top of a model")
    if options["out"] is not None and options["out"].is_file():
        raise SettingError("--out names a file", received=str(options["out"]), expected="a folder")
    fitted = nid.CrossFeatures.load(crosses)
    frame, clicks, logits = read_scored(data, label, options, "screening is on top of a model")
    screened = nid.screen(
        fitted,
        frame,
        clicks,
        logits,
        greedy=options["greedy"],
        picks=options["picks"],
        folds=options["folds"],
        seed=options["seed"],
    )
    _print(screened)
    if options["out"] is not None:
        kept = screened.select(errors=1.0)
        if not kept:
            click.echo("nothing gains more than its error: no crosses written")
            return
        fitted.select(kept).save(options["out"])
        click.echo(f"{len(kept)} crosses: {options['out']}")


def _print(screened: Any) -> None:
    from rich.console import Console

    from nid_plugins.cli import story

    console = Console(highlight=False)
    console.print(
        f"{screened.rows:,} rows; log-loss of the model {screened.base_loss:.6f}; its fields one by one would gain "
        f"{screened.main_effects_gain:.6f}"
    )
    shown = story.table("cross", "gain", "error", "alone", "ids", "rows covered", right=(1, 2, 3, 4, 5))
    for one in screened:
        shown.add_row(
            one.name,
            f"{one.gain:+.6f}",
            f"{one.error:.6f}",
            f"{one.alone:+.6f}",
            f"{one.vocabulary:,}",
            f"{one.coverage:.1%}",
        )
    console.print(shown)
