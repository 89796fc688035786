"""NID's ten functions: pairwise AUC of every detector.

Two settings. ``samples``: a network fitted on 30,000 samples of the function itself, as in the 2018 paper (20,000 to
learn from, 5,000 to choose the best epoch by, the rest to report the fit), read by NID with and without main effects
taken out first. ``detect``: the function is the black box of ``nid.detect``; a pair scores the share of instances of the
most frequent interaction it is part of, and pairs that are part of none follow by their mean raw strength.

Run: python -m benchmarks.ten_functions [--seeds 5] [--part samples|detect|all]
"""

from __future__ import annotations

import argparse
import json
import warnings
from itertools import combinations
from typing import Any

import numpy as np

import nid_plugins as nid
from benchmarks.common import RESULTS, write
from benchmarks.functions import FUNCTIONS, Floats, Function
from nid_plugins.detection.mlp import Samples, Training, train
from nid_plugins.detection.nid import read_pairs
from nid_plugins.metrics import auc

UPPER = np.triu_indices(10, 1)
NETWORK = Training(
    hidden=(140, 100, 60, 20), l1=5e-5, learning_rate=1e-2, batch=200, epochs=40, patience=40, decay=True
)
INSTANCES, PERTURBATIONS = 32, 1000
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "least_squares": ("least_squares", {}),
    # A thousand masks leave 500 to train on: smaller batches than the 200 that suit six thousand.
    "nid": ("nid", {"batch": 50}),
    "nid, no linear part": ("nid", {"linear": False, "batch": 50}),
    "gradient_nid": ("gradient_nid", {"batch": 50}),
    "archdetect": ("archdetect", {}),
}


def pair_auc(function: Function, strengths: Floats) -> float:
    """Return the AUC of the 45 pair strengths against the pairs that interact."""
    return float(auc(function.true_pairs()[UPPER].astype(float), strengths[UPPER]))


def main_effects(x: Floats, y: Floats, rows: slice, knots: int = 12) -> Floats:
    """Return an additive fit: piecewise linear in every input, least squares on some rows."""
    columns = [np.ones((len(x), 1)), x]
    for j in range(x.shape[1]):
        at = np.quantile(x[rows, j], np.linspace(0, 1, knots + 2)[1:-1])
        columns.append(np.maximum(x[:, j : j + 1] - at, 0))
    design = np.hstack(columns)
    coefficients = np.linalg.lstsq(design[rows], y[rows], rcond=None)[0]
    return design @ coefficients


def on_samples(function: Function, seed: int, *, linear: bool, n: int = 30_000) -> dict[str, float]:
    """Fit a network on samples of the function and read NID's pair strengths off it."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(function.name[1:]),)))
    x = function.sample(n, rng)
    y = function(x)
    learn, stop, judge = slice(0, 20_000), slice(20_000, 25_000), slice(25_000, n)
    total = y[judge].var()
    rest = y - main_effects(x, y, learn) if linear else y - y[learn].mean()
    scale = rest[learn].std()
    inputs = ((x - x[learn].mean(0)) / x[learn].std(0)).astype(np.float32)
    samples = Samples(inputs, learn, stop)
    networks, _ = train(samples, (rest / scale)[None], NETWORK, [np.random.SeedSequence(seed)])
    left = rest[judge] - scale * networks.forward(inputs[judge])[0][0]
    weights = [w[0].astype(np.float64) for w in networks.weights]
    return {"auc": pair_auc(function, read_pairs(weights)), "r2": float(1 - left.var() / total)}


def through_detect(function: Function, seed: int, name: str, baseline: str) -> dict[str, float]:
    """Detect with the function as the black box, and score the pairs by the report's ranking."""
    detector, options = DETECTORS[name]
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(function.name[1:]), 1)))
    fields = [f"x{i}" for i in range(1, 11)]
    schema = nid.FeatureSchema([nid.DenseField(f) for f in fields])
    rows = dict(zip(fields, function.sample(2000, rng).T, strict=True))
    box = nid.wrap(
        lambda c: function(np.stack([c[f] for f in fields], axis=1).astype(float)), schema, output="logit"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = nid.detect(
            box,
            rows,
            detector=detector,
            options=options,
            baseline=baseline,
            instances=INSTANCES,
            perturbations=PERTURBATIONS,
            min_gain=1e-6,
            top_k=2000,
            seed=seed,
            executor="serial",
            progress=False,
        )
    assert report.pair_strengths is not None
    scores = 1e-6 * report.pair_strengths / max(report.pair_strengths.max(), 1e-300)
    for interaction in report:
        for a, b in combinations(sorted(fields.index(f) for f in interaction.fields), 2):
            scores[a, b] = scores[b, a] = max(scores[a, b], interaction.share + 1e-6)
    return {
        "auc": pair_auc(function, scores),
        "auc_raw_strength": pair_auc(function, report.pair_strengths),
        "r2": report.fit_summary()["r2_median"],
    }


def run(seeds: int, part: str) -> dict[str, Any]:
    """Return all runs as records."""
    runs: list[dict[str, Any]] = []
    for function in FUNCTIONS:
        for seed in range(seeds):
            if part in {"samples", "all"}:
                for linear in (True, False):
                    name = "nid" if linear else "nid, no linear part"
                    record = on_samples(function, seed, linear=linear)
                    runs.append(
                        {
                            "setting": "samples",
                            "function": function.name,
                            "detector": name,
                            "seed": seed,
                            **record,
                        }
                    )
            if part in {"detect", "all"}:
                for name in DETECTORS:
                    for baseline in ("mode", "sample"):
                        record = through_detect(function, seed, name, baseline)
                        runs.append(
                            {
                                "setting": f"detect, baseline {baseline}",
                                "function": function.name,
                                "detector": name,
                                "seed": seed,
                                **record,
                            }
                        )
        print(function.name, flush=True)
    return {"runs": runs}


def table(result: dict[str, Any]) -> str:
    """Return the mean AUC over seeds as a Markdown table, one row a setting and detector."""
    runs = result["runs"]
    keys = sorted({(r["setting"], r["detector"]) for r in runs})
    names = [f.name for f in FUNCTIONS]
    lines = [
        "| setting | detector | " + " | ".join(names) + " | mean |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for setting, detector in keys:
        mine = [r for r in runs if (r["setting"], r["detector"]) == (setting, detector)]
        means = [np.mean([r["auc"] for r in mine if r["function"] == n]) for n in names]
        cells = " | ".join(f"{m:.3f}" for m in means)
        lines.append(f"| {setting} | {detector} | {cells} | {np.mean(means):.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, or print the table of an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("samples", "detect", "all"), default="all")
    parser.add_argument("--show", action="store_true", help="print the table of the last run")
    parser.add_argument("--out", default="ten_functions")
    arguments = parser.parse_args()
    if not arguments.show:
        write(arguments.out, run(arguments.seeds, arguments.part))
    print(table(json.loads((RESULTS / f"{arguments.out}.json").read_text("utf-8"))))


if __name__ == "__main__":
    main()
