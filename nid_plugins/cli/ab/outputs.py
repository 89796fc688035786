"""Where results go: the terminal, and files when asked."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.cli.inputs import FILE, check_writable
from nid_plugins.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAILED = 3
"""Exit status where the command worked and its answer is that something is wrong."""

output_options: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--html", "page", type=FILE, metavar="OUT", help="Write a page of one file that needs no network."
    ),
    click.option("--json", "data", type=FILE, metavar="OUT", help="Write the result as JSON."),
)


def check_outputs(page: Path | None, data: Path | None) -> None:
    """Check before the work that its results can be written.

    Raises:
        ArtefactError: There is no place for a file.
        MissingExtraError: A page is wanted, and Jinja2 is not installed.
    """
    for out in filter(None, (page, data)):
        check_writable(out)
    if page is not None and importlib.util.find_spec("jinja2") is None:
        raise MissingExtraError("pages need Jinja2", hint="pip install 'nid-plugins[ab]'")


def tell(result: Any, page: Path | None, data: Path | None) -> None:
    """Print a result, and write it where it was asked for."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(result)
    if page is not None:
        result.to_html(page)
        console.print(f"page: {page}", soft_wrap=True, markup=False)
    if data is not None:
        result.save(data)
        console.print(f"result: {data}", soft_wrap=True, markup=False)
