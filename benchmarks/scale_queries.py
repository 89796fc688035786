"""How few queries find the top 20 of a full run, 1,000 instances x 6,000 masks, and how sure that top 20 is itself.

A DeepFM trained on a simulated log of 39 fields, and one trained on Criteo's where ``NID_DATA`` names the folder with it.
Rankings by count (GLIDER's) and by strength are read off the same detections.

* ``full``: full runs on three disjoint samples of rows, each with three sets of masks: two of them differ by the masks,
  by the rows, or by both. Of the places of a full run: the gap to the next one beside the standard error over rows and
  the scatter over masks.
* ``redrawn``: full runs whose masks are drawn anew as they go.
* ``fewer``: runs with fewer queries begin with the same rows and have masks of their own. Beside them stand runs that spend the
  full run's queries on four times the rows, those that stop by themselves, and one over all rows.
* ``kinds``: would other kinds of masks need fewer of them (:mod:`benchmarks.scale_queries_kinds`)?
* ``planted``: the logs and models of ``benchmarks.planted_ctr``: does a ranking find what was planted?

Run: python -m benchmarks.scale_queries [--parts full redrawn fewer kinds planted] [--logs simulated criteo]
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
from benchmarks.scale_queries_kinds import kinds
from nid_plugins.detection.aggregate import ranking
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.prepared import Detection
from nid_plugins.detection.settings import Rank
from nid_plugins.detection.worth import scores, worth
from nid_plugins.frames import read_matrix
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = 39
FULL = (1000, 6000)
TOP = 20
RANKS: tuple[Rank, ...] = ("count", "strength")
REDRAW = 128
QUARTER = (1000, 1500)
FEWER: tuple[tuple[int, int, int | None], ...] = (
    (1000, 3000, None),
    (*QUARTER, None),
    (*QUARTER, REDRAW),
    (500, 3000, None),
    (500, 3000, REDRAW),
    (250, 6000, None),
    (1000, 1000, None),
    (1000, 1000, REDRAW),
    (500, 1500, None),
    (500, 1500, REDRAW),
    (1000, 750, None),
    (1000, 750, REDRAW),
)
"""Instances, masks, and after how many instances masks are drawn anew."""
MORE = (4000, 1500)
ALL_MASKS = 1500
AUTO_MASKS = 1500
SAMPLES = 3
LOG_PARTS = ("full", "redrawn", "fewer", "kinds")
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

    def results(self, rows: Any, masks: int, seed: int, redraw: int | None = None) -> tuple[Any, list[Any]]:
        """Explain rows with one set of masks, or with masks drawn anew after so many rows."""
        detector, settings = checked_settings(
            "least_squares", None, "mode", len(rows), masks, TOP, seed, "gain", "count", 1e-3, 40, redraw
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

    def run(
        self, rows: Any, masks: int, seed: int, redraw: int | None = None, **told: Any
    ) -> tuple[Run, list[Any]]:
        """Return one run and what its instances contributed."""
        started = time.process_time()
        settings, results = self.results(rows, masks, seed, redraw)
        told |= {"instances": len(rows), "masks": masks, "redraw": redraw, "seed": seed}
        run = {**told, "queries": len(rows) * masks}
        run |= {"top": self.tops(settings, results), "processor": time.process_time() - started}
        print({**told, "s": round(run["processor"], 1)}, flush=True)
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
        told = {
            "instances": used,
            "masks": AUTO_MASKS,
            "redraw": None,
            "queries": used * AUTO_MASKS,
            "sample": sample,
        }
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


def log(
    name: str, parts: Sequence[str] = LOG_PARTS, known: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the runs on a log.

    Args:
        name: The log.
        parts: What to run.
        known: Results of other parts, which are kept.
    """
    given = trained(name)
    if given is None:
        return None
    bench, found = Bench(given), dict(known or {})
    if "full" in parts:
        found["full"] = []
        for sample in range(SAMPLES):
            kept = []
            for seed in range(SAMPLES):
                run, results = bench.run(bench.sample(sample, FULL[0]), FULL[1], seed, sample=sample)
                found["full"].append(run)
                kept.append(results)
            if sample == 0:
                found["places"] = {rank: places(rank, kept) for rank in RANKS}
    # Masks that no full run has.
    if "redrawn" in parts:
        found["redrawn"] = [
            bench.run(bench.sample(sample, FULL[0]), FULL[1], 2 * SAMPLES + seed, REDRAW, sample=sample)[0]
            for sample in range(SAMPLES)
            for seed in range(2)
        ]
    if "fewer" in parts:
        found["fewer"] = [
            bench.run(bench.sample(sample, instances), masks, seed, redraw, sample=sample)[0]
            for instances, masks, redraw in (*FEWER, (*MORE, None))
            for sample in range(SAMPLES)
            for seed in (
                range(SAMPLES, 2 * SAMPLES) if (instances, masks) == QUARTER else (SAMPLES + sample,)
            )
        ]
        found["auto"] = [
            bench.auto(rank, sample, SAMPLES + sample) for rank in RANKS for sample in range(SAMPLES)
        ]
        found["all"] = bench.run(bench.rows, ALL_MASKS, 3 * SAMPLES)[0]
    if "kinds" in parts:
        found["kinds"] = kinds(bench)
    return found


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


def main() -> None:
    """Run parts of the benchmark and keep the others' last results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=[*LOG_PARTS, "planted"])
    parser.add_argument("--logs", nargs="*", default=["simulated", "criteo"])
    parser.add_argument("--out", default="scale_queries")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path = RESULTS / f"{arguments.out}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {}
    logs = result.setdefault("logs", {})
    for name in arguments.logs if set(arguments.parts) & set(LOG_PARTS) else []:
        logs[name] = log(name, arguments.parts, logs.get(name))
        write(arguments.out, {key: value for key, value in result.items() if key != "environment"})
    if "planted" in arguments.parts:
        result["planted"] = planted()
        write(arguments.out, {key: value for key, value in result.items() if key != "environment"})


if __name__ == "__main__":
    main()
