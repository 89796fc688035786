"""Links into and out of ``docs`` keep working: as pages where there is one, as downloads otherwise.

The pages are read on code hosts too, where ``../examples/quickstart.py`` is the right link. On the site the examples are
sections of one page, README's links start in another folder, and the changelog is a page.
Docstrings name a page by its file, which on the site is a link to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from sphinx.application import Sphinx

_EXAMPLE = re.compile(r"\]\((?:\.\./)*examples/(\w+)\.py\)")
_CHANGELOG = re.compile(r"\]\((?:\.\./)*CHANGELOG\.md\)")


_PAGE = re.compile(r"``docs/([\w/-]+)\.md``")


def rewritten(text: str, docname: str) -> str:
    """Return a page's text with its links to examples and to the changelog as links to pages of the site."""
    if docname != "examples":  # there each example's own file is linked
        text = _EXAMPLE.sub(r"](/examples.md#\1py)", text)
    return _CHANGELOG.sub("](/changelog.md)", text)


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    del app
    content[0] = rewritten(content[0], docname)


def _included(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    del app, path
    content[0] = rewritten(content[0].replace("](docs/", "](/"), parent)


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    del app, what, name, obj, options
    lines[:] = [_PAGE.sub(r":doc:`/\1`", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _read)
    app.connect("include-read", _included)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
