"""``nid compare``: two models on the rows of a file, such as one without and one with crosses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, check_page, check_writable, data_options, model_options, with_options
from nid_plugins.cli.scored import Rows, after_options, check_after, check_scored, compared
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("compare")
@click.option(
    "--data", type=FILE, required=True, metavar="FILE", help="Rows neither model was trained on, with clicks."
)
@click.option("--label", required=True, metavar="COLUMN", help="Column of clicks.")
@click.option("--model", metavar="MODEL", help="package.module:factory of the model before.")
@click.option("--logits", metavar="COLUMN", help="Column of its logits, instead of --model.")
@with_options(after_options)
@click.option("--out", type=FILE, metavar="FILE", help="Where to write the comparison, as JSON.")
@click.option("--html", type=FILE, metavar="OUT", help="Write a page of one file that needs no network.")
@with_options(data_options, model_options)
def compare(data: Path, label: str, out: Path | None, html: Path | None, **options: Any) -> None:
    """Compare the predictions of two models of the same rows: AUC, log-loss, RIG and calibration.

    Each difference comes with its 95 % interval. A model is package.module:factory, as for nid detect, or a column of
    logits (of probabilities with --output probability). --schema, --encoder, --inputs and --output are of both models.
    """
    from rich.console import Console

    check_scored(options, "a comparison takes a model before")
    if not check_after(options):
        raise SettingError("a comparison takes a model after", expected="either --after or --after-logits")
    if out is not None:
        check_writable(out)
    check_page(html)
    rows = Rows.read(data, label, options)
    found = compared(rows, rows.logits(options["model"], options["logits"], options), options)
    console = Console(highlight=False)
    console.print(found)
    if out is not None:
        found.save(out)
        console.print(f"comparison: {out}", soft_wrap=True, markup=False)
    if html is not None:
        found.to_html(html)
        console.print(f"page: {html}", soft_wrap=True, markup=False)
