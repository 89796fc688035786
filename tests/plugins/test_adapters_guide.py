"""The guide to adapters shows the worked one as it is, whole, and names all there is to fill in for the suite."""

from __future__ import annotations

import re
from pathlib import Path

from guides import Guide, bare, bare_files

from nid_plugins.testing import AdapterCase

EXAMPLE = Path(__file__).parent / "nid_minifm"
GUIDE = Guide("adapters.md")
SHOWN = [*(f"nid_minifm/{name}.py" for name in ("plugin", "model", "tower", "inject")), "test_minifm.py"]


def test_the_code_shown_is_the_example_s_file_by_file():
    assert [bare(block) for block in GUIDE.python] == bare_files(EXAMPLE, SHOWN)


def test_every_hook_and_attribute_of_the_suite_is_explained():
    listed = GUIDE.text[GUIDE.text.index("| hook |") :]
    for name in vars(AdapterCase) | AdapterCase.__annotations__:
        if not name.startswith("_"):
            assert re.search(rf"`{name}[`(]", listed), name


def test_files_named_on_the_page_exist():
    assert GUIDE.absent() == []
