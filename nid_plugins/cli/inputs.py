"""Options several commands share, and the files they name."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nid_plugins.errors import ArtefactError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.readers import Encoder
    from nid_plugins.schema import FeatureSchema

FILE = click.Path(path_type=Path)

model_options: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--inputs",
        type=click.Choice(["auto", "positional", "matrix", "mapping"]),
        default="auto",
        show_default=True,
        help="How the model takes a batch.",
    ),
    click.option(
        "--output",
        type=click.Choice(["auto", "probability", "logit"]),
        default="auto",
        show_default=True,
        help="What the model returns.",
    ),
    click.option(
        "--allow-pickle", is_flag=True, help="Unpickle a model given as a file. Runs code from the file."
    ),
)
data_options: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--schema", type=FILE, metavar="FILE", help="JSON of the fields, where they are not known already."
    ),
    click.option(
        "--encoder", type=FILE, metavar="FILE", help="Coding of raw values, as nid demo --out saves it."
    ),
)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Return a decorator that adds options to a command, in their order."""

    def decorate(command: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


def check_writable(out: Path, *, folder: bool = False) -> None:
    """Check where a result is to go before the work is done, not after; a folder is made.

    Args:
        out: A file that may exist or not, or a folder.
        folder: Whether it is a folder.

    Raises:
        ArtefactError: It cannot be written there.
    """
    try:
        if folder:
            out.mkdir(parents=True, exist_ok=True)
        place = out if folder else out.parent
        if not folder and (out.is_dir() or not place.is_dir()):
            raise ArtefactError(
                "no place for a file",
                received=str(out),
                expected="a file in a folder that exists",
                hint="Make the folder, or name a file in it" if not out.is_dir() else "Name a file",
            )
        if not os.access(place, os.W_OK):
            raise ArtefactError("the folder cannot be written to", received=str(place))
    except OSError as error:
        raise ArtefactError(
            "the folder cannot be made", received=f"{type(error).__name__}: {error}", expected="a folder"
        ) from error


def check_page(html: Path | None) -> None:
    """Check that a page can be made and written, before the work is done.

    Raises:
        ArtefactError: It cannot be written there.
        MissingExtraError: Jinja2 is not installed.
    """
    if html is None:
        return
    check_writable(html)
    if importlib.util.find_spec("jinja2") is None:
        raise MissingExtraError("pages need Jinja2", hint="pip install 'nid-plugins[report]'")


def read_schema(path: Path | None) -> FeatureSchema | None:
    """Read a schema written as JSON, ``{"fields": [...]}``.

    Raises:
        ArtefactError: The file is absent or not JSON.
        SchemaError: It is not a schema.
    """
    from nid_plugins.schema import FeatureSchema

    if path is None:
        return None
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"the schema {path} cannot be read", received=f"{type(error).__name__}: {error}"
        ) from error
    return FeatureSchema.from_dict(spec)


def read_encoder(path: Path | None) -> Encoder | None:
    """Read a coding.

    Raises:
        ArtefactError: The file is absent or damaged.
    """
    from nid_plugins.readers import Encoder

    return None if path is None else Encoder.load(path)


def read_frame(path: Path, encoder: Encoder | None) -> Any:
    """Read a table of ids and numbers, or of raw values that are coded first.

    Raises:
        FrameError: The file cannot be read, or does not fit the coding.
    """
    from nid_plugins.readers import read_raw, read_table

    return read_table(path) if encoder is None else encoder.transform(read_raw(path))
