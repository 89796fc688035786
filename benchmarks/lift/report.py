"""Put the tables of ``docs/benchmarks-lift.md`` in step with the results: ``python -m benchmarks.lift.report [--check]``.

The text around the tables is written by hand; what lies between two markers is made from the JSON alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks-lift.md"
_BLOCK = re.compile(r"<!-- table (\w+) (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def row(cells: list[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def means(result: dict[str, Any]) -> list[str]:
    """Return the table of every arm's test metrics."""
    lines = [row(["target", "arm", "runs", "parameters", "AUC", "log-loss", "predicted / observed"])]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for entry in result["summary"]["means"]:
        numbers = [f"{entry['auc']:.4f}", f"{entry['log_loss']:.4f}", f"{entry['calibration']:.3f}"]
        lines.append(
            row([entry["target"], entry["arm"], str(entry["runs"]), f"{entry['parameters']:,}", *numbers])
        )
    return lines


def differences(result: dict[str, Any], metric: str) -> list[str]:
    """Return the table of paired differences of one metric, one arm less the other, in thousandths."""
    entries = [e for e in result["summary"]["differences"] if e["metric"] == metric]
    pairs = list(dict.fromkeys(arms_of(e) for e in entries))
    lines = [row(["target", *(f"{ours} - {rival}" for ours, rival in pairs)]), "|---|" + "---:|" * len(pairs)]
    targets = dict.fromkeys(e["target"] for e in entries)
    for target in [*(t for t in targets if t != "pooled"), "pooled"]:
        own = {arms_of(e): e for e in entries if e["target"] == target}
        lines.append(row([target, *(cell(own.get(pair), "runs") for pair in pairs)]))
    pooled = {arms_of(e): e for e in entries if e["target"] == "pooled"}
    lines.append(row(["pooled, over rows too", *(cell(pooled.get(pair), "rows") for pair in pairs)]))
    return lines


def arms_of(entry: dict[str, Any]) -> tuple[str, str]:
    """Return the two arms of a difference."""
    return entry.get("ours", "glider"), entry["rival"]


def cell(entry: dict[str, Any] | None, kind: str) -> str:
    """Return a mean with its interval, in thousandths."""
    if entry is None:
        return ""
    mean = f"{1e3 * entry['mean']:+.2f}"
    if not entry.get(kind):
        return mean
    low, high = entry[kind]
    return f"{mean} [{1e3 * low:+.2f}, {1e3 * high:+.2f}]"


def crosses(result: dict[str, Any], arm: str) -> list[str]:
    """Return the table of the crosses of an arm: on how many seeds, and their mean rank in the report of detection."""
    found: dict[tuple[str, ...], list[int]] = {}
    for selection in result["selections"].values():
        if arm not in selection["arms"]:
            continue
        ranks = selection.get(arm, selection)["ranks"]
        for fields, rank in zip(selection["arms"][arm], ranks, strict=True):
            found.setdefault(tuple(fields), []).append(rank)
    lines = [row(["cross", "seeds", "mean rank in detection"]), "|---|---:|---:|"]
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), sum(item[1]) / len(item[1])))
    for fields, ranks in ranked[:12]:
        lines.append(row([" x ".join(fields), str(len(ranks)), f"{sum(ranks) / len(ranks):.0f}"]))
    return lines


def tables(name: str, kind: str) -> list[str]:
    """Return one table of one data set.

    Raises:
        ValueError: No such table.
    """
    result = json.loads((RESULTS / f"lift_{name}.json").read_text("utf-8"))
    if kind == "means":
        return means(result)
    if kind in {"auc", "log_loss"}:
        return differences(result, kind)
    if kind == "crosses":
        return crosses(result, "glider")
    if kind == "autoint":
        return crosses(result, "autoint")
    raise ValueError(f"no table {kind!r}")


def refreshed(text: str) -> str:
    """Return the document with every table made anew."""

    def block(found: re.Match[str]) -> str:
        name, kind = found.groups()
        return "\n".join([f"<!-- table {name} {kind} -->", *tables(name, kind), "<!-- end -->"])

    return _BLOCK.sub(block, text)


def main() -> int:
    """Refresh the document, or with ``--check`` only say whether it is in step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when text and JSON differ"
    )
    options = parser.parse_args()
    text = DOCUMENT.read_text("utf-8")
    new = refreshed(text)
    if options.check:
        return int(new != text)
    DOCUMENT.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
