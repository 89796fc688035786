"""Choose each base model's recipe: ``python -m benchmarks.lift.tune --work DIRECTORY``.

For every target the recipe of least validation log-loss is chosen, of a shortlist that is the same for all. Test rows
are never loaded here. Amazon is tuned on splits 0 to 3: their validation folds 1 to 4 are nobody's test fold in the final
runs, which use splits 0 and 5 to 9.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import common
from benchmarks.lift import arms
from benchmarks.lift.data import load
from benchmarks.lift.models import TARGETS
from benchmarks.lift.settings import SHORTLIST, TUNING


def tune_split(name: str, seed: int, targets: list[str], directory: Path) -> None:
    """Try every recipe on one split, and write validation measures as lines."""
    split = load(name, seed)
    lines = directory / f"tuning_{name}_{seed}.jsonl"
    done = set()
    if lines.is_file():
        done = {(r["target"], r["recipe"]) for r in map(json.loads, lines.read_text("utf-8").splitlines())}
    for target in targets:
        for number, recipe in enumerate(SHORTLIST[name]):
            if (target, number) in done:
                continue
            model = arms.plain(target, split, recipe, seed)
            valid, _ = arms.measure(model, split.valid)
            record = {"data": name, "seed": seed, "target": target, "recipe": number, "valid": valid}
            with lines.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
            print(record, flush=True)


def choose(tried: list[dict[str, Any]]) -> dict[str, int]:
    """Return the recipe of least mean validation log-loss for each target, over the splits all its recipes ran on."""
    losses: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in tried:
        losses[f"{record['data']}/{record['target']}"][record["recipe"]][record["seed"]] = record["valid"][
            "log_loss"
        ]
    choices = {}
    for key, by_recipe in sorted(losses.items()):
        shared = set.intersection(*(set(by_seed) for by_seed in by_recipe.values()))
        means = {
            number: sum(by_recipe[number][seed] for seed in shared) / len(shared) for number in by_recipe
        }
        choices[key] = min(means, key=lambda number: means[number])
    return choices


def main() -> None:
    """Parse the command line, tune what is missing, and write the choices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=sorted(SHORTLIST))
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--work", type=Path, required=True, help="directory for finished runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options.work.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        tune_split(options.data, seed, options.targets, options.work)
    files = sorted(options.work.glob("tuning_*.jsonl"))
    tried = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    shortlist = {name: [recipe.to_dict() for recipe in recipes] for name, recipes in SHORTLIST.items()}
    common.write(TUNING.stem, {"shortlist": shortlist, "choices": choose(tried), "tried": tried})


if __name__ == "__main__":
    main()
