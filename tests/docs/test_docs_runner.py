"""The runner of the pages' code: what it takes for code, and that it does not let anything wrong pass."""

from __future__ import annotations

import docs_blocks
import pytest
from docs_blocks import Block, commands, fences
from docs_runner import run_blocks

PAGE = """
- A list:

  ```python
  x = 1
  ```

~~~text
```python
~~~

    nid plugins
    a table of numbers

```console
$ nid cross report.json \\
    --out crosses  # where
crosses of 3 fields
$ python -m benchmarks.tables
```
"""


def python(code):
    return Block("page.md", 1, "python", code)


def test_blocks_and_commands_of_a_page(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(docs_blocks, "ROOT", tmp_path)
    assert [(block.line, block.kind, block.code) for block in docs_blocks.blocks("page.md")] == [
        (5, "python", "x = 1\n"),
        (12, "shell", "nid plugins"),
        (17, "shell", "nid cross report.json --out crosses  # where"),
        (19, "shell", "python -m benchmarks.tables"),
    ]


def test_a_fence_that_is_not_closed_is_told():
    with pytest.raises(AssertionError, match="not closed"):
        fences("```python\nx = 1\n")


def test_settings_before_a_command_belong_to_it():
    (block,) = commands("page.md", 1, ["PYTHONPATH=site nid plugins", "nidification", "maker of models"])
    assert block.code == "PYTHONPATH=site nid plugins"


def test_blocks_share_names_and_are_checked_in_turn():
    seen = []
    setup = {
        "given": lambda: {"a": 1},
        "BEFORE": {"b =": lambda page: page.update(a=2)},
        "AFTER": {"print(": lambda page, printed: seen.append((page["b"], printed))},
    }
    assert run_blocks([python("b = a\n"), python("print(b)\n")], setup) == []
    assert seen == [(2, "2\n")]


@pytest.mark.parametrize(
    ("code", "setup", "said"),
    [
        ("print(b)", {}, "NameError"),
        ("print(given)", {}, "NameError"),
        ("raise SystemExit(0)", {}, "SystemExit"),
        ("import warnings, nid_plugins as n; warnings.warn('odd', n.NidWarning)", {}, "odd"),
        ("a = 1", {"AFTER": {"a =": lambda page, printed: page["b"]}}, "KeyError"),
        ("a = 1", {"BEFORE": {"a =": lambda page: page["b"]}}, "KeyError"),
        ("a = 1", {"AFTER": {"b =": print}}, "not one block has 'b ='"),
    ],
)
def test_what_is_wrong_is_told(code, setup, said):
    (wrong,) = run_blocks([python(code)], {"given": dict, **setup})
    assert "page.md" in wrong
    assert said in wrong


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nid plugins --nothing", "status 2"),
        ("nid nothing", "status 2"),
        ("nid cross no-report.json --train a --out b", "status 2"),
        ("python -m benchmarks.tables --nothing", "knows no"),
        ("python -m benchmarks.nothing", "No module named"),
    ],
)
def test_a_command_that_fails_is_told(line, said):
    (wrong,) = run_blocks([Block("page.md", 1, "shell", line)], {"given": dict})
    assert said in wrong


def test_commands_that_are_right_pass():
    right = ["nid plugins --json  # all of them", "python -m benchmarks.tables --check"]
    assert run_blocks([Block("page.md", 1, "shell", line) for line in right], {"given": dict}) == []
