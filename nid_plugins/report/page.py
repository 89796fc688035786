"""A report as one HTML page that needs no network: style, script, charts and data are in it.

It is light or dark as its reader's system is, can be read on a phone and by a screen reader, and shows whatever a name
holds as text. Its policy lets the browser run the script it was made with and no other, and load nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nid_plugins import __version__
from nid_plugins.errors import MissingExtraError, SettingError
from nid_plugins.paths import as_path, write_text
from nid_plugins.report.values import clean, show

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from nid_plugins.report.content import Section


@dataclass(frozen=True)
class Page:
    """A report of several sections.

    Args:
        title: What it is about.
        sections: What it says.
        subtitle: A sentence below the title.
        data: The result itself, JSON-ready; it goes into the page, and a button saves it. None for none.
        language: Of its text, as HTML names languages.
    """

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
    subtitle: str = ""
    data: Mapping[str, Any] | None = None
    language: str = "en"

    def html(self) -> str:
        """Return the page.

        Raises:
            MissingExtraError: Jinja2 is not installed.
            SettingError: ``data`` holds what JSON cannot.
        """
        from markupsafe import Markup

        environment = _environment()
        style, script = _source("style.css"), _source("script.js")
        # Neither file holds what would end its element, and neither has a part that comes from data.
        return environment.get_template("page.html").render(
            page=self,
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            policy="; ".join(
                (
                    "default-src 'none'",
                    f"style-src '{_digest(style)}'",
                    f"script-src '{_digest(script)}'",
                    "img-src data:",
                    "base-uri 'none'",
                    "form-action 'none'",
                )
            ),
            data=None if self.data is None else _as_json(self.data),
            version=__version__,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Raises:
            ArtefactError: It cannot be written there.
            MissingExtraError: Jinja2 is not installed.
            SettingError: ``path`` is not a path, or ``data`` holds what JSON cannot.
        """
        target = as_path(path, "a page's file")
        write_text(target, self.html(), "the page")

    def _repr_html_(self) -> str:
        """Return the page for a notebook, in a frame, so that the styles of neither reach the other."""
        return (
            f'<iframe title="{html.escape(clean(self.title))}" srcdoc="{html.escape(self.html())}" '
            'sandbox="allow-scripts allow-downloads" '
            'style="width:100%;height:640px;border:0;resize:vertical;overflow:auto"></iframe>'
        )

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        head = [Text(clean(self.title), style="bold")]
        if self.subtitle:
            head.append(Text(clean(self.subtitle), style="dim"))
        return Group(*head, *(section for section in self.sections if not section.detail))


@functools.cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("pages need Jinja2", hint="pip install 'nid-plugins[report]'") from error
    environment = Environment(
        loader=PackageLoader("nid_plugins.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = lambda value: clean(str(value))
    environment.filters["show"] = show
    return environment


def _source(name: str) -> str:
    from importlib.resources import files

    text = (files("nid_plugins.report") / "templates" / name).read_text(encoding="utf-8")
    # What a browser hashes is the text of the element, in which line ends are \n on every system.
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _as_json(data: Mapping[str, Any]) -> Any:
    from jinja2.utils import htmlsafe_json_dumps

    try:
        # <, >, & and ' become \u003c and so on: no text in the data can end the element it stands in.
        return htmlsafe_json_dumps(data, functools.partial(json.dumps, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"the data of the page is what JSON cannot hold: {error}",
            expected="finite numbers, text, lists, mappings and None",
        ) from error
