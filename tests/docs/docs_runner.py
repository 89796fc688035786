"""Runs the blocks of pages, one after the other, as a reader would: ``python docs_runner.py FLAVOUR RESULTS < blocks.json``.

Each page has a folder and names of its own, and begins with what its set-up gives. A set-up is a module with

- ``given()``: the names the page takes for granted. Nothing else of the set-up is seen by the page.
- ``BEFORE`` and ``AFTER``: text of a block to what is done before that block (a function of the page's names) or checked
  afterwards (a function of the page's names and what was printed).
- ``WARNS``: patterns of the ``NidWarning`` that the page's blocks give on data as small as that of the set-up. Any
  other one is a failure.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import re
import runpy
import shlex
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs_blocks import Block, setup_of

from nid_plugins import NidWarning
from nid_plugins.plugins import use_manager

if TYPE_CHECKING:
    from collections.abc import Callable


def run_page(flavour: str, blocks: list[Block], folder: Path) -> list[str]:
    """Run a page's blocks, and return what is wrong."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    with use_manager(None):  # plug-ins a page registers are its own
        return run_blocks(blocks, runpy.run_path(str(setup_of(flavour, blocks[0].page))))


def run_blocks(blocks: list[Block], setup: dict[str, Any]) -> list[str]:
    """Run blocks of one page up to the first that fails, and return what is wrong."""
    page = {"__name__": "__main__", **setup["given"]()}
    for block in blocks:
        wrong = run_block(block, setup, page)
        if wrong:
            return [f"{block}:\n{wrong}"]
    texts = {**setup.get("BEFORE", {}), **setup.get("AFTER", {})}
    unused = [text for text in texts if sum(text in block.code for block in blocks) != 1]
    return [f"{blocks[0].page}: not one block has {text!r}, of which its set-up speaks" for text in unused]


def run_block(block: Block, setup: dict[str, Any], page: dict[str, Any]) -> str:
    """Run one block, and return what went wrong, or nothing."""
    printed, said = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NidWarning)
        try:
            for step in steps(setup, "BEFORE", block):
                step(page)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
                if block.kind == "python":
                    code = compile(block.code, str(block), "exec", dont_inherit=True)
                    exec(code, page)  # noqa: S102 - our own documentation
                else:
                    run_command(block.code)
            for check in steps(setup, "AFTER", block):
                check(page, printed.getvalue())
        except BaseException:  # noqa: BLE001 - SystemExit of a command too; all of it is reported
            return f"{traceback.format_exc(limit=-6)}\n{said.getvalue()[-2000:]}"
    warned = [str(one.message) for one in caught if issubclass(one.category, NidWarning)]
    warned += re.findall(r"^nid: warning: (.*)", said.getvalue(), re.MULTILINE)
    odd = [text for text in warned if not any(re.search(known, text) for known in setup.get("WARNS", ()))]
    return f"it warns: {odd}" if odd else ""


def steps(setup: dict[str, Any], kind: str, block: Block) -> list[Callable[..., None]]:
    """Return what a set-up does before or after a block."""
    return [step for text, step in setup.get(kind, {}).items() if text in block.code]


def run_command(line: str) -> None:
    """Run a command of ``nid`` as installed, or see that a module's help knows the options it is given."""
    words = shlex.split(line, comments=True)
    before = sys.argv
    try:
        if words[0] == "nid":
            (nid,) = importlib.metadata.entry_points(group="console_scripts", name="nid")
            sys.argv = words
            status = exit_status(nid.load())
            assert status in {0, None}, f"{line} ended with status {status}"
        else:
            assert words[1] == "-m", line
            sys.argv = [words[2], "--help"]
            with contextlib.redirect_stdout(io.StringIO()) as help_:
                status = exit_status(lambda: runpy.run_module(words[2], run_name="__main__"))
            assert status == 0, f"{line} ended with status {status}"
            unknown = [w for w in words if w.startswith("--") and not re.search(rf"{w}\b", help_.getvalue())]
            assert not unknown, f"{words[2]} knows no {unknown}"
    finally:
        sys.argv = before


def exit_status(call: Callable[[], object]) -> object:
    """Return what a call exits with."""
    try:
        call()
    except SystemExit as end:
        return end.code
    return 0


def main() -> None:
    """Run the pages whose blocks come by standard input, and write what is wrong with each as JSON."""
    flavour, results = sys.argv[1], Path(sys.argv[2]).absolute()
    by_page: dict[str, list[Block]] = {}
    for block in json.load(sys.stdin):
        by_page.setdefault(block["page"], []).append(Block(**block))
    found = {}
    for number, (page, blocks) in enumerate(by_page.items()):
        begun = time.process_time()
        try:
            wrong = run_page(flavour, blocks, results.parent / f"page{number}")
        except BaseException:  # noqa: BLE001 - a broken set-up is that page's failure
            wrong = [f"set-up of {page}:\n{traceback.format_exc(limit=-6)}"]
        found[page] = {"ran": len(blocks), "wrong": wrong, "seconds": round(time.process_time() - begun, 2)}
        results.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
