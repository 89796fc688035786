"""Is one run with the CrossInjector as good as training a base, choosing crosses by hand and starting again?

Four arms (see :mod:`benchmarks.callbacks_arms`), each a DeepFM of DeepCTR-Torch, on simulated logs (60,000 training, 15,000
validation and 15,000 test rows; 17 fields, five planted pairs, two planted triples) and on the Amazon Employee Access
data, whose file is looked for in the directory NID_DATA names; without it that half is left as it was. A seed is a log, or a
stratified split of Amazon's rows, and the models' seed. Settings were looked for on seeds from 100 on, on validation rows;
the seeds reported are others.

Run: NID_DATA=... python -m benchmarks.callbacks_injector [--data simulated amazon] [--seeds 0 1 2 3 4]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import nid_plugins as nid
from benchmarks.callbacks_arms import ARMS, Recipe, Rows, run
from benchmarks.common import RESULTS, write
from benchmarks.lift.data import DataMissingError, Part, load
from benchmarks.lift.models import Shape
from benchmarks.lift.settings import recipe_of
from benchmarks.lift.training import Fit
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"simulated": "simulated", "amazon": "Amazon"}
SIZES = (60_000, 15_000, 15_000)
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Quantile of Student's t by the number of seeds."""


def simulated(seed: int) -> tuple[Rows, Recipe]:
    """Return one simulated log in three parts, and the recipe."""
    log = World(seed=seed).draw(sum(SIZES))
    matrix = np.stack([np.asarray(log.frame[n], dtype=np.float64) for n in log.schema.names], axis=1)
    labels = log.label.astype(np.float64)
    cuts = np.cumsum((0, *SIZES))
    parts = [Part(matrix[a:b], labels[a:b]) for a, b in itertools.pairwise(cuts)]
    fit = Fit(
        "adam",
        rate=3e-3,
        decay=4e-3,
        decay_linear=0.0,
        rate_cross=6e-3,
        decay_cross=5e-5,
        batch=512,
        epochs=30,
        patience=4,
    )
    options = {"bins": 10, "max_crosses": 16, "tower": {"hidden": (128, 64)}}
    recipe = Recipe(
        Shape(8, (128, 64), 0.0, 0.05), fit, after=1, options=options, rate=fit.rate_cross / fit.rate
    )
    return Rows(log.schema, *parts), recipe


def amazon(seed: int) -> tuple[Rows, Recipe]:
    """Return one split of Amazon's rows, and the recipe: the lift benchmark's, tuned for the base.

    Raises:
        DataMissingError: The file is not there.
    """
    split = load("amazon", seed, test=True)
    base = recipe_of("amazon", "DeepFM")
    fit = replace(base.fit, rate_cross=0.1, decay_cross=0.0, epochs=30, patience=4)
    # Few rows of the rarer class: a screening that chooses its own penalty is certain of almost nothing.
    options = {
        "min_count": 1,
        "max_crosses": 8,
        "candidates": 60,
        "detect": {"prune": "none"},
        "screen": {"l2": 5.0},
    }
    first = fit.rate if fit.rate_linear is None else fit.rate_linear  # the optimiser's first group
    recipe = Recipe(base.shape, fit, after=1, options=options, rate=fit.rate_cross / first)
    return Rows(split.schema, split.train, split.valid, split.test), recipe


SOURCES = {"simulated": simulated, "amazon": amazon}


def differences(runs: list[dict[str, Any]], part: str, metric: str, arm: str) -> np.ndarray:
    """Return the CrossInjector less another arm, seed by seed."""
    own = {r["seed"]: r[part][metric] for r in runs if r["arm"] == "CrossInjector"}
    other = {r["seed"]: r[part][metric] for r in runs if r["arm"] == arm}
    return np.array([own[seed] - other[seed] for seed in sorted(own)])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval over seeds, by Student's t."""
    half = T_975[len(values)] * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def table(result: dict[str, Any]) -> str:
    """Return what each arm reaches as a Markdown table: means over the seeds."""
    heads = ["data", "arm", "epochs", "crosses", "validation AUC", "log-loss", "test AUC", "log-loss"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for data, runs in result["runs"].items():
        for arm in ARMS:
            mine = [r for r in runs if r["arm"] == arm]
            counts = [len(r["crosses"]) for r in mine]
            cells = [f"{np.mean([r['epochs'] for r in mine]):.1f}", f"{np.mean(counts):.1f}"]
            for part in ("valid", "test"):
                cells += [f"{np.mean([r[part][metric] for r in mine]):.4f}" for metric in ("auc", "log_loss")]
            lines.append(f"| {NAMES[data]} | {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compared(result: dict[str, Any]) -> str:
    """Return the CrossInjector less each other arm: mean over the seeds, with its 95 % interval."""
    heads = [
        "data",
        "CrossInjector less",
        "validation AUC",
        "validation log-loss",
        "test AUC",
        "test log-loss",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for data, runs in result["runs"].items():
        for arm in ARMS[:-1]:
            cells = []
            for part in ("valid", "test"):
                for metric in ("auc", "log_loss"):
                    mean, low, high = interval(differences(runs, part, metric, arm))
                    cells.append(f"{mean:+.4f} ({low:+.4f} to {high:+.4f})")
            lines.append(f"| {NAMES[data]} | {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def keep(path: Path, data: str, seed: int, found: list[dict[str, Any]]) -> None:
    """Put the runs of one seed into the result at once, in place of those it had: a killed benchmark loses one seed."""
    runs = json.loads(path.read_text("utf-8"))["runs"] if path.exists() else {}
    others = [r for r in runs.get(data, []) if r["seed"] != seed]
    runs[data] = sorted([*others, *found], key=lambda r: r["seed"])
    write(path.stem, {"runs": {name: runs[name] for name in SOURCES if name in runs}})
    print(data, seed, {r["arm"]: round(r["valid"]["auc"], 4) for r in found}, flush=True)


def main() -> None:
    """Run the benchmark and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=SOURCES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--show", action="store_true", help="print the tables of the last run")
    arguments = parser.parse_args()
    path = RESULTS / "callbacks_injector.json"
    if not arguments.show:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            for data in arguments.data:
                try:
                    for seed in arguments.seeds:
                        keep(path, data, seed, run(*SOURCES[data](seed), seed))
                except DataMissingError as error:
                    print(f"{NAMES[data]} is left as it was: {error}")
    result = json.loads(path.read_text("utf-8"))
    print(table(result), compared(result), sep="\n\n")


if __name__ == "__main__":
    main()
