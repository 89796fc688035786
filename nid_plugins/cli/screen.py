"""``nid screen``: what each cross adds to a model, on rows of a file the model was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, data_options, model_options, read_encoder, read_frame, with_options
from nid_plugins.errors import FrameError, SettingError

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
    from nid_plugins.frames import numeric_column, read_label
    from nid_plugins.readers import read_raw

    if (options["model"] is None) == (options["logits"] is None):
        raise SettingError(
            "screening is on top of a model",
            expected="either --model or --logits",
            hint="Give one of the two",
        )
    if options["out"] is not None and options["out"].is_file():
        raise SettingError("--out names a file", received=str(options["out"]), expected="a folder")
    fitted = nid.CrossFeatures.load(crosses)
    encoder = read_encoder(options["encoder"])
    frame = read_frame(data, encoder)
    table = frame if encoder is None else read_raw(data)
    for column in (label, options["logits"]):
        if column is not None and column not in table:
            raise FrameError(
                f"{data} has no such column", field=column, expected=f"one of {list(table.columns)}"
            )
    clicks = read_label(_numbers(table, label), {}, len(table))
    if options["logits"] is not None:
        logits = numeric_column(options["logits"], _numbers(table, options["logits"]))
    else:
        from nid_plugins.cli.models import load_box

        box = load_box(
            options["model"],
            None if encoder is None else encoder.schema,
            inputs=options["inputs"],
            output=options["output"],
            allow_pickle=options["allow_pickle"],
        )
        logits = box.logits(frame)
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


def _numbers(table: Any, column: str) -> Any:
    from nid_plugins.readers.columns import numbers_of

    return numbers_of(column, table[column].to_numpy())


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
