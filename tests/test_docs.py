"""The documentation is in step with the tree: links lead somewhere, code is Python, names exist, examples run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nid_plugins as nid

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def code_blocks(page):
    """Return the page's Python blocks, without the indentation of a list they may stand in."""
    found = re.findall(
        r"^[ \t]*```python[^\n]*\n(.*?)^[ \t]*```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [textwrap.dedent(code) for code in found]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_code_is_python_and_uses_names_that_exist(page):
    for code in code_blocks(page):
        for node in ast.walk(ast.parse(code)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "nid"
            ):
                assert hasattr(nid, node.attr), f"nid.{node.attr}"
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nid_plugins"):
                module = __import__(node.module, fromlist=["_"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_the_testing_guide_s_tests_pass(tmp_path):
    """Its examples are run as a reader would run them, on a plug-in with the detector they speak of."""
    code = "\n\n".join(code_blocks(ROOT / "docs" / "plugins" / "testing.md"))
    assert code.count("def test_") == 2
    (tmp_path / "test_mine.py").write_text(code, encoding="utf-8")
    (tmp_path / "my_plugin.py").write_text(
        textwrap.dedent(
            """
            from nid_plugins import hookimpl
            from nid_plugins.detection import LeastSquares

            class Mine(LeastSquares):
                name = "my_detector"

            @hookimpl
            def nid_register_detectors(register):
                register(Mine())
            """
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_tutorial_shows_the_example_as_it_is():
    example = ROOT / "tests" / "plugins" / "nid_example"
    text = (ROOT / "docs" / "plugins" / "tutorial.md").read_text("utf-8")
    project = (example / "pyproject.toml").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    for line in filter(None, shown.splitlines()):
        assert line in project.splitlines(), line
    plugin = ast.parse((example / "nid_example" / "plugin.py").read_text("utf-8"))
    shown_plugin = next(
        code for code in code_blocks(ROOT / "docs" / "plugins" / "tutorial.md") if "@hookimpl" in code
    )
    assert without_docstrings(plugin) == without_docstrings(ast.parse(shown_plugin))


def without_docstrings(tree):
    """Return a module's imports and functions as text, docstrings and the annotations import left out."""
    kept = []
    for node in tree.body:
        if isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            continue
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
        kept.append(ast.unparse(node))
    return kept
