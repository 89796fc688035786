"""Run the benchmark with DeepCTR's models: ``python -m benchmarks.lift.deepctr_run --data amazon --seeds 0 1 --work DIR``.

Splits, seeds, recipes and crosses are those of the finished PyTorch runs; nothing is chosen anew. One arm is added:
``autoint`` has crosses of the paper's source, a DeepCTR AutoInt trained on the split, detected and picked alike.

Every finished arm is a line of a file in the working directory, as in :mod:`benchmarks.lift.run`;
``benchmarks.lift.collect --framework deepctr`` makes the result of them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nid_plugins as nid
from benchmarks.common import RESULTS
from benchmarks.lift import deepctr_models as models
from benchmarks.lift.data import Part, Split, load
from benchmarks.lift.deepctr_training import Predictor, train
from benchmarks.lift.selection import detect, fit, pick
from benchmarks.lift.settings import SETTINGS, Recipe, Settings, recipe_of

if TYPE_CHECKING:
    from benchmarks.lift.models import Shape
    from nid_plugins import CrossFeatures, FeatureSchema

ARMS = ("base", "glider", "random", "frequent", "wide", "detected", "autoint")


def crossed(
    target: str, split: Split, crosses: CrossFeatures, recipe: Recipe, settings: Settings, seed: int
) -> Any:
    """Train a target with crosses injected before its first step."""
    base = models.build(target, split.schema, seed=seed, shape=recipe.shape)
    model = nid.inject(base, crosses, mode="residual", l2=0.0, dropout=settings.dropout, seed=seed)
    fit_crossed = replace(recipe.fit, rate_cross=settings.rate_cross, decay_cross=settings.decay_cross)
    train(model, split.train, split.valid, fit_crossed, seed=seed)
    return model


def plain(target: str, split: Split, recipe: Recipe, seed: int) -> Any:
    """Train a target without crosses."""
    model = models.build(target, split.schema, seed=seed, shape=recipe.shape)
    train(model, split.train, split.valid, recipe.fit, seed=seed)
    return model


def tower_parameters(crosses: CrossFeatures, dim: int = 8) -> int:
    """Return the parameters of a tower of crosses: its table, of one shared row 0, and a weight a column."""
    return dim * (1 + sum(crosses.vocabulary_sizes) + len(crosses))


def widened(target: str, schema: FeatureSchema, shape: Shape, more: int) -> Shape:
    """Return the shape with the embedding dimension that comes nearest to so many more parameters.

    Size is linear in the dimension for all targets, so two models tell the slope.
    """
    sizes = [
        models.parameters_of(models.build(target, schema, seed=0, shape=replace(shape, dim=shape.dim + k)))
        for k in (0, 1)
    ]
    return replace(shape, dim=shape.dim + round(more / (sizes[1] - sizes[0])))


def measure(model: Any, part: Part) -> tuple[dict[str, float], np.ndarray]:
    """Return AUC, log-loss and calibration on a part, and the logits, shape (n,)."""
    logits = Predictor(model)(part.rows)
    return {
        "auc": nid.metrics.auc(part.labels, logits),
        "log_loss": nid.metrics.log_loss(part.labels, logits),
        "calibration": nid.metrics.calibration(part.labels, logits),
    }, logits


def ask_autoint(split: Split, settings: Settings) -> dict[str, Any]:
    """Return the crosses picked among what a DeepCTR AutoInt's interactions are; test rows are not looked at."""
    seed = split.seed
    source = plain(models.SOURCE, split, recipe_of(split.name, models.SOURCE), seed + 1000)
    measured, _ = measure(source, split.valid)
    report = detect(split, source, settings, seed)
    candidates = [tuple(i.fields) for i in report.interactions if len(i.fields) <= settings.order]
    picked = pick(split, candidates, settings, seed)
    return {
        "sets": [fields for fields, _ in picked],
        "gains": [gain for _, gain in picked],
        "ranks": [candidates.index(fields) + 1 for fields, _ in picked],
        "detected": len(candidates),
        "source_auc": measured["auc"],
    }


def selection_of(split: Split, settings: Settings, directory: Path, *, ask: bool) -> dict[str, Any]:
    """Return the crosses of a split's arms: the PyTorch benchmark's, and AutoInt's where it is to be asked."""
    path = directory / f"selection_{split.name}_{split.seed}.json"
    if path.is_file():
        chosen = json.loads(path.read_text("utf-8"))
    else:
        result = json.loads((RESULTS / f"lift_{split.name}.json").read_text("utf-8"))
        chosen = result["selections"][str(split.seed)]
    if ask and "autoint" not in chosen["arms"]:
        found = ask_autoint(split, settings)
        chosen["arms"]["autoint"] = found.pop("sets")
        chosen["autoint"] = found
    path.write_text(json.dumps(chosen), "utf-8")
    return dict(chosen)


def train_arm(
    arm: str, target: str, split: Split, crosses: dict[str, CrossFeatures], recipe: Recipe, settings: Settings
) -> Any:
    """Train one arm of one target."""
    if arm in crosses:
        return crossed(target, split, crosses[arm], recipe, settings, split.seed)
    if arm == "wide":
        shape = widened(target, split.schema, recipe.shape, tower_parameters(crosses["glider"]))
        recipe = Recipe(shape, recipe.fit)
    return plain(target, split, recipe, split.seed)


def run_split(name: str, seed: int, targets: list[str], wanted: list[str], directory: Path) -> None:
    """Run what is missing of one split."""
    settings = SETTINGS[name]
    split = load(name, seed)
    chosen = selection_of(split, settings, directory, ask="autoint" in wanted)
    crosses = {arm: fit(split, sets, settings) for arm, sets in chosen["arms"].items() if arm in wanted}
    crosses.setdefault("glider", fit(split, chosen["arms"]["glider"], settings))
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
            valid, _ = measure(model, split.valid)
            measured, logits = measure(model, test)
            np.save(directory / f"logits_{name}_{seed}_{target}_{arm}.npy", logits.astype(np.float32))
            record = {
                "data": name,
                "seed": seed,
                "target": target,
                "arm": arm,
                "parameters": models.parameters_of(model),
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
    parser.add_argument("--targets", nargs="+", default=list(models.TARGETS), choices=models.TARGETS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--work", type=Path, required=True, help="directory for finished runs")
    options = parser.parse_args()
    # TensorFlow flushes denormal numbers in its own threads.
    models.tf.config.threading.set_intra_op_parallelism_threads(1)
    models.tf.config.threading.set_inter_op_parallelism_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        run_split(options.data, seed, options.targets, options.arms, options.work)


if __name__ == "__main__":
    main()
