"""The code of a page: its Python blocks, and the commands of a shell that it shows."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPS = Path(__file__).parent / "setups"
FLAVOURS = ("plain", "torch", "keras3", "tf_keras")
"""What one process can be: without a framework, with PyTorch, with Keras 3, with tf_keras and DeepCTR."""
CONSOLE = ("console", "bash", "sh", "shell")
TEXT = ("", "text", "toml", "json", "yaml", "html")
"""What fences may be marked with, besides ``python`` and the words for a shell. Nothing marked so is run."""
FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
COMMAND = re.compile(r"^(?:\$ )?(?P<command>(?:[A-Z_]+=\S+ )*(?:nid|python3? -m|make|pip|export) \S.*)$")


@dataclass(frozen=True)
class Block:
    """A block of Python, or one command.

    Attributes:
        page: The page's path, from the root.
        line: The line its code begins in.
        kind: ``"python"`` or ``"shell"``.
        code: What it says.
    """

    page: str
    line: int
    kind: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


def pages() -> list[str]:
    """Return the pages at the root and all under ``docs`` but those that were built."""
    found = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    named = [page.relative_to(ROOT) for page in found]
    return [page.as_posix() for page in named if not any(part.startswith("_") for part in page.parts)]


def fences(text: str) -> list[tuple[int, str, list[str]]]:
    """Return the fenced blocks of a page: line of the first line of code, what the fence is marked with, lines."""
    found: list[tuple[int, str, list[str]]] = []
    opened, lines = None, text.splitlines()
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened = (number + 1, fence["info"].strip(), fence["fence"])
        elif opened is not None and fence and fence["fence"].startswith(opened[2]) and not fence["info"]:
            found.append((opened[0], opened[1], lines[opened[0] - 1 : number - 1]))
            opened = None
    assert opened is None, f"the fence before line {opened[0]} is not closed" if opened else ""
    return found


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in its order."""
    text = (ROOT / page).read_text("utf-8")
    found, inside = [], set()
    for start, info, lines in fences(text):
        inside |= set(range(start - 1, start + len(lines) + 1))
        if info == "python":
            found.append(Block(page, start, "python", textwrap.dedent("\n".join(lines)) + "\n"))
        elif info in CONSOLE:
            found += commands(page, start, lines)
    indented = [
        line[4:] if line.startswith("    ") and number not in inside else ""
        for number, line in enumerate(text.splitlines(), start=1)
    ]
    return sorted([*found, *commands(page, 1, indented)], key=lambda block: block.line)


def commands(page: str, start: int, lines: list[str]) -> list[Block]:
    """Return the commands among lines of a shell; what a command prints is none."""
    found: list[Block] = []
    pending = ""
    for number, line in enumerate(lines, start=start):
        whole = pending + line.strip()
        pending = whole[:-1] if whole.endswith("\\") else ""
        match = COMMAND.match(whole)
        if match and not pending:
            found.append(Block(page, number, "shell", match["command"]))
    return found


def inline_commands(page: str) -> list[str]:
    """Return the commands of ``nid`` and the modules to run that stand in a sentence or a table."""
    outside = (ROOT / page).read_text("utf-8")
    for _, _, lines in fences(outside):
        outside = outside.replace("\n".join(lines), "")
    return [" ".join(code.split()) for code in re.findall(r"`((?:nid|python -m) [^`]+)`", outside)]


def name_of(page: str) -> str:
    """Return what a page's set-up is called."""
    return re.sub(r"\W", "_", page.removeprefix("docs/").removesuffix(".md")).lower()


def setup_of(flavour: str, page: str) -> Path:
    """Return where a page's set-up for a flavour is, if there is one."""
    return SETUPS / flavour / f"{name_of(page)}.py"


def said_by(setup: Path, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return a tuple of texts that a set-up says at its top, without importing the frameworks it imports."""
    for node in ast.parse(setup.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return tuple(ast.literal_eval(node.value))
    return default


def owners(block: Block) -> list[str]:
    """Return the flavours whose set-up runs a block: that says so by ``BLOCKS``, or has all blocks of its page."""
    found = []
    for flavour in FLAVOURS:
        setup = setup_of(flavour, block.page)
        if setup.is_file() and any(text in block.code for text in said_by(setup, "BLOCKS", ("",))):
            found.append(flavour)
    return found
