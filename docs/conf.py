"""Settings of the documentation's build: ``make docs``, or ``python -m sphinx -W -n docs docs/_build/html``.

The pages are plain Markdown, readable as files too. The reference is made from the docstrings, for which the modules are
imported, those of the adapters with their frameworks. Nothing is fetched: neither inventories nor fonts.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "adapters"), str(HERE / "_ext")]
# One process imports Keras 3 and, for DeepCTR, tf_keras. Nothing is computed, so no accelerator is touched.
os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

# Said once a docstring; nothing of ours can change it.
warnings.filterwarnings("ignore", message=r"'sphinx_autodoc_typehints\.", category=DeprecationWarning)

from docutils import nodes  # noqa: E402  # after the filter

import nid_plugins  # noqa: E402  # after the path

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "nid-plugins"
author = "the authors of nid-plugins"
release = version = nid_plugins.__version__
html_title = f"nid-plugins {release}"
html_show_copyright = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",  # before sphinx_autodoc_typehints, which hides a function it imports
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "outside_links",
    "short_names",
]
exclude_patterns = ["_build", "_ext"]
root_doc = "index"
smartquotes = False  # "--json" is an option, not a dash

# Markdown: links to headings as code hosts make them.
myst_heading_anchors = 4

# Docstrings: Google's form, types from the annotations.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autosummary_generate = False
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as they are written: os.environ, not what is in it
always_use_bars_union = True
typehints_document_rtype_none = False

# Every name in an annotation or a docstring leads somewhere, or is of a package that is documented elsewhere.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(typing|collections|contextlib|pathlib|os|datetime|random)(\..*)?|Ellipsis"),
    ("py:.*", r".*\._\w+"),  # what a detector prepares for itself
    (
        "py:.*",
        r"(np|npt|numpy|pd|pandas|pa|pyarrow|pl|polars|narwhals|ibis|tea_tasting|duckdb|matplotlib|ray)\..*",
    ),
    (
        "py:.*",
        r"(torch|nn|tf|tensorflow|keras|tf_keras|deepctr|deepctr_torch|lightning|pytorch_lightning)\..*",
    ),
    ("py:.*", r"(click|pluggy|pytest|rich|markupsafe)\..*"),
]

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"


def _own_words(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep out what is not meant: what ``int`` is said to be, and types read off "Names of fields: sparse ones first"."""
    del app, name, options
    if what == "data" and "\n".join(lines).strip() == inspect.getdoc(type(obj)):
        lines.clear()
    elif what == "property" and lines and ":" in lines[0]:
        lines[:0] = ["..", ""]  # an empty comment


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str | None] | None:
    """Leave out the types, which stand with the parameters, and show a default's value where it is a constant."""
    from sphinx_autodoc_typehints import process_signature  # not before sphinx_click is imported

    made = process_signature(app, what, name, obj, options, signature, returned)
    if made is None:
        return None
    constants = vars(sys.modules.get(getattr(obj, "__module__", ""), sys))

    def shown(match: re.Match[str]) -> str:
        value = constants.get(match[1])
        return f"={value!r}" if isinstance(value, str | int | float | tuple) else match[0]

    return re.sub(r"=([A-Z][A-Z0-9_]+)\b", shown, made[0]), made[1]


def _dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Set the dashes between a parameter and its description, which is otherwise left to smart quotes."""
    del app
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _own_words, priority=400)  # before Napoleon
    app.connect("autodoc-process-signature", _signature, priority=400)  # before that of the types
    app.connect("doctree-read", _dashes)
