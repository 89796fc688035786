"""Runs the tutorial, docs/tutorial.md, and keeps what it prints: the page shows that, and nothing else.

The Python blocks are run from top to bottom in one process, in an empty folder, as a reader would run them; the block
that begins with ``# serve.py`` becomes that file, and is run by an interpreter in which no Keras, no DeepCTR and
nothing of ours can be imported. What a block prints stands under it between the marks ``<!-- tutorial.NAME -->``.

Run: python -m benchmarks.tutorial          writes benchmarks/results/tutorial.json and the page's picture
     python -m benchmarks.tutorial FOLDER   runs it in FOLDER and writes FOLDER/printed.json only
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import write

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
FIGURE = ROOT / "docs" / "figures" / "tutorial_ranking.svg"
SERVE = "# serve.py\n"
ALONE = """
import runpy, sys
for name in ("keras", "tf_keras", "deepctr", "nid_keras", "nid_deepctr", "nid_plugins"):
    sys.modules[name] = None  # cannot be imported
runpy.run_path("serve.py")
"""
PART = re.compile(
    r"^## (?P<step>\d+\. [^\n]*)$|^```python\n(?P<code>.*?)^```$|^<!-- tutorial\.(?P<name>[a-z]+) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Step:
    """A block of the page.

    Attributes:
        heading: The numbered heading it stands under.
        code: The code.
        name: What its output is called, or nothing where none is shown.
    """

    heading: str
    code: str
    name: str = ""


def steps() -> list[Step]:
    """Return the page's blocks."""
    found: list[Step] = []
    heading = "Importing"
    for part in PART.finditer(PAGE.read_text("utf-8")):
        if part["step"]:
            heading = part["step"]
        elif part["code"]:
            found.append(Step(heading, part["code"]))
        else:
            found[-1].name = part["name"]
    return found


def ran() -> Iterator[tuple[Step, str, float]]:
    """Run block after block here, in the current folder; yield each with what it printed and its processor time."""
    page: dict[str, Any] = {"__name__": "__main__"}
    for number, step in enumerate(steps()):
        begun = _busy()
        if step.code.startswith(SERVE):
            Path("serve.py").write_text(step.code, encoding="utf-8")
            command = [sys.executable, "-c", ALONE]
            printed = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - our own page
        else:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(step.code, f"tutorial.md, block {number}", "exec"), page)  # noqa: S102 - our own page
            # Printed by a thread that DeepCTR starts when it is imported, whenever it finds no network.
            printed = re.sub(
                r"^Please check the latest version manually on .*\n", "", said.getvalue(), flags=re.MULTILINE
            )
        yield step, printed, _busy() - begun


def _busy() -> float:
    """Return the seconds of processor time of this process and those it started: other work on the machine adds none."""
    return sum(os.times()[:4])


def result() -> dict[str, Any]:
    """Run the page in the current folder, and return what was printed and the processor time it took."""
    printed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for step, text, took in ran():
        if step.name and not text:
            raise SystemExit(f"{step.heading}: the block before {step.name!r} prints nothing")
        if step.name:
            printed[step.name] = text
        seconds[step.heading] = round(seconds.get(step.heading, 0.0) + took, 1)
    return {"printed": printed, "seconds": seconds}


def _shown(found: dict[str, Any], name: str) -> str:
    return f"```text\n{found['printed'][name].rstrip()}\n```"


def table(found: dict[str, Any]) -> str:
    """Return the seconds each part took."""
    lines = ["| step | seconds |", "|---|---:|"]
    lines += [f"| {name} | {took:.1f} |" for name, took in found["seconds"].items()]
    return "\n".join([*lines, f"| all of it | {sum(found['seconds'].values()):.0f} |"])


for _step in steps():
    if _step.name:
        globals()[_step.name] = partial(_shown, name=_step.name)


def main() -> None:
    """Run the page."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        os.chdir(folder)
        Path("printed.json").write_text(json.dumps(result()), encoding="utf-8")
        return
    # The same picture is the same file.
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = "tutorial"
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = result()
        shutil.copyfile("ranking.svg", FIGURE)
        os.chdir(here)
    write("tutorial", found)


if __name__ == "__main__":
    main()
