"""How much better a linear explainer gets by the interactions found: one table over the domains.

Run after the other benchmarks of domains: python -m benchmarks.domains_quality
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.common import RESULTS, write
from benchmarks.domains_common import head, row

KEYS = ("instances", "r2_linear", "r2_linear_error", "r2", "r2_error", "better", "interactions")


def main() -> None:
    """Pool the results and write them."""
    text, image, dna, graph = (
        json.loads((RESULTS / f"domains_{name}.json").read_text("utf-8"))
        for name in ("text", "image", "dna", "graph")
    )
    found = {
        "text: generated sentences, GRU": text["planted"]["detectors"][0],
        "text: film reviews with a negation, CNN": text["real"]["with_negation"],
        "text: film reviews without, CNN": text["real"]["without_negation"],
        "image: generated pictures, CNN": image["two_parts"]["rows"][0],
        "image: handwritten digits, CNN": image["digits"]["rows"][1],
        "DNA: planted motif, CNN": dna["rows"][0],
        "graph: planted pair, GCN": graph["rows"][0],
        "graph: the same, off nodes all zero": graph["rows"][-1],
    }
    write("domains_quality", {"rows": {name: {key: one[key] for key in KEYS} for name, one in found.items()}})


def table(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = head(
        "instances of",
        "number",
        "R\u00b2 of a linear explainer",
        "R\u00b2 with interactions",
        "interactions",
        "better with them",
    )
    for name, one in result["rows"].items():
        r2 = [f"{one[key]:.3f} \u00b1 {one[f'{key}_error']:.3f}" for key in ("r2_linear", "r2")]
        lines.append(row((name, one["instances"], *r2, f"{one['interactions']:.1f}", f"{one['better']:.0%}")))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
