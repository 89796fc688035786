"""``nid detect``: the interactions of a model, over the rows of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from nid_plugins.cli.inputs import (
    FILE,
    check_writable,
    data_options,
    model_options,
    read_encoder,
    read_frame,
    read_schema,
    with_options,
)
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path


def _instances(context: click.Context, option: click.Parameter, value: str) -> int | Literal["auto"]:
    """Return a number of rows, or ``auto``; a number out of range is left for the detection to refuse."""
    if value == "auto":
        return "auto"
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no number of rows, nor auto", context, option) from error


@click.command("detect")
@click.argument("model")
@click.option(
    "--rows", "rows_file", type=FILE, required=True, metavar="FILE", help="Rows to draw the instances from."
)
@click.option(
    "--background", type=FILE, metavar="FILE", help="Rows the baseline is learned from; --rows by default."
)
@click.option("--out", type=FILE, required=True, metavar="FILE", help="Where to write the report, as JSON.")
@click.option("--detector", help="A detector's name.  [default: least_squares]")
@click.option(
    "--detector-option",
    "detector_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the detector, its value as JSON; may be repeated.",
)
@click.option(
    "--baseline",
    default="mode",
    show_default=True,
    help="What an off field holds: mode, oov, sample, zero_embedding.",
)
@click.option(
    "--instances",
    callback=_instances,
    metavar="N|auto",
    default="1000",
    show_default=True,
    help="Rows explained; auto: until the top K is settled.",
)
@click.option("--perturbations", type=int, default=6000, show_default=True, help="Masks a row.")
@click.option("--top-k", type=int, default=40, show_default=True, help="Interactions reported.")
@click.option(
    "--prune",
    type=click.Choice(["gain", "paper", "none"]),
    default="gain",
    show_default=True,
    help="Which sets count.",
)
@click.option(
    "--rank",
    type=click.Choice(["count", "gain", "strength"]),
    default="count",
    show_default=True,
    help="What the ranking goes by: instances a set was found in, held-out R^2 or squared strength over all instances.",
)
@click.option(
    "--redraw",
    type=int,
    metavar="N",
    help="Draw masks anew after N rows, a multiple of 32, as fewer of them then do; by default all rows share them.",
)
@click.option(
    "--executor",
    default="threads",
    show_default=True,
    help="Who does the work: serial, threads, processes, ray.",
)
@click.option(
    "--memory",
    default="256MB",
    show_default=True,
    metavar="SIZE",
    help="Most memory for perturbed rows, in each process.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same report.")
@click.option(
    "--resume", type=FILE, metavar="FILE", help="Journal: finished rows are kept in it, and read back."
)
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@with_options(data_options, model_options)
def detect(model: str, rows_file: Path, out: Path, **options: Any) -> None:
    """Find which fields MODEL makes interact.

    MODEL is package.module:factory, a function that returns a model, or a pair of model and schema; or the folder of a
    SavedModel. Files are CSV, TSV, Parquet or Feather by their ending; their columns hold ids and numbers as the model
    takes them, or raw values with --encoder.
    """
    import nid_plugins as nid
    from nid_plugins.cli.models import load_box
    from nid_plugins.errors import ModelError

    check_writable(out)
    wanted = _detector_options(options["detector_options"])
    encoder = read_encoder(options["encoder"])
    schema = read_schema(options["schema"]) or (None if encoder is None else encoder.schema)
    box = load_box(
        model,
        schema,
        inputs=options["inputs"],
        output=options["output"],
        allow_pickle=options["allow_pickle"],
    )
    rows = read_frame(rows_file, encoder)
    background = None if options["background"] is None else read_frame(options["background"], encoder)
    chosen = {} if options["detector"] is None else {"detector": options["detector"]}
    try:
        report = nid.detect(
            box,
            rows,
            background=background,
            baseline=options["baseline"],
            instances=options["instances"],
            perturbations=options["perturbations"],
            top_k=options["top_k"],
            seed=options["seed"],
            prune=options["prune"],
            rank=options["rank"],
            options=wanted,
            redraw=options["redraw"],
            executor=options["executor"],
            memory=options["memory"],
            resume=options["resume"],
            progress=not options["no_progress"],
            **chosen,
        )
    except ModelError as error:
        if error.partial is not None:
            kept = out.with_suffix(".partial.json")
            error.partial.save(kept)
            click.echo(f"nid: {error.partial.instances} finished rows are in {kept}", err=True)
        raise
    report.save(out)
    _print(report, out)


def _detector_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return detector options written as KEY=VALUE; a value that is not JSON is text.

    Raises:
        SettingError: A pair of another form, or a key given twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier() or key in found:
            raise SettingError(
                "not an option of a detector"
                if key not in found
                else "an option of the detector given twice",
                received=f"--detector-option {pair}",
                expected="KEY=VALUE, each key once",
                hint="e.g. --detector nid --detector-option linear=false",
            )
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def _print(report: Any, out: Path) -> None:
    from rich.console import Console

    from nid_plugins.cli import story

    console = Console(highlight=False)
    story.found(console, report)
    if "stopped" in report.settings:
        console.print(f"{report.instances} rows explained; {report.settings['stopped']}", soft_wrap=True)
    console.print(f"report: {out}", soft_wrap=True)
