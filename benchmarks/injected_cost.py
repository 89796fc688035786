"""What crosses cost: a DeepFM with K injected crosses beside itself without them, in each framework.

Run: python -m benchmarks.injected_cost [--frameworks torch keras]

The base has 39 fields with sizes like Criteo's (rare values folded, at most 20,000 a field), embeddings of 16 and layers of
256 and 128. Crosses are drawn at random, one in five a triple, with the vocabularies that the default rule keeps of
100,000 rows; half of them have a dense member. Each framework runs in a process of its own, on one thread. Base and
injected models take turns in it, and what is reported is the median over the rounds of the ratio of their times, in
seconds of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nid_plugins as nid
from benchmarks import common
from benchmarks.injected_models import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Callable

KS = (10, 40)
PREDICT = (1, 256, 8192)
STEP = (256, 1024)
THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
ROWS = 100_000
ROUNDS = 21
SAMPLE = 0.04
"""Seconds a model is called for in a round."""
LARGEST = 20_000
CRITEO = (
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194),
    *(27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572),
)
"""Distinct values of the 26 categorical fields of the Criteo challenge."""


def schema_of() -> nid.FeatureSchema:
    """Return the schema: 13 dense fields, 26 sparse ones."""
    dense = [nid.DenseField(f"I{i + 1}") for i in range(13)]
    sparse = [nid.SparseField(f"C{i + 1}", min(size, LARGEST)) for i, size in enumerate(CRITEO)]
    return nid.FeatureSchema([*dense, *sparse])


def draw(schema: nid.FeatureSchema, n: int, seed: int) -> dict[str, np.ndarray]:
    """Draw rows: ids as unequal as words, and dense values like counts."""
    rng = np.random.default_rng(seed)
    return {
        f.name: np.floor(f.cardinality ** rng.random(n)).astype(np.int64) % f.cardinality
        if isinstance(f, nid.SparseField)
        else np.floor(np.exp(rng.normal(2.0, 1.5, n)))
        for f in schema
    }


def crosses_of(schema: nid.FeatureSchema, k: int) -> nid.CrossFeatures:
    """Return the first k of one list of crosses, fitted on the rows."""
    rng = np.random.default_rng(7)
    sets = []
    for number in range(max(KS)):
        order = 3 if number % 5 == 4 else 2
        fields = rng.choice(len(schema.names), order, replace=False)
        sets.append(tuple(schema.names[i] for i in sorted(fields)))
    return nid.fit_crosses(sets[:k], draw(schema, ROWS, 0), schema)


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return seconds of processor time a call, by name, one value a round; names take turns in going first."""
    for call in calls.values():  # compiles, allocates, warms caches
        call()
        call()
    first = next(iter(calls.values()))
    start, count = time.process_time(), 0
    while count == 0 or time.process_time() - start < SAMPLE:
        first()
        count += 1
    names = list(calls)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            call = calls[name]
            start = time.process_time()
            for _ in range(count):
                call()
            found[name].append((time.process_time() - start) / count)
    return found


def entry(framework: str, work: str, batch: int, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return what is reported of one batch size: for each K the medians, and the median ratio with its quartiles."""
    base = np.array(times["0"])
    out = []
    for k in KS:
        ratios = np.array(times[str(k)]) / base
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        out.append(
            {
                "framework": framework,
                "work": work,
                "batch": batch,
                "crosses": k,
                "base_ms": 1e3 * float(np.median(base)),
                "injected_ms": 1e3 * float(np.median(times[str(k)])),
                "ratio": float(middle),
                "quartiles": [float(low), float(high)],
            }
        )
    return out


def measure(framework: str, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure one framework, in this process."""
    schema = schema_of()
    bench = FRAMEWORKS[framework](schema)
    models = {"0": bench.model}
    for k in KS:
        models[str(k)] = nid.inject(bench.model, crosses_of(schema, k), mode="residual", **bench.options)
    rng = np.random.default_rng(1)
    runs = []
    for work, sizes in enumerate((PREDICT, STEP)):
        for batch in sizes:
            labels = rng.integers(2, size=batch).astype(np.float64)
            calls = {
                name: bench.calls(model, draw(schema, batch, 2), labels)[work]
                for name, model in models.items()
            }
            runs += entry(framework, ("predict", "step")[work], batch, interleaved(calls, rounds))
    return runs


def in_process(framework: str) -> list[dict[str, Any]]:
    """Measure one framework in a process of its own: Keras 3 and DeepCTR cannot share one, and all get one thread."""
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-m", "benchmarks.injected_cost", "--here", framework],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(result: dict[str, Any]) -> str:
    """Return the table: the base's rate, and the injected models' time as a multiple of it."""
    lines = [
        "| framework | work | batch | base, rows/s | "
        + " | ".join(f"K = {k}, time / base" for k in KS)
        + " |",
        "|---|---|---:|---:|" + "---:|" * len(KS),
    ]
    keys = dict.fromkeys((r["framework"], r["work"], r["batch"]) for r in result["runs"])
    for key in keys:
        own = {r["crosses"]: r for r in result["runs"] if (r["framework"], r["work"], r["batch"]) == key}
        rate = 1e3 * key[2] / own[KS[0]]["base_ms"]
        cells = [f"{own[k]['ratio']:.2f}" for k in KS]
        lines.append(f"| {key[0]} | {key[1]} | {key[2]:,} | {rate:,.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure the frameworks, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", nargs="+", default=list(FRAMEWORKS), choices=FRAMEWORKS)
    parser.add_argument("--here", choices=FRAMEWORKS, help="measure in this process, and print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    schema = schema_of()
    vocabularies = {str(k): list(crosses_of(schema, k).vocabulary_sizes) for k in KS}
    runs = [run for framework in options.frameworks for run in in_process(framework)]
    common.write("injected_cost", {"fields": len(schema.names), "vocabularies": vocabularies, "runs": runs})


if __name__ == "__main__":
    main()
