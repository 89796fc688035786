"""The guides under docs/plugins as their tests read them: the text, its code, and the files it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Guide:
    """A guide.

    Attributes:
        text: The page.
        python: Its blocks of Python, in order.
    """

    def __init__(self, name):
        self.text = (ROOT / "docs" / "plugins" / name).read_text(encoding="utf-8")
        self.python = self.blocks("python")

    def blocks(self, language):
        """Return the blocks of a language, in order."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def absent(self):
        """Return the files of the repository the page names that do not exist."""
        named = re.findall(r"`((?:tests|benchmarks|nid_plugins)/[^`]+)`", self.text)
        return [name for name in named if not (ROOT / name).exists()]


def bare(text):
    """Return code without docstrings, comments and the annotations import."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if getattr(node, "module", None) != "__future__"]
    return ast.unparse(tree)


def bare_files(folder, names):
    """Return the files of a worked package, bare."""
    return [bare((folder / name).read_text(encoding="utf-8")) for name in names]
