"""Make the result of finished runs: ``python -m benchmarks.lift.collect --data amazon --work DIRECTORY``.

Runs of :mod:`benchmarks.lift.deepctr_run` are collected with ``--framework deepctr``, to a result of their own.

Differences are paired: the same target, seed, split and test rows. Two intervals are given for each.

``runs``
    Student's t over seeds, the targets averaged first, since targets of one seed share split, crosses and test rows. On
    Amazon seeds have test rows of their own, so this holds chance in rows, splits, crosses and weights. On Criteo they
    share them, so it holds chance in crosses and weights alone.
``rows``
    Bootstrap over test rows, the same draw for both arms and all targets: what another sample of rows from the same days
    would show. Where all seeds share their test rows, one draw serves them all, and seeds are drawn as well.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

import nid_plugins as nid
from benchmarks import common
from benchmarks.lift.data import load
from benchmarks.lift.settings import ARMS, SETTINGS, recipe_of

Floats = npt.NDArray[np.float64]
METRICS = ("auc", "log_loss")
ALL_ARMS = (*ARMS, "autoint")
"""Of the PyTorch runs, and the one that only DeepCTR's runs have."""
RIVALS = tuple(arm for arm in ALL_ARMS if arm != "glider")
RESAMPLES = 400


def table(runs: list[dict[str, Any]], metric: str) -> dict[tuple[str, str, int], float]:
    """Return a metric on test rows by target, arm and seed."""
    return {(r["target"], r["arm"], r["seed"]): r["test"][metric] for r in runs}


def t_interval(values: Floats) -> tuple[float, float, float]:
    """Return mean and 95 % interval by Student's t; an interval needs two values."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("-inf"), float("inf")
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def differences(
    runs: list[dict[str, Any]], metric: str, rival: str, target: str | None, ours: str = "glider"
) -> Floats:
    """Return our arm less the rival for each seed, targets averaged; shape (seeds,)."""
    cells = table(runs, metric)
    by_seed: dict[int, list[float]] = {}
    for name, arm, seed in cells:
        if arm == ours and target in {None, name} and (name, rival, seed) in cells:
            by_seed.setdefault(seed, []).append(cells[name, ours, seed] - cells[name, rival, seed])
    return np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])


def row_bootstrap(
    labels: dict[int, Floats],
    logits: dict[tuple[str, str, int], Floats],
    rival: str,
    metric: str,
    *,
    shared: bool,
    ours: str = "glider",
    draws: int = RESAMPLES,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of our arm less the rival, targets averaged, over test rows.

    Args:
        labels: Of the test rows of each seed.
        logits: By target, arm and seed.
        rival: The other arm.
        metric: ``"auc"`` or ``"log_loss"``.
        shared: Whether all seeds have the same test rows: then one draw of rows serves all, and seeds are drawn too.
        ours: Our arm.
        draws: Resamples.
    """
    rng = np.random.default_rng(0)
    weighted: type[WeightedAuc | WeightedLoss] = WeightedAuc if metric == "auc" else WeightedLoss
    pairs: dict[int, list[tuple[Weighted, Weighted]]] = {}
    for (target, arm, seed), own in logits.items():
        if arm == ours and (target, rival, seed) in logits:
            theirs = logits[target, rival, seed]
            pairs.setdefault(seed, []).append((weighted(labels[seed], own), weighted(labels[seed], theirs)))
    seeds = sorted(pairs)
    found = []
    for _ in range(draws):
        counts = _resampled(labels[seeds[0]], rng)
        of_seed = []
        for seed in rng.choice(seeds, len(seeds)) if shared else seeds:
            if not shared:
                counts = _resampled(labels[seed], rng)
            of_seed.append(np.mean([own(counts) - theirs(counts) for own, theirs in pairs[seed]]))
        found.append(np.mean(of_seed))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _resampled(labels: Floats, rng: np.random.Generator) -> Floats:
    """Return how often each row is drawn, shape (n,)."""
    n = len(labels)
    return np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)


class WeightedAuc:
    """AUC of fixed scores for any weights of the rows; ties count half."""

    def __init__(self, labels: Floats, scores: Floats) -> None:
        self._labels = labels
        _, self._group = np.unique(scores, return_inverse=True)

    def __call__(self, weights: Floats) -> float:
        """Return the AUC with these weights, shape (n,)."""
        clicks = np.bincount(self._group, weights * self._labels)
        others = np.bincount(self._group, weights * (1 - self._labels))
        below = np.cumsum(others) - others / 2
        return float(clicks @ below / (clicks.sum() * others.sum()))


class WeightedLoss:
    """Mean log-loss of fixed logits for any weights of the rows."""

    def __init__(self, labels: Floats, logits: Floats) -> None:
        self._losses = nid.metrics.row_losses(labels, logits)

    def __call__(self, weights: Floats) -> float:
        """Return the mean with these weights, shape (n,)."""
        return float(weights @ self._losses / weights.sum())


Weighted = WeightedAuc | WeightedLoss


def summarise(
    runs: list[dict[str, Any]],
    labels: dict[int, Floats],
    logits: dict[tuple[str, str, int], Floats],
    *,
    shared: bool,
) -> dict[str, Any]:
    """Return means of every arm, and paired differences by target and pooled.

    These are of the glider arm to every other, and of the arm with AutoInt's crosses to the base.
    """
    targets = sorted({r["target"] for r in runs})
    means = [
        {
            "target": target,
            "arm": arm,
            "runs": len(own),
            "parameters": round(float(np.mean([r["parameters"] for r in own]))),
            **{m: float(np.mean([r["test"][m] for r in own])) for m in (*METRICS, "calibration")},
        }
        for target in targets
        for arm in ALL_ARMS
        if (own := [r for r in runs if r["target"] == target and r["arm"] == arm])
    ]
    compared = []
    pairs = [*(("glider", rival) for rival in RIVALS), ("autoint", "base")]
    for metric, (ours, rival), target in product(METRICS, pairs, [*targets, None]):
        values = differences(runs, metric, rival, target, ours)
        if not len(values):
            continue
        mean, low, high = t_interval(values)
        entry: dict[str, Any] = {
            "metric": metric,
            "ours": ours,
            "rival": rival,
            "target": target or "pooled",
            "seeds": len(values),
            "mean": mean,
            "runs": [low, high] if np.isfinite(low) else None,
        }
        if target is None:
            entry["rows"] = list(row_bootstrap(labels, logits, rival, metric, shared=shared, ours=ours))
        compared.append(entry)
    return {"means": means, "differences": compared}


def collect(name: str, directory: Path) -> dict[str, Any]:
    """Read the finished runs of a data set, and summarise them."""
    files = sorted(directory.glob(f"runs_{name}_*.jsonl"))
    runs = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    seeds = sorted({r["seed"] for r in runs})
    labels: dict[int, Floats] = {}
    for seed in seeds:
        test = load(name, seed, test=True).test
        assert test is not None
        labels[seed] = test.labels
    logits = {
        (r["target"], r["arm"], r["seed"]): np.load(
            directory / f"logits_{name}_{r['seed']}_{r['target']}_{r['arm']}.npy"
        ).astype(np.float64)
        for r in runs
    }
    selections = {
        seed: json.loads((directory / f"selection_{name}_{seed}.json").read_text("utf-8")) for seed in seeds
    }
    return {
        "data": name,
        "settings": vars(SETTINGS[name]),
        "recipes": {
            target: recipe_of(name, target).to_dict() for target in sorted({r["target"] for r in runs})
        },
        "summary": summarise(runs, labels, logits, shared=name == "criteo"),
        "selections": selections,
        "runs": runs,
    }


def main() -> None:
    """Parse the command line, collect, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory of the finished runs")
    parser.add_argument("--framework", choices=["torch", "deepctr"], default="torch")
    options = parser.parse_args()
    prefix = "lift_deepctr" if options.framework == "deepctr" else "lift"
    common.write(f"{prefix}_{options.data}", collect(options.data, options.work))


if __name__ == "__main__":
    main()
