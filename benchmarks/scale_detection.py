"""Detection at scale: its cost over its queries, many fields, and Ray. How few queries do: ``benchmarks.scale_queries``.

Parts, each of a few minutes, kept in one file of results:

* ``cost``: 1,000 instances of 6,000 masks x 39 fields on a DeepFM of DeepCTR-Torch: a whole ``nid.detect`` call over what
  the model's predictions of those rows cost by themselves, in seconds of the clock (with the default executor, whose
  second thread fits) and of the processor (one thread), floor and call in turn; and what its steps cost.
* ``fields``: 100, 300 and 1,000 fields, 20 planted pairs, 6,000 masks: seconds an instance and peak memory, each in a
  process of its own.
* ``ray``: one actor and two, the same groups of instances: seconds an instance once they have begun, and the start.

Run: python -m benchmarks.scale_detection [--parts cost fields ray] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Ray's workers give way to whatever else runs; compared with a process that does not, they would seem slow.
os.environ.setdefault("RAY_worker_niceness", "0")

import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import nid_plugins as nid
from benchmarks.common import RESULTS, write
from benchmarks.detection_speed import FIELDS, MASKS, source
from benchmarks.planted_worlds import World as PlantedWorld
from nid_plugins.detection import RayExecutor, random_masks
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.groups import Group, Worker
from nid_plugins.detection.madex import MEMORY, Madex
from nid_plugins.detection.settings import LARGE_GROUP
from nid_plugins.frames import read_matrix

FULL = (1000, 6000)
TOP = 20
WIDE = (
    ("matching_pursuit", 100, 16),
    ("matching_pursuit", 300, 16),
    ("matching_pursuit", 1000, 16),
    ("least_squares", 100, 16),
    ("least_squares", 300, 16),
    ("least_squares", 1000, 16),
    ("archdetect", 100, 16),
    ("archdetect", 300, 4),
)
PLANTED = 20


def bare(model: Any, rows: Any, masks: Any, instances: int) -> tuple[float, float]:
    """Return seconds of the clock and of the processor that the model's predictions alone take."""
    clock = processor = 0.0
    model.eval()
    off = rows[-1]
    for i in range(instances):
        batch = torch.from_numpy(np.where(masks, rows[i], off).astype(np.float32))
        started = time.perf_counter(), time.process_time()
        with torch.no_grad():
            for start in range(0, len(batch), 2048):
                model(batch[start : start + 2048])
        clock += time.perf_counter() - started[0]
        processor += time.process_time() - started[1]
    return clock, processor


def cost(rounds: int) -> list[dict[str, Any]]:
    """Time whole detections, the floor for half of the instances before and for half after each."""
    model, frame = source("DeepFM")
    schema = nid.FeatureSchema.of(model)
    box = nid.wrap(model, schema)
    rows = read_matrix(frame, schema)
    masks = random_masks(FIELDS, MASKS, np.random.default_rng(0))
    bare(model, rows, masks, 20)
    found = []
    for number in range(rounds):
        one: dict[str, Any] = {}
        for executor in ("threads", "serial"):
            before = bare(model, rows, masks, FULL[0] // 2)
            started = time.perf_counter(), time.process_time()
            nid.detect(
                box,
                frame,
                instances=FULL[0],
                perturbations=MASKS,
                executor=executor,
                seed=number,
                progress=False,
            )
            taken = time.perf_counter() - started[0], time.process_time() - started[1]
            after = bare(model, rows, masks, FULL[0] // 2)
            one[executor] = {
                "clock": taken[0],
                "processor": taken[1],
                "floor_clock": before[0] + after[0],
                "floor_processor": before[1] + after[1],
            }
        one["load"] = os.getloadavg()[0]
        print(one, flush=True)
        found.append(one)
    return found


def shares(rounds: int) -> dict[str, Any]:
    """Time the steps of a detection in one thread, in seconds of the processor an instance; the model alone around each."""
    model, frame = source("DeepFM")
    schema = nid.FeatureSchema.of(model)
    box = nid.wrap(model, schema)
    rows = read_matrix(frame, schema)
    detector, settings = checked_settings(
        "least_squares", None, "mode", FULL[0], MASKS, TOP, 0, "gain", "count", 1e-3, 40
    )
    found: list[dict[str, float]] = []
    with threadpool_limits(1, user_api="blas"):
        started = time.process_time()
        madex = Madex(box, rows, settings, detector, nid.get_manager().baseline("mode"), MEMORY)
        made = time.process_time() - started
        off, state, clipped = madex.off_values(0), detector.prepare(madex.masks), [0] * LARGE_GROUP
        for number in range(1 + 10 * rounds):
            own = range(number * LARGE_GROUP, (number + 1) * LARGE_GROUP)
            some = rows[[i % len(rows) for i in own]]
            times = [bare(model, some, madex.masks, LARGE_GROUP // 2)[1]]
            started = time.process_time()
            targets = np.array([madex.query(row, off)[0] for row in some])
            times.append(time.process_time() - started)
            started = time.process_time()
            madex.explain(targets, own, clipped, [row == off for row in some])
            times.append(time.process_time() - started)
            started = time.process_time()
            detector.fit(state, targets, [np.random.SeedSequence(0)] * LARGE_GROUP)
            times.append(time.process_time() - started)
            times[0] += bare(model, some, madex.masks, LARGE_GROUP // 2)[1]
            names = ("alone", "query", "explain", "regression")
            found.append({name: t / LARGE_GROUP for name, t in zip(names, times, strict=True)})
    first = found.pop(0)
    once = made + LARGE_GROUP * (first["explain"] - float(np.median([one["explain"] for one in found])))
    print(once, found[-1], flush=True)
    return {"once": once, "blocks": found}


def one_width(detector: str, fields: int, instances: int) -> dict[str, Any]:
    """Detect in a world of so many fields; called in a process of its own, whose peak memory is told."""
    world = PlantedWorld(7, fields=fields, pairs=PLANTED, triples=0)
    box = nid.wrap(world.function(), world.schema, output="logit")
    rows = world.rows(instances)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    box.logits(rows)
    started = time.process_time()
    report = nid.detect(
        box,
        rows,
        baseline="oov",
        detector=detector,
        instances=instances,
        perturbations=MASKS,
        top_k=PLANTED,
        executor="serial",
        progress=False,
    )
    seconds = (time.process_time() - started) / instances
    planted = {tuple(f"f{j}" for j in members) for members in world.planted()}
    return {
        "detector": detector,
        "fields": fields,
        "instances": instances,
        "queries": report.settings["queries_per_instance"],
        "seconds": seconds,
        "found": len(planted & set(report.top(PLANTED))),
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def fields() -> list[dict[str, Any]]:
    """Run every width in a process of its own."""
    found = []
    for detector, width, instances in WIDE:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale_detection", "--one"]
        done = subprocess.run(  # noqa: S603 - this script
            [*command, detector, str(width), str(instances)], check=True, capture_output=True, text=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(found[-1], flush=True)
    return found


def actors(rounds: int, groups: int = 30) -> list[dict[str, float]]:
    """Time groups of 16 instances by one actor and by two, once all of them have begun, and the start before that."""
    model, frame = source("DeepFM")
    schema = nid.FeatureSchema.of(model)
    box = nid.wrap(model, schema)
    box.logits(frame)
    rows = read_matrix(frame, schema)
    detector, settings = checked_settings(
        "least_squares", None, "mode", 1000, MASKS, TOP, 0, "gain", "count", 1e-3, 40
    )
    worker = Worker(box, settings, detector, nid.get_manager().baseline("mode"), MEMORY)
    off = np.repeat(rows[-1:], 16, axis=0)
    given = [
        Group(list(range(at, at + 16)), rows[at : at + 16], off, rows[at : at + 16] == off)
        for at in range(0, 16 * groups, 16)
    ]
    wanted: dict[str, Any] = {"instances": 160, "perturbations": MASKS, "progress": False}
    alone = nid.detect(box, frame, executor="serial", **wanted)
    found = []
    for _ in range(rounds):
        one: dict[str, float] = {}
        for workers in (1, 2):
            started = time.perf_counter()
            with RayExecutor(workers).hold(worker) as mapped:
                list(mapped(given[: 4 * workers]))
                one[f"start_{workers}"] = time.perf_counter() - started
                started = time.perf_counter()
                list(mapped(given))
                one[f"work_{workers}"] = (time.perf_counter() - started) / (16 * groups)
        worker(given[0])
        started = time.perf_counter()
        for group in given:
            worker(group)
        one["serial"] = (time.perf_counter() - started) / (16 * groups)
        one["identical"] = float(nid.detect(box, frame, executor=RayExecutor(2), **wanted) == alone)
        one["load"] = os.getloadavg()[0]
        print(one, flush=True)
        found.append(one)
    return found


def table(result: dict[str, Any]) -> str:
    """Return the cost of whole detections as a Markdown table."""
    lines = [
        "| executor | model alone, s | whole detect, s | clock: whole / model | processor: whole / model |",
        "|---|---|---|---|---|",
    ]
    for executor in ("threads", "serial"):
        runs = [r[executor] for r in result["cost"]]
        middle = {key: np.median([r[key] for r in runs]) for key in ("floor_clock", "clock")}
        ratios = [np.median([r[key] / r[f"floor_{key}"] for r in runs]) for key in ("clock", "processor")]
        lines.append(
            f"| `{executor}` | {middle['floor_clock']:.1f} | {middle['clock']:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"
        )
    return "\n".join(lines)


def steps(result: dict[str, Any]) -> str:
    """Return what the steps of a detection cost an instance as a Markdown table."""
    blocks = result["shares"]["blocks"]
    parts = {
        "model alone": [b["alone"] for b in blocks],
        "rows, what is done around a call, checks of the answers": [b["query"] - b["alone"] for b in blocks],
        "regression, with the scan of triples": [b["regression"] for b in blocks],
        "checks, and the choice by held-out gain": [b["explain"] - b["regression"] for b in blocks],
        "masks, factors and the like, once in 1,000 instances": [result["shares"]["once"] / FULL[0]],
    }
    alone = np.median(parts["model alone"])
    lines = ["| step | ms an instance | of the model's |", "|---|---|---|"]
    lines += [
        f"| {name} | {1000 * np.median(times):.2f} | {np.median(times) / alone:.1%} |"
        for name, times in parts.items()
    ]
    return "\n".join(lines)


def wide(result: dict[str, Any]) -> str:
    """Return time and memory by the number of fields as a Markdown table."""
    lines = [
        "| fields | detector | queries an instance | s an instance | peak memory, MB | planted pairs found |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['fields']} | `{r['detector']}` | {r['queries']:,} | {r['seconds']:.2f} | "
        f"{r['megabytes']:,.0f} | {r['found']} of {PLANTED} |"
        for r in sorted(result["fields"], key=lambda r: (r["fields"], r["detector"]))
    ]
    return "\n".join(lines)


def workers(result: dict[str, Any]) -> str:
    """Return one actor beside two as a Markdown table, a row a round."""
    lines = [
        "| load of the machine | serial, s an instance | one actor | two actors | one / two | start of one, s | of two |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['load']:.1f} | {r['serial']:.4f} | {r['work_1']:.4f} | {r['work_2']:.4f} | "
        f"{r['work_1'] / r['work_2']:.2f} | {r['start_1']:.1f} | {r['start_2']:.1f} |"
        for r in sorted(result["ray"], key=lambda r: r["load"])
    ]
    return "\n".join(lines)


def main() -> None:
    """Run parts of the benchmark and keep the others' last results; rounds of ``ray`` are added to those there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["cost", "fields", "ray"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("DETECTOR", "FIELDS", "INSTANCES"))
    parser.add_argument("--out", default="scale_detection")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if arguments.one:
        print(json.dumps(one_width(arguments.one[0], int(arguments.one[1]), int(arguments.one[2]))))
        return
    path = Path(RESULTS) / f"{arguments.out}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for part in arguments.parts:
        if part == "cost":
            result["shares"] = shares(arguments.rounds)
            result["cost"] = cost(arguments.rounds)
        elif part == "fields":
            result["fields"] = fields()
        elif part == "ray":
            result["ray"] = [*result.get("ray", []), *actors(arguments.rounds)]
        write(arguments.out, {key: value for key, value in result.items() if key != "environment"})


if __name__ == "__main__":
    main()
