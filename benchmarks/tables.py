"""Keeps the tables in README and docs in step with the JSON under benchmarks/results.

A block between ``<!-- NAME -->`` and ``<!-- end NAME -->`` is what the benchmark's ``table`` makes of its last result.

Run: python -m benchmarks.tables [--check]
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

from benchmarks.common import RESULTS

ROOT = Path(__file__).parent.parent
HOMES = {
    **{f"lift_{name}": "lift.pooled" for name in ("amazon", "criteo", "deepctr_amazon", "deepctr_criteo")},
    "scale_crosses": "scale_crosses_tables",
    "scale_queries": "scale_queries_tables",
}
"""Modules of the results that are not named like theirs."""
BLOCK = re.compile(r"(<!-- (?P<name>[a-z0-9_.]+) -->\n).*?(\n<!-- end (?P=name) -->)", re.DOTALL)


def render(name: str) -> str:
    """Return the text of a block: ``module`` for its ``table``, ``module.function`` for another function of it."""
    module, _, function = name.partition(".")
    result = json.loads((RESULTS / f"{module}.json").read_text("utf-8"))
    home = importlib.import_module(f"benchmarks.{HOMES.get(module, module)}")
    text: str = getattr(home, function or "table")(result)
    return text


def updated(page: Path) -> str:
    """Return a page with its blocks rendered anew."""
    return BLOCK.sub(lambda m: f"{m.group(1)}{render(m.group('name'))}{m.group(3)}", page.read_text("utf-8"))


def pages() -> list[Path]:
    """Return the pages that hold blocks."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if BLOCK.search(page.read_text("utf-8"))]


def main() -> int:
    """Update the pages, or with ``--check`` say which are out of step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [page for page in pages() if updated(page) != page.read_text("utf-8")]
    for page in stale:
        print(f"{'out of step' if check else 'updated'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(updated(page), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
