"""Run the benchmark: ``python -m benchmarks.lift.run --data amazon --seeds 0 1 2 --work DIRECTORY``.

Every finished arm is a line of a file in the working directory, so that a killed run goes on where it stopped and
several may run side by side; :mod:`benchmarks.lift.collect` makes the result of them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.lift import arms
from benchmarks.lift.data import Split, load
from benchmarks.lift.models import TARGETS, parameters_of
from benchmarks.lift.selection import Selection, fit, select
from benchmarks.lift.settings import ARMS, SETTINGS, Recipe, Settings, recipe_of

if TYPE_CHECKING:
    from nid_plugins import CrossFeatures


def selection_of(split: Split, settings: Settings, directory: Path) -> Selection:
    """Return the crosses of a split's arms, from the working directory where they were chosen before."""
    path = directory / f"selection_{split.name}_{split.seed}.json"
    if path.is_file():
        return Selection(**json.loads(path.read_text("utf-8")))
    # The split that is handed over holds no test rows.
    chosen = select(split, recipe_of(split.name, settings.source), settings, split.seed)
    path.write_text(json.dumps(asdict(chosen)), "utf-8")
    return chosen


def train_arm(
    arm: str, target: str, split: Split, crosses: dict[str, CrossFeatures], recipe: Recipe, settings: Settings
) -> Any:
    """Train one arm of one target."""
    if arm in crosses:
        return arms.crossed(target, split, crosses[arm], recipe, settings, split.seed)
    if arm == "wide":
        shape = arms.widened(
            target, split.schema, recipe.shape, arms.size_with(target, split, crosses["glider"], recipe)
        )
        recipe = Recipe(shape, recipe.fit)
    return arms.plain(target, split, recipe, split.seed)


def run_split(name: str, seed: int, targets: list[str], wanted: list[str], directory: Path) -> None:
    """Run what is missing of one split."""
    settings = SETTINGS[name]
    split = load(name, seed)
    chosen = selection_of(split, settings, directory)
    crosses = {arm: fit(split, sets, settings) for arm, sets in chosen.arms.items()}
    # Only here, after every choice, are test rows read.
    test = load(name, seed, test=True).test
    assert test is not None
    lines = directory / f"runs_{name}_{seed}.jsonl"
    done = (
        {(r["target"], r["arm"]) for r in map(json.loads, lines.read_text("utf-8").splitlines())}
        if lines.is_file()
        else set()
    )
    for target in targets:
        recipe = recipe_of(name, target)
        for arm in wanted:
            if (target, arm) in done:
                continue
            start = time.perf_counter()
            model = train_arm(arm, target, split, crosses, recipe, settings)
            seconds = time.perf_counter() - start
            valid, _ = arms.measure(model, split.valid)
            measured, logits = arms.measure(model, test)
            np.save(directory / f"logits_{name}_{seed}_{target}_{arm}.npy", logits.astype(np.float32))
            record = {
                "data": name,
                "seed": seed,
                "target": target,
                "arm": arm,
                "parameters": parameters_of(model),
                "seconds": round(seconds, 1),
                "valid": valid,
                "test": measured,
            }
            with lines.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
            print(
                f"{name} {seed} {target:8} {arm:8} valid AUC {valid['auc']:.4f} log-loss {valid['log_loss']:.4f} {seconds:.0f} s",
                flush=True,
            )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--work", type=Path, required=True, help="directory for finished runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options.work.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        run_split(options.data, seed, options.targets, options.arms, options.work)


if __name__ == "__main__":
    main()
