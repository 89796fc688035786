"""All code on the pages is run: every block of Python and every command is executed here, or named with its reason."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from docs_blocks import (
    CONSOLE,
    FLAVOURS,
    ROOT,
    SETUPS,
    TEXT,
    blocks,
    fences,
    inline_commands,
    owners,
    pages,
    said_by,
    setup_of,
)

ELSEWHERE = {
    ("docs/ab.md", "python", ""): "tests/test_docs_ab.py",
    ("docs/domains.md", "python", ""): "tests/domains/test_domains_page.py",
    ("docs/plugins/adapters.md", "python", ""): "tests/plugins/test_adapters_guide.py",
    ("docs/plugins/testing.md", "", ""): "tests/test_docs.py",
    ("docs/plugins/tutorial.md", "python", "@hookimpl"): "tests/test_docs.py",
    ("docs/report.md", "python", ""): "tests/report/test_report_docs.py",
    ("docs/detectors.md", "python", ""): "tests/detection/test_detectors_page.py",
    ("docs/plugins/detectors.md", "", ""): "tests/plugins/test_detectors_guide.py",
    ("docs/tutorial.md", "python", ""): "tests/adapters/tensorflow/test_deepctr_tutorial.py",
    ("README.md", "python", "from deepctr_torch"): "tests/benchmarks/test_tables.py",
}
"""Page, kind and text of blocks, where "" is any, to the test that runs them, or keeps them equal to code it runs."""
NOT_RUN = {
    "make ": "installs everything and runs all tests; that the target exists is tested",
    "pip ": "installs",
    "export ": "is a setting of the reader's shell",
}
"""How commands begin that are not run, to the reason."""
MODULES = {
    "plain": ("numpy",),
    "torch": ("torch", "lightning"),
    "keras3": ("keras", "torch"),
    "tf_keras": ("tf_keras", "deepctr"),
}
"""What the set-ups of a flavour import."""


def elsewhere(block):
    """Return the test that runs a block in another place, if one does."""
    return next(
        (
            test
            for (page, kind, text), test in ELSEWHERE.items()
            if page == block.page and kind in {"", block.kind} and text in block.code
        ),
        None,
    )


def is_run(block):
    left_out = block.kind == "shell" and block.code.startswith(tuple(NOT_RUN))
    return not elsewhere(block) and not left_out


ALL = [block for page in pages() for block in blocks(page)]


def test_every_block_is_run_or_named_with_its_reason():
    assert len(ALL) > 60
    lost = [str(block) for block in ALL if is_run(block) and len(owners(block)) != 1]
    assert not lost, f"to be run by exactly one set-up under tests/docs/setups: {lost}"


def test_what_is_not_run_here_is_there_and_run_there():
    for (page, kind, text), test in ELSEWHERE.items():
        assert any(b.page == page and kind in {"", b.kind} and text in b.code for b in ALL), (page, text)
        assert Path(page).name in (ROOT / test).read_text("utf-8"), f"{test} does not speak of {page}"
    for start in NOT_RUN:
        assert any(block.code.startswith(start) for block in ALL), start
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for block in ALL:
        if block.code.startswith("make "):
            assert re.search(rf"^{shlex.split(block.code)[1]}:", makefile, re.MULTILINE), str(block)


def test_every_setup_is_of_a_page_and_runs_something():
    names = {setup_of(flavour, page) for flavour in FLAVOURS for page in pages()}
    for setup in SETUPS.glob("*/*.py"):
        assert setup in names, setup
        assert any(setup_of(flavour, b.page) == setup for b in ALL if is_run(b) for flavour in owners(b)), (
            setup
        )


@pytest.mark.parametrize("page", pages())
def test_fences_say_what_they_hold(page):
    """Code that is marked as anything else than ``python`` or a shell would be run by nobody."""
    for line, info, _ in fences((ROOT / page).read_text("utf-8")):
        directive = info.startswith("{") and not info.startswith(("{code", "{python", "{doctest"))
        assert info in {"python", *CONSOLE, *TEXT} or directive, f"{page}, line {line}: {info!r}"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_code_of_the_pages_runs(flavour, tmp_path):
    for module in MODULES[flavour]:  # looked for, not imported: one process cannot hold both Keras
        if not importlib.util.find_spec(module):
            pytest.skip(f"the pages use {module}")
    todo, without = [], set()
    for block in ALL:
        if is_run(block) and owners(block) == [flavour]:
            needs = said_by(setup_of(flavour, block.page), "NEEDS", ())
            missing = [module for module in needs if not importlib.util.find_spec(module)]
            without |= {f"{block.page} needs {module}" for module in missing}
            todo += [] if missing else [vars(block)]
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("docs_runner.py")),
            flavour,
            str(tmp_path / "results.json"),
        ],
        input=json.dumps(todo),
        env=environment(flavour),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert not (wrong := [text for page in results.values() for text in page["wrong"]]), "\n\n".join(wrong)
    assert sum(page["ran"] for page in results.values()) == len(todo)
    if without:
        pytest.skip(f"pages without what they need: {sorted(without)}")


def environment(flavour):
    """Return what the flavour's process is started with: one Keras, no accelerator, one thread."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in {"TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES"}
    }
    if flavour == "tf_keras":
        environ["TF_USE_LEGACY_KERAS"] = "1"
    if flavour != "plain":  # Ray would count the accelerators that are hidden
        environ["CUDA_VISIBLE_DEVICES"] = "-1"
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    # The workers of Ray import what the set-ups do.
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT), str(ROOT / "adapters")])
    return {
        **environ,
        **dict.fromkeys(threads, "1"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join(filter(None, [path, environ.get("PYTHONPATH", "")])),
    }


INLINE = [(page, code) for page in pages() for code in inline_commands(page)]


@pytest.mark.parametrize(("page", "code"), INLINE, ids=[f"{page}: {code}" for page, code in INLINE])
def test_commands_in_sentences_exist_with_their_options(page, code):
    words = shlex.split(code)
    if words[0] == "python":
        assert importlib.util.find_spec(words[2]), words[2]
        return
    from nid_plugins.cli import nid as command

    known, words = set(), words[1:]
    with click.Context(command) as context:
        while True:
            options = command.get_params(context)
            known |= {name for option in options for name in (*option.opts, *option.secondary_opts)}
            inner = (
                command.get_command(context, words[0]) if words and isinstance(command, click.Group) else None
            )
            if inner is None:
                break
            command, words = inner, words[1:]
    assert {word for word in words if word.startswith("-")} <= known | {"--help"}
    of_a_group = not words or words[0].startswith("-") or words[0] in {"COMMAND", "..."}
    assert not isinstance(command, click.Group) or of_a_group, f"no command {words[0]!r}"
