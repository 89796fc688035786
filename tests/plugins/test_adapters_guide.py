"""The guide to adapters shows the worked one as it is, whole, and names all there is to fill in for the suite."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from nid_plugins.testing import AdapterCase

EXAMPLE = Path(__file__).parent / "nid_minifm"
PAGE = (Path(__file__).parents[2] / "docs" / "plugins" / "adapters.md").read_text(encoding="utf-8")
SHOWN = [*(f"nid_minifm/{name}.py" for name in ("plugin", "model", "tower", "inject")), "test_minifm.py"]


def bare(text):
    """Return code without docstrings, comments and the annotations import."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if getattr(node, "module", None) != "__future__"]
    return ast.unparse(tree)


def test_the_code_shown_is_the_example_s_file_by_file():
    blocks = [bare(block) for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)]
    files = [bare((EXAMPLE / name).read_text(encoding="utf-8")) for name in SHOWN]
    assert blocks == files


def test_every_hook_and_attribute_of_the_suite_is_explained():
    listed = PAGE[PAGE.index("| hook |") :]
    for name in vars(AdapterCase) | AdapterCase.__annotations__:
        if not name.startswith("_"):
            assert re.search(rf"`{name}[`(]", listed), name


def test_files_named_on_the_page_exist():
    for name in re.findall(r"`(tests/[^`]+)`", PAGE):
        assert (EXAMPLE.parents[2] / name).exists(), name
