"""How few queries find the top 20 of a full run, 1,000 instances x 6,000 masks, and how sure that top 20 is itself.

A DeepFM trained on a simulated log of 39 fields, and one trained on Criteo's where ``NID_DATA`` names the folder with it.
Rankings by count (GLIDER's) and by strength are read off the same detections.

* ``logs``: full runs on three disjoint samples of rows, each with three sets of masks: two of them differ by the masks,
  by the rows, or by both. Runs with fewer queries begin with the same rows and have masks of their own. Beside them stand
  runs that spend the full run's queries on four times the rows, and one over all rows. Of the places of a full run: the gap
  to the next one beside the standard error over rows and the scatter over masks.
* ``planted``: the logs and models of ``benchmarks.planted_ctr``: does a ranking find what was planted?

Run: python -m benchmarks.scale_queries [--parts logs planted] [--logs simulated criteo]
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dataclasses
import itertools
import time
import warnings
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

import nid_plugins as nid
from benchmarks import planted_ctr
from benchmarks.common import RESULTS, write
from benchmarks.planted_worlds import World as PlantedWorld
from nid_plugins.detection.aggregate import ranking
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.prepared import Detection
from nid_plugins.detection.settings import Rank
from nid_plugins.detection.worth import scores, worth
from nid_plugins.frames import read_matrix
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIELDS = 39
FULL = (1000, 6000)
TOP = 20
RANKS: tuple[Rank, ...] = ("count", "strength")
FEWER = ((1000, 3000), (1000, 1500), (500, 3000), (250, 6000), (500, 1500), (1000, 750))
MORE = (4000, 1500)
ALL_MASKS = 1500
AUTO_MASKS = 1500
SAMPLES = 3
PLACES = 30
NEAR = slice(14, 25)
"""Places 15 to 25: about the end of the top 20."""

Run = dict[str, Any]


def trained(name: str) -> tuple[nid.BlackBox, Any, Any] | None:
    """Return a trained DeepFM of 39 fields, rows to explain, and typical rows; None where the data are not there."""
    from benchmarks.lift.data import DataMissingError, Part, load
    from benchmarks.lift.models import Shape, build
    from benchmarks.lift.training import Fit, train

    if name == "criteo":
        try:
            split = load("criteo", 0)
        except DataMissingError as error:
            print(error)
            return None
        schema, parts = split.schema, (split.train, split.valid)
    else:
        rng = np.random.default_rng(11)
        planted = PlantedWorld(11, pairs=15, triples=2, bend=0.1)
        schema = planted.schema
        # Zipf-like ids, ten a field, so that there are rows enough to learn pairs from; the most frequent is the baseline.
        share = 1.0 / np.arange(1, 11)
        rows = rng.choice(10, size=(90_000, FIELDS), p=share / share.sum()).astype(np.float64)
        frame = {field: rows[:, j].astype(np.int64) for j, field in enumerate(schema.names)}
        logit = planted.function()(frame)
        logit = 1.5 * (logit - logit.mean()) / logit.std() - 1.0
        labels = (rng.random(len(rows)) < 1 / (1 + np.exp(-logit))).astype(np.float64)
        parts = Part(rows[:75_000], labels[:75_000]), Part(rows[75_000:], labels[75_000:])
    # What each log needs for the model to learn pairs, by validation log-loss.
    shape, fit = {
        "criteo": (Shape(hidden=(128, 64), dropout=0.2, init_std=0.01), Fit(decay=1e-5, epochs=6)),
        "simulated": (Shape(hidden=(128, 64), dropout=0.0, init_std=0.1), Fit(rate=3e-3, decay=1e-5)),
    }[name]
    model = build("DeepFM", schema, seed=0, shape=shape)
    train(model, *parts, fit, seed=0)
    box = nid.wrap(model, schema, output="probability")
    frames = [{field: part.rows[:, j] for j, field in enumerate(schema.names)} for part in parts]
    return box, read_matrix(frames[1], schema), read_matrix(frames[0], schema)


class Bench:
    """Runs of one model, each told with the top 20 of every ranking.

    Args:
        given: The model, rows to explain and typical rows.
    """

    def __init__(self, given: tuple[nid.BlackBox, Any, Any]) -> None:
        self.box, rows, self.background = given
        self.rows = rows[np.random.default_rng(0).permutation(len(rows))]
        self.block = min(MORE[0], len(rows) // SAMPLES)

    def results(self, rows: Any, masks: int, seed: int) -> tuple[Any, list[Any]]:
        """Explain rows with one set of masks."""
        detector, settings = checked_settings(
            "least_squares", None, "mode", len(rows), masks, TOP, seed, "gain", "count", 1e-3, 40
        )
        detection = Detection(self.box, rows, self.background, detector, settings)
        detection.run()
        return settings, detection.results

    def tops(self, settings: Any, results: list[Any]) -> dict[str, list[str]]:
        """Return the top 20 by every ranking."""
        chosen = {rank: ranking(dataclasses.replace(settings, rank=rank), results).chosen for rank in RANKS}
        names = self.box.schema.names
        return {rank: ["*".join(names[j] for j in m) for m in sets] for rank, sets in chosen.items()}

    def sample(self, number: int, instances: int) -> Any:
        """Return the first rows of one of the disjoint samples."""
        start = number * self.block
        return self.rows[start : start + min(instances, self.block)]

    def run(self, rows: Any, masks: int, seed: int, **told: Any) -> tuple[Run, list[Any]]:
        """Return one run and what its instances contributed."""
        started = time.process_time()
        settings, results = self.results(rows, masks, seed)
        run = {"instances": len(rows), "masks": masks, "queries": len(rows) * masks, "seed": seed, **told}
        run |= {"top": self.tops(settings, results), "processor": time.process_time() - started}
        print({**told, "instances": len(rows), "masks": masks, "s": round(run["processor"], 1)}, flush=True)
        return run, results

    def auto(self, rank: Rank, sample: int, seed: int) -> Run:
        """Return a run that stops by itself."""
        rows = dict(zip(self.box.schema.names, self.sample(sample, self.block).T, strict=True))
        background = dict(zip(self.box.schema.names, self.background.T, strict=True))
        report = nid.detect(
            self.box,
            rows,
            background=background,
            instances="auto",
            perturbations=AUTO_MASKS,
            top_k=TOP,
            seed=seed,
            rank=rank,
            progress=False,
        )
        used = report.settings["instances_used"]
        told = {"instances": used, "masks": AUTO_MASKS, "queries": used * AUTO_MASKS, "sample": sample}
        print(rank, told, report.settings["stopped"], flush=True)
        return {**told, "seed": seed, "rank": rank, "top": {rank: ["*".join(f) for f in report.top(TOP)]}}


def places(rank: Rank, full: list[list[Any]]) -> list[dict[str, Any]]:
    """Return, for the first places of a full run, its score and how far that is sure, relative to it.

    Args:
        rank: The ranking.
        full: What the instances contributed in runs on the same rows, each with masks of its own.
    """
    by_masks = [scores(rank, results) for results in full]
    order = sorted(by_masks[0], key=lambda m: -by_masks[0][m])[: PLACES + 1]
    matrix = worth(rank, full[0], order)
    found = []
    for at, (members, after) in enumerate(itertools.pairwise(order)):
        score = by_masks[0][members]
        found.append(
            {
                "place": at + 1,
                "score": score,
                "gap": 1.0 - by_masks[0][after] / score,
                "over_rows": float(np.sqrt(len(matrix)) * matrix[:, at].std(dtype=np.float64)) / score,
                "over_masks": float(np.std([one.get(members, 0.0) for one in by_masks], ddof=1)) / score,
            }
        )
    return found


def log(name: str) -> dict[str, Any] | None:
    """Return all runs on a log."""
    given = trained(name)
    if given is None:
        return None
    bench = Bench(given)
    full, near = [], {}
    for sample in range(SAMPLES):
        kept = []
        for seed in range(SAMPLES):
            run, results = bench.run(bench.sample(sample, FULL[0]), FULL[1], seed, sample=sample)
            full.append(run)
            kept.append(results)
        if sample == 0:
            near = {rank: places(rank, kept) for rank in RANKS}
    # Masks that no full run has.
    fewer = [
        bench.run(bench.sample(sample, instances), masks, SAMPLES + sample, sample=sample)[0]
        for instances, masks in (*FEWER, MORE)
        for sample in range(SAMPLES)
    ]
    auto = [bench.auto(rank, sample, SAMPLES + sample) for rank in RANKS for sample in range(SAMPLES)]
    everything = bench.run(bench.rows, ALL_MASKS, 3 * SAMPLES)[0]
    return {"full": full, "fewer": fewer, "auto": auto, "all": everything, "places": near}


def planted(logs: int = 3, rows: int = 60_000) -> list[dict[str, Any]]:
    """Return how well every ranking finds what was planted in simulated logs."""
    found = []
    for seed in range(logs):
        drawn = World(seed=seed).draw(rows + rows // 4)
        matrix = np.stack([drawn.frame[n].astype(np.float32) for n in drawn.schema.names], axis=1)
        parts = {"train": slice(0, rows), "valid": slice(rows, None)}
        data = {
            part: (torch.from_numpy(matrix[at]), torch.from_numpy(drawn.label[at].astype(np.float32)))
            for part, at in parts.items()
        }
        known, asked = (read_matrix(drawn.rows(parts[part]).frame, drawn.schema) for part in parts)
        for kind in ("DeepFM", "AutoInt", "MLP"):
            model, probability = planted_ctr.build(kind, drawn.schema, seed)
            planted_ctr.train(model, probability, data, seed)
            box = nid.wrap(model, drawn.schema, output="probability" if probability else "logit")
            for name, baseline in itertools.product(planted_ctr.INSTANCES, ("mode", "sample")):
                instances, masks = planted_ctr.INSTANCES[name], planted_ctr.PERTURBATIONS
                detector, settings = checked_settings(
                    name, None, baseline, instances, masks, 136, seed, "gain", "count", 1e-3, 40
                )
                detection = Detection(box, asked, known, detector, settings)
                detection.run()
                for rank in get_args(Rank):
                    chosen = ranking(dataclasses.replace(settings, rank=rank), detection.results).chosen
                    sets = [frozenset(drawn.schema.names[j] for j in members) for members in chosen]
                    scored = planted_ctr.score(sets, drawn.planted_sets)
                    told = {"log": seed, "model": kind, "detector": name, "baseline": baseline, "rank": rank}
                    found.append({**told, **scored})
            print("log", seed, kind, flush=True)
    return found


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
    yield f"{FULL[0]} x {FULL[1]}", one["full"]
    for instances, masks in (*FEWER, MORE):
        yield (
            f"{instances} x {masks}",
            [r for r in one["fewer"] if (r["instances"], r["masks"]) == (instances, masks)],
        )
    auto = [r for r in one["auto"] if r["rank"] == rank]
    yield f"`auto` ({', '.join(str(r['instances']) for r in auto)}) x {AUTO_MASKS}", auto


def table(result: dict[str, Any]) -> str:
    """Return what runs have of full runs' top 20 as a Markdown table."""
    lines = [
        "| log | rank | instances x masks | queries / full | same rows, other masks | other rows, other masks | all rows |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, one), rank in itertools.product(result["logs"].items(), RANKS):
        if one is None:
            continue
        for told, runs in _told(one, rank):
            share = np.mean([r["queries"] for r in runs]) / (FULL[0] * FULL[1])
            cells = [common(runs, one["full"], rank, same=same) for same in (True, False)]
            cells.append(common(runs, [one["all"]], rank, same=None))
            lines.append(
                f"| {name} | `{rank}` | {told} | {share:.2f} | "
                + " | ".join(f"{c:.1f}" for c in cells)
                + " |"
            )
    return "\n".join(lines)


def why(result: dict[str, Any]) -> str:
    """Return by what two full runs differ, and how near their last places are, as a Markdown table."""
    lines = [
        "| log | rank | other masks only | other rows only | both | gap to the next place | error over rows | over masks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, one), rank in itertools.product(result["logs"].items(), RANKS):
        if one is None:
            continue
        # Those of one set of masks, told apart by their rows.
        as_rows = [{**r, "seed": r["sample"], "sample": r["seed"]} for r in one["full"]]
        cells = [
            common(one["full"], one["full"], rank, same=True),
            common(as_rows, as_rows, rank, same=True),
            common(one["full"], one["full"], rank, same=False),
        ]
        near = one["places"][rank][NEAR]
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


def main() -> None:
    """Run parts of the benchmark and keep the others' last results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["logs", "planted"])
    parser.add_argument("--logs", nargs="*", default=["simulated", "criteo"])
    parser.add_argument("--out", default="scale_queries")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path = RESULTS / f"{arguments.out}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for part in arguments.parts:
        if part == "logs":
            for name in arguments.logs:
                result.setdefault("logs", {})[name] = log(name)
        elif part == "planted":
            result["planted"] = planted()
        write(arguments.out, {key: value for key, value in result.items() if key != "environment"})


if __name__ == "__main__":
    main()
