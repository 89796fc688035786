"""``nid report``: what a detection found, in the terminal or as a page."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, check_page, check_writable, data_options, model_options, with_options
from nid_plugins.cli.scored import Rows, after_options, check_after, check_scored, compared
from nid_plugins.errors import MissingExtraError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

_SCORED = "gains and combinations of crosses, and what they change, are told from clicks and a model"


@click.command("report")
@click.argument("report", type=FILE)
@click.option(
    "--html", "html", type=FILE, metavar="OUT", help="Write a page of one file that needs no network."
)
@click.option("--plot", "picture", type=FILE, metavar="OUT", help="Draw the ranking: a .png, .svg or .pdf.")
@click.option(
    "--crosses", type=FILE, metavar="DIR", help="Crosses whose gains and strongest combinations are shown."
)
@click.option(
    "--data",
    type=FILE,
    metavar="FILE",
    help="Rows for --crosses and --after, which the models were not trained on.",
)
@click.option("--label", metavar="COLUMN", help="Column of clicks.")
@click.option("--model", metavar="MODEL", help="package.module:factory of the model without the crosses.")
@click.option("--logits", metavar="COLUMN", help="Column of the model's logits, instead of --model.")
@with_options(after_options, data_options[1:], model_options)
def report(report: Path, html: Path | None, picture: Path | None, **options: Any) -> None:
    """Show the interactions of REPORT, a file nid detect wrote.

    With --crosses, a folder nid cross wrote, and --data, also what each cross adds to the model and its strongest
    combinations, with CTR observed and predicted. With --after and --data also how much better the model with crosses
    predicts, as nid compare tells it.
    """
    from rich.console import Console

    import nid_plugins as nid

    _check(html, picture, options)
    loaded = nid.InteractionReport.load(report)
    shown: dict[str, Any] = {}
    if options["data"] is not None:
        crosses = None if options["crosses"] is None else nid.CrossFeatures.load(options["crosses"])
        rows = Rows.read(options["data"], options["label"], options)
        logits = rows.logits(options["model"], options["logits"], options)
        if crosses is not None:
            shown = {"crosses": crosses, "frame": rows.frame, "label": rows.clicks, "logits": logits}
            shown["screening"] = nid.screen(crosses, rows.frame, rows.clicks, logits)
        if check_after(options):
            shown["before_after"] = compared(rows, logits, options)
    page = loaded.page(**shown)
    console = Console(highlight=False)
    console.print(page)
    if html is not None:
        page.save(html)
        console.print(f"page: {html}", soft_wrap=True, markup=False)
    if picture is not None:
        _draw(loaded, picture)
        console.print(f"plot: {picture}", soft_wrap=True, markup=False)


def _check(html: Path | None, picture: Path | None, options: dict[str, Any]) -> None:
    check_page(html)
    if picture is not None:
        check_writable(picture)
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingExtraError("plots need matplotlib", hint="pip install 'nid-plugins[report]'")
    after = check_after(options)
    given = [name for name in ("crosses", "data", "label", "model", "logits") if options[name] is not None]
    if not given and not after:
        return
    absent = [f"--{name}" for name in ("data", "label") if options[name] is None]
    if options["crosses"] is None and not after:
        absent.insert(0, "--crosses or --after")
    if absent:
        raise SettingError(
            _SCORED,
            received=f"no {', no '.join(absent)}",
            expected="--data, --label, --model or --logits, and --crosses, --after or --after-logits",
        )
    check_scored(options, _SCORED)


def _draw(report: Any, picture: Path) -> None:
    from nid_plugins.errors import ArtefactError

    try:
        report.plot().figure.savefig(picture)
    except (OSError, ValueError) as error:  # a ValueError is an ending matplotlib does not know
        raise ArtefactError(f"the plot cannot be written: {error}", received=str(picture)) from error
