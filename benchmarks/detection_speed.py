"""Seconds per instance of 6,000 masks x 39 fields: every detector, the paper's loop, and the model's own predictions.

The floor is what the model's predictions on those rows cost by themselves: a DeepFM of DeepCTR-Torch called in chunks
of 2,048 rows without gradients. A detector's total is a whole ``nid.detect`` call, start-up included, over the number
of instances. All in one process on one thread, interleaved in rounds, in seconds of processor time, which a busy machine
disturbs less than the clock on the wall; ratios are taken round by round.

Precision is measured per instance on planted worlds no setting was chosen on: of the 12 first sets, the share that is
planted or a pair inside a planted triple.

Run: python -m benchmarks.detection_speed [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import nid_plugins as nid
from benchmarks.common import RESULTS, write
from benchmarks.paper_loop import explain_one
from benchmarks.planted_worlds import World
from nid_plugins.detection import MaskDesign, random_masks
from nid_plugins.frames import read_matrix
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from nid_plugins.detection.detector import Explanation

FIELDS, MASKS = 39, 6000
DETECTORS: dict[str, tuple[str, dict[str, Any], int]] = {
    "least_squares": ("least_squares", {}, 1000),
    "archdetect": ("archdetect", {}, 1000),
    "nid": ("nid", {}, 48),
    "nid, no linear part": ("nid", {"linear": False}, 32),
    "nid, paper's network": (
        "nid",
        {"linear": False, "hidden": (256, 128, 64), "l1": 1e-4, "learning_rate": 0.01, "batch": 100},
        16,
    ),
    "gradient_nid": ("gradient_nid", {}, 16),
}
LOOP_INSTANCES = 4


def source(kind: str) -> Any:
    """Return a model on 26 sparse and 13 dense fields, and a frame of rows to query it with.

    Args:
        kind: ``"DeepFM"``, a light model, or ``"AutoInt"`` in the size the paper's source model has.
    """
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import AutoInt, DeepFM

    rng = np.random.default_rng(0)
    dim = 8 if kind == "DeepFM" else 16
    columns = [SparseFeat(f"C{i}", 1000, embedding_dim=dim) for i in range(26)]
    columns += [DenseFeat(f"I{i}", 1) for i in range(13)]
    torch.manual_seed(0)
    if kind == "DeepFM":
        model = DeepFM(columns, columns, dnn_hidden_units=(128, 64), init_std=0.1, seed=0)
    else:
        model = AutoInt(
            columns,
            columns,
            att_layer_num=3,
            att_head_num=2,
            dnn_hidden_units=(400, 400),
            init_std=0.1,
            seed=0,
        )
    frame = {f"C{i}": rng.integers(0, 1000, 2000) for i in range(26)}
    frame |= {f"I{i}": rng.normal(size=2000) for i in range(13)}
    return model, frame


def against_floor(kind: str, instances: int, rounds: int) -> list[dict[str, float]]:
    """Time the default detector on a model, the floor before and after it."""
    model, frame = source(kind)
    schema = nid.FeatureSchema.of(model)
    box = nid.wrap(model, schema)
    box.logits(frame)
    found = []
    for number in range(rounds):
        before = floor(model, schema, frame, 16)
        started = time.process_time()
        nid.detect(
            box,
            frame,
            instances=instances,
            perturbations=MASKS,
            executor="serial",
            seed=number,
            progress=False,
        )
        seconds = (time.process_time() - started) / instances
        found.append({"seconds": seconds, "floor": (before + floor(model, schema, frame, 16)) / 2})
    return found


def heavier(result: dict[str, Any]) -> str:
    """Return the default detector's cost beside models of two weights as a Markdown table."""
    deepfm = [r["detectors"]["least_squares"] for r in result["rounds"]]
    lines = ["| model | its predictions, s | whole detect, s | whole / floor |", "|---|---|---|---|"]
    for name, runs in (("DeepFM, 128-64", deepfm), ("AutoInt, 3 blocks and 400-400", result["autoint"])):
        ratio = np.median([r["seconds"] / r["floor"] for r in runs])
        parts = [np.median([r[key] for r in runs]) for key in ("floor", "seconds")]
        lines.append(f"| {name} | {parts[0]:.4f} | {parts[1]:.4f} | {ratio:.2f} |")
    return "\n".join(lines)


def floor(model: Any, schema: nid.FeatureSchema, frame: dict[str, Any], instances: int) -> float:
    """Return seconds per instance of the model's predictions alone, rows prepared beforehand."""
    rows = read_matrix(frame, schema)
    masks = random_masks(FIELDS, MASKS, np.random.default_rng(0))
    batches = [
        torch.from_numpy(np.where(masks, rows[i], rows[-1]).astype(np.float32)) for i in range(instances)
    ]
    model.eval()
    started = time.process_time()
    with torch.no_grad():
        for batch in batches:
            for start in range(0, MASKS, 2048):
                model(batch[start : start + 2048])
    return (time.process_time() - started) / instances


def one_round(model: Any, frame: dict[str, Any], number: int) -> dict[str, Any]:
    """Time everything once."""
    schema = nid.FeatureSchema.of(model)
    box = nid.wrap(model, schema)
    box.logits(frame)
    result: dict[str, Any] = {"floor": floor(model, schema, frame, 64), "detectors": {}}
    before = result["floor"]
    for name, (detector, options, instances) in DETECTORS.items():
        started = time.process_time()
        report = nid.detect(
            box,
            frame,
            detector=detector,
            options=options,
            instances=instances,
            perturbations=MASKS,
            executor="serial",
            seed=number,
            progress=False,
        )
        seconds = (time.process_time() - started) / instances
        after = floor(model, schema, frame, 64)
        result["detectors"][name] = {
            "seconds": seconds,
            "floor": (before + after) / 2,  # just before and just after: the machine's speed drifts
            "queries": report.settings["queries_per_instance"],
        }
        before = after
    # The loop and the batched networks on the same targets, predictions left out.
    masks = random_masks(FIELDS, MASKS, np.random.default_rng(number))
    rows = read_matrix(frame, schema)
    targets = np.array([box.logits_of(np.where(masks, rows[i], rows[-1])) for i in range(16)])
    design = MaskDesign(masks)
    started = time.process_time()
    for i in range(LOOP_INSTANCES):
        explain_one(design, targets[i], i)
    result["loop_fit"] = (time.process_time() - started) / LOOP_INSTANCES
    for name, (detector, options, _) in DETECTORS.items():
        found = get_manager().detector(detector).configured(**options)
        if detector == "archdetect":
            continue
        state, seeds = found.prepare(masks), np.random.SeedSequence(number).spawn(len(targets))
        found.fit(state, targets[:1], seeds[:1])  # what all instances share is made for the first
        started = time.process_time()
        found.fit(state, targets, seeds)
        result["detectors"][name]["fit"] = (time.process_time() - started) / len(targets)
    return result


def precision(worlds: int, instances: int) -> dict[str, float]:
    """Return each method's mean precision of the first sets, as many as there are planted or implied."""
    scores: dict[str, list[float]] = {}
    for seed in range(worlds):
        world = World(1000 + seed)
        box = nid.wrap(world.function(), world.schema, output="logit")
        rows = read_matrix(world.rows(instances), world.schema)
        relevant = world.relevant()

        def score(name: str, found: list[Explanation], relevant: set[tuple[int, ...]] = relevant) -> None:
            scores.setdefault(name, []).extend(
                float(np.mean([s in relevant for s in e.sets[: len(relevant)]])) for e in found
            )

        for name, (detector, options, _) in DETECTORS.items():
            found = get_manager().detector(detector).configured(**options)
            masks = found.masks(FIELDS, MASKS, np.random.default_rng(seed))
            targets = np.array([box.logits_of(np.where(masks, row, 0.0)) for row in rows])
            score(
                name, found.fit(found.prepare(masks), targets, np.random.SeedSequence(seed).spawn(instances))
            )
            if detector == "least_squares":
                design = MaskDesign(masks)
                score("paper's loop", [explain_one(design, targets[i], i) for i in range(instances)])
    return {name: float(np.mean(values)) for name, values in scores.items()}


def run(rounds: int, worlds: int, instances: int) -> dict[str, Any]:
    """Return all rounds and the precision table."""
    torch.set_num_threads(1)
    model, frame = source("DeepFM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [one_round(model, frame, number) for number in range(rounds)]
        autoint = against_floor("AutoInt", 100, rounds)
    return {
        "fields": FIELDS,
        "masks": MASKS,
        "rounds": found,
        "autoint": autoint,
        "precision": precision(worlds, instances),
        "worlds": worlds,
        "instances_per_world": instances,
    }


def table(result: dict[str, Any]) -> str:
    """Return medians over the rounds as a Markdown table."""
    rounds = result["rounds"]
    base = [float(np.median([d["floor"] for d in r["detectors"].values()])) for r in rounds]
    loop = float(np.median([r["loop_fit"] for r in rounds]))
    lines = [
        "| method | queries | fit, s | whole detect, s | whole / floor | loop's fit / fit | precision |",
        "|---|---|---|---|---|---|---|",
        f"| model's predictions alone (floor) | {result['masks']} | - | {np.median(base):.4f} | 1.00 | - | - |",
        (
            f"| paper's loop, one by one | {result['masks']} | {loop:.3f} | - | "
            f"{np.median([1 + r['loop_fit'] / b for r, b in zip(rounds, base, strict=True)]):.1f} | 1.0 | "
            f"{result['precision'][PAPER]:.3f} |"
        ),
    ]
    for name in DETECTORS:
        mine = [r["detectors"][name] for r in rounds]
        whole = np.median([m["seconds"] for m in mine])
        ratio = np.median([m["seconds"] / m["floor"] for m in mine])
        fit = f"{np.median([m['fit'] for m in mine]):.4f}" if "fit" in mine[0] else "-"
        speed = (
            f"{np.median([r['loop_fit'] / m['fit'] for r, m in zip(rounds, mine, strict=True)]):.1f}"
            if "fit" in mine[0]
            else "-"
        )
        lines.append(
            f"| `{name}` | {mine[0]['queries']} | {fit} | {whole:.4f} | {ratio:.2f} | {speed} | "
            f"{result['precision'][name]:.3f} |"
        )
    return "\n".join(lines)


PAPER = "paper's loop"


def main() -> None:
    """Run the benchmark, or print the table of an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--instances", type=int, default=8)
    parser.add_argument("--show", action="store_true", help="print the table of the last run")
    parser.add_argument("--out", default="detection_speed")
    arguments = parser.parse_args()
    if not arguments.show:
        write(arguments.out, run(arguments.rounds, arguments.worlds, arguments.instances))
    result = json.loads((RESULTS / f"{arguments.out}.json").read_text("utf-8"))
    print(table(result), heavier(result), sep="\n\n")


if __name__ == "__main__":
    main()
