"""How many rows a step the networks of ``nid`` and ``gradient_nid`` need when masks are few.

Worlds with planted pairs and triples (:class:`benchmarks.planted_worlds.World`) are the black box of ``nid.detect``, with
500 to 6,000 masks an instance. Each detection is made twice: with 200 rows a step however few masks there are, and with
the default, which has at least 24 steps a pass. Told are the median held-out R^2 of the explainers, and the share of the first sets of
the report that are planted or inside a planted triple, of as many sets as are planted.

Run: python -m benchmarks.few_masks [--seeds 5]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from typing import Any

import numpy as np

import nid_plugins as nid
from benchmarks.common import RESULTS, write
from benchmarks.planted_worlds import World
from nid_plugins.detection import MaskDesign, random_masks
from nid_plugins.detection.mlp import BATCH, STEPS, Training

MASKS = (500, 1000, 1500, 3000, 6000)
SIZES = {8: (3, 1), 20: (5, 1), 39: (8, 1)}
INSTANCES = 16


def one(world: World, detector: str, masks: int, options: dict[str, Any]) -> dict[str, float]:
    """Detect with some options, and say how well the networks fit and what the report found."""
    rows = world.rows(INSTANCES)
    background = {name: np.zeros(2, dtype=np.int64) for name in world.names}
    box = nid.wrap(world.function(), world.schema, output="logit")
    started = time.process_time()
    report = nid.detect(
        box,
        rows,
        background=background,
        detector=detector,
        options=options,
        instances=INSTANCES,
        perturbations=masks,
        top_k=40,
        seed=world.seed,
        executor="serial",
        progress=False,
    )
    seconds = time.process_time() - started
    first = [tuple(sorted(world.names.index(n) for n in i.fields)) for i in report]
    wanted = len(world.planted())
    right = sum(s in world.relevant() for s in first[:wanted])
    return {
        "r2": report.fit_summary()["r2_median"],
        "r2_linear": float(np.nanmedian(report.r2_linear)),
        "found": right / wanted,
        "seconds": seconds,
    }


def run(seeds: int) -> dict[str, Any]:
    """Return all runs as records."""
    runs: list[dict[str, Any]] = []
    for seed in range(seeds):
        for fields, (pairs, triples) in SIZES.items():
            world = World(seed, fields=fields, pairs=pairs, triples=triples)
            for masks in MASKS:
                split = MaskDesign(random_masks(fields, masks, np.random.default_rng(0))).train
                few = Training().rows_a_step(split.stop)
                for detector in ("nid", "gradient_nid"):
                    ways: tuple[tuple[str, int, dict[str, Any]], ...] = (
                        ("fixed", BATCH, {"batch": BATCH}),
                        ("default", few, {}),
                    )
                    for name, batch, options in ways:
                        record = one(world, detector, masks, options)
                        runs.append(
                            {
                                "fields": fields,
                                "seed": seed,
                                "masks": masks,
                                "detector": detector,
                                "rows_a_step": name,
                                "batch": batch,
                                **record,
                            }
                        )
                        print(runs[-1], flush=True)
    return {"instances": INSTANCES, "seeds": seeds, "steps": STEPS, "rows": BATCH, "runs": runs}


def table(result: dict[str, Any]) -> str:
    """Return medians over worlds of R^2, and means of what was found, as a Markdown table."""
    runs = result["runs"]
    lines = [
        "| `detector=` | masks | R^2, 200 a step | R^2, default | found, 200 a step | found, default |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for detector, masks in sorted({(r["detector"], r["masks"]) for r in runs}):
        mine = [r for r in runs if (r["detector"], r["masks"]) == (detector, masks)]
        cells = [
            f"{of([r[key] for r in mine if r['rows_a_step'] == name]):{digits}}"
            for key, of, digits in (("r2", np.median, ".3f"), ("found", np.mean, ".2f"))
            for name in ("fixed", "default")
        ]
        lines.append(f"| `{detector}` | {masks:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, or print the table of an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--show", action="store_true", help="print the table of the last run")
    parser.add_argument("--out", default="few_masks")
    arguments = parser.parse_args()
    if not arguments.show:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            write(arguments.out, run(arguments.seeds))
    print(table(json.loads((RESULTS / f"{arguments.out}.json").read_text("utf-8"))))


if __name__ == "__main__":
    main()
