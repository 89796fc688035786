"""What ``benchmarks.scale_queries`` measured, as tables of docs/scale-detection.md."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import scale_queries as runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Run = dict[str, Any]


def common(runs: Iterable[Run], others: Iterable[Run], rank: str, *, same: bool | None) -> float:
    """Return the mean number of sets that two runs' tops have in common.

    Args:
        runs: Some runs.
        others: The runs to compare each of them with.
        rank: The ranking.
        same: Whether of the same sample of rows; None for any. Runs with the same masks are not compared.
    """
    others = list(others)
    found = [
        len(set(one["top"][rank]) & set(other["top"][rank]))
        for one in runs
        for other in others
        if one["seed"] != other["seed"]
        and (same is None or same == (one.get("sample") == other.get("sample")))
    ]
    return float(np.mean(found)) if found else float("nan")


def _told(one: dict[str, Any], rank: str) -> Iterator[tuple[str, list[Run]]]:
    runs = [*one["full"], *one["redrawn"], *one["fewer"]]
    for instances, masks, redraw in (
        (*runs_of.FULL, None),
        (*runs_of.FULL, runs_of.REDRAW),
        *runs_of.FEWER,
        (*runs_of.MORE, None),
    ):
        told = f"{instances} x {masks}" + ("" if redraw is None else f", `redraw={redraw}`")
        wanted = (instances, masks, redraw)
        yield told, [r for r in runs if (r["instances"], r["masks"], r.get("redraw")) == wanted]
    auto = [r for r in one["auto"] if r["rank"] == rank]
    yield f"`auto` ({', '.join(str(r['instances']) for r in auto)}) x {runs_of.AUTO_MASKS}", auto


def table(result: dict[str, Any]) -> str:
    """Return what runs have of full runs' top 20 as a Markdown table."""
    lines = [
        "| log | rank | instances x masks | queries / full | same rows | other rows | same rows, redrawn | all rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, one), rank in itertools.product(result["logs"].items(), runs_of.RANKS):
        if one is None:
            continue
        for told, runs in _told(one, rank):
            share = np.mean([r["queries"] for r in runs]) / (runs_of.FULL[0] * runs_of.FULL[1])
            cells = [common(runs, one["full"], rank, same=same) for same in (True, False)]
            cells.append(common(runs, one["redrawn"], rank, same=True))
            cells.append(common(runs, [one["all"]], rank, same=None))
            lines.append(
                f"| {name} | `{rank}` | {told} | {share:.2f} | "
                + " | ".join(f"{c:.1f}" for c in cells)
                + " |"
            )
    return "\n".join(lines)


def cost(result: dict[str, Any]) -> str:
    """Return what drawing masks anew takes of the processor's time as a Markdown table: medians over runs."""
    instances, masks = runs_of.QUARTER
    lines = [
        f"| log | {instances} x {masks}, s | with `redraw={runs_of.REDRAW}`, s |",
        "|---|---|---|",
    ]
    for name, one in result["logs"].items():
        if one is not None:
            wanted = [(instances, masks, redraw) for redraw in (None, runs_of.REDRAW)]
            cells = [
                np.median(
                    [
                        r["processor"]
                        for r in one["fewer"]
                        if (r["instances"], r["masks"], r["redraw"]) == kind
                    ]
                )
                for kind in wanted
            ]
            lines.append(f"| {name} | " + " | ".join(f"{c:.1f}" for c in cells) + " |")
    return "\n".join(lines)


def kinds(result: dict[str, Any]) -> str:
    """Return how far strengths and scores scatter over draws of other kinds of masks as a Markdown table."""
    lines = [
        "| log | masks | scatter of a strength | of the score | top 20 of the usual masks |",
        "|---|---|---|---|---|",
    ]
    for name, one in result["logs"].items():
        lines.extend(
            f"| {name} | {kind['masks']} | {100 * kind['strength']:.0f} % | {100 * kind['score']:.1f} % | {kind['usual']} |"
            for kind in ([] if one is None else one["kinds"])
        )
    return "\n".join(lines)


def why(result: dict[str, Any]) -> str:
    """Return by what two full runs differ, and how near their last places are, as a Markdown table."""
    lines = [
        "| log | rank | other masks only | other rows only | both | gap to the next place | error over rows | over masks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, one), rank in itertools.product(result["logs"].items(), runs_of.RANKS):
        if one is None:
            continue
        # Those of one set of masks, told apart by their rows.
        as_rows = [{**r, "seed": r["sample"], "sample": r["seed"]} for r in one["full"]]
        cells = [
            common(one["full"], one["full"], rank, same=True),
            common(as_rows, as_rows, rank, same=True),
            common(one["full"], one["full"], rank, same=False),
        ]
        near = one["places"][rank][runs_of.NEAR]
        shares = [np.median([p[key] for p in near]) for key in ("gap", "over_rows", "over_masks")]
        lines.append(
            f"| {name} | `{rank}` | "
            + " | ".join([*(f"{c:.1f}" for c in cells), *(f"{100 * s:.1f} %" for s in shares)])
            + " |"
        )
    return "\n".join(lines)


def truth(result: dict[str, Any]) -> str:
    """Return what every ranking has of what was planted as a Markdown table: means over logs and models."""
    lines = [
        "| detector | baseline | rank | recall@7 | recall@14 | pairs |",
        "|---|---|---|---|---|---|",
    ]
    runs = result["planted"]
    for key in dict.fromkeys((r["detector"], r["baseline"], r["rank"]) for r in runs):
        mine = [r for r in runs if (r["detector"], r["baseline"], r["rank"]) == key]
        cells = [f"{np.mean([r[m] for r in mine]):.3f}" for m in ("recall_k", "recall_2k", "pairs")]
        lines.append(f"| `{key[0]}` | {key[1]} | `{key[2]}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)
