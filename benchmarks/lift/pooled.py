"""The differences between arms over all targets, as one small table."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """Return glider less each other arm, targets pooled, in thousandths, with the wider of the two intervals."""
    lines = ["| glider less | AUC | log-loss |", "|---|---:|---:|"]
    pooled = [
        d
        for d in result["summary"]["differences"]
        if d["target"] == "pooled" and d.get("ours", "glider") == "glider"
    ]
    for rival in dict.fromkeys(d["rival"] for d in pooled):
        cells = []
        for metric in ("auc", "log_loss"):
            one = next(d for d in pooled if d["rival"] == rival and d["metric"] == metric)
            low, high = max(one["runs"], one["rows"], key=lambda interval: interval[1] - interval[0])
            cells.append(f"{1e3 * one['mean']:+.2f} [{1e3 * low:+.2f}, {1e3 * high:+.2f}]")
        lines.append(f"| {rival} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
