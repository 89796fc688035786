"""``nid report``: what a detection found, in the terminal or as a page."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, check_writable, data_options, model_options, with_options
from nid_plugins.errors import MissingExtraError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

_SCORED = "gains and combinations of crosses are told from clicks and a model"


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
    "--data", type=FILE, metavar="FILE", help="Rows for --crosses, which the model was not trained on."
)
@click.option("--label", metavar="COLUMN", help="Column of clicks.")
@click.option("--model", metavar="MODEL", help="package.module:factory of the model without the crosses.")
@click.option("--logits", metavar="COLUMN", help="Column of the model's logits, instead of --model.")
@with_options(data_options[1:], model_options)
def report(report: Path, html: Path | None, picture: Path | None, **options: Any) -> None:
    """Show the interactions of REPORT, a file nid detect wrote.

    With --crosses, a folder nid cross wrote, and --data, also what each cross adds to the model and its strongest
    combinations, with CTR observed and predicted.
    """
    from rich.console import Console

    import nid_plugins as nid

    _check(html, picture, options)
    loaded = nid.InteractionReport.load(report)
    shown: dict[str, Any] = {}
    if options["crosses"] is not None:
        from nid_plugins.cli.scored import read_scored

        crosses = nid.CrossFeatures.load(options["crosses"])
        frame, clicks, logits = read_scored(options["data"], options["label"], options, _SCORED)
        shown = {"crosses": crosses, "frame": frame, "label": clicks, "logits": logits}
        shown["screening"] = nid.screen(crosses, frame, clicks, logits)
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
    from nid_plugins.cli.scored import check_scored

    for out in filter(None, (html, picture)):
        check_writable(out)
    for wanted, package, what in (
        (html, "jinja2", "pages need Jinja2"),
        (picture, "matplotlib", "plots need matplotlib"),
    ):
        if wanted is not None and importlib.util.find_spec(package) is None:
            raise MissingExtraError(what, hint="pip install 'nid-plugins[report]'")
    needed = ("crosses", "data", "label")
    given = [name for name in (*needed, "model", "logits") if options[name] is not None]
    absent = [f"--{name}" for name in needed if options[name] is None]
    if given and absent:
        raise SettingError(
            _SCORED,
            received=f"no {', '.join(absent)}",
            expected="--crosses, --data, --label and --model or --logits",
        )
    if given:
        check_scored(options, _SCORED)


def _draw(report: Any, picture: Path) -> None:
    from nid_plugins.errors import ArtefactError

    try:
        report.plot().figure.savefig(picture)
    except (OSError, ValueError) as error:  # a ValueError is an ending matplotlib does not know
        raise ArtefactError(f"the plot cannot be written: {error}", received=str(picture)) from error
