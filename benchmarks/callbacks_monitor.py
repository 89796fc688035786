"""The InteractionMonitor at work: do planted interactions rise into the top K while a model trains, and at what price?

*Rise*: a DeepFM of DeepCTR-Torch and a plain MLP are trained on simulated logs (17 fields, five planted pairs, two planted
triples) by a loop of our own, and looked at after every epoch without a limit of time, so that each check has the same 64
instances: which share of the planted pairs is in the top 5, 10 and 20? *Overhead*: the DeepFM is trained by
DeepCTR-Torch's own ``fit``, unmonitored and with the callback at several budgets in turn, screening included; the clock
counts seconds of processor time on one thread, that of the core the clock on the wall.

The number of epochs and the learning rate were set on another log (seed 100).

Run: python -m benchmarks.callbacks_monitor [--seeds 3] [--epochs 20] [--rounds 3] [--only rise]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nid_torch.callbacks import InteractionMonitor as LoopMonitor

import nid_plugins as nid
from benchmarks.callbacks_figure import FIGURE, draw
from benchmarks.common import RESULTS, environment, write
from benchmarks.planted_ctr import build, penalty
from nid_plugins.cli.frameworks.base import Recipe
from nid_plugins.cli.frameworks.torch_fitting import TorchFitting
from nid_plugins.metrics import auc
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from nid_plugins.simulate import SimulatedLog

MODELS = ("DeepFM", "MLP")
TOPS = (5, 10, 20)
INSTANCES = 64
RATE = 1e-3
BATCH = 512
BUDGETS = (0.05, 0.10, 0.20)
SHOWN = (1, 2, 3, 5, 7, 10, 15, 20)
"""Epochs in the table."""


def parts(seed: int, rows: int) -> tuple[SimulatedLog, SimulatedLog]:
    """Return training rows and a quarter as many for validation."""
    log = World(seed=seed).draw(rows + rows // 4)
    return log.rows(slice(0, rows)), log.rows(slice(rows, None))


def matrix(log: SimulatedLog) -> npt.NDArray[np.float64]:
    """Return the rows of a log in schema order, shape (n, p)."""
    return np.stack([np.asarray(log.frame[name], dtype=np.float64) for name in log.schema.names], axis=1)


def recalls(ranking: list[tuple[str, ...]], log: SimulatedLog) -> list[float]:
    """Return the share of the planted pairs among the first sets of a ranking, for each of :data:`TOPS`."""
    pairs = [members for members in log.planted_sets if len(members) == 2]
    found = [frozenset(members) for members in ranking]
    return [float(np.mean([pair in found[:k] for pair in pairs])) for k in TOPS]


def rise(name: str, seed: int, epochs: int, rows: int) -> list[dict[str, Any]]:
    """Train one model on one log and return what each epoch's check says."""
    train, valid = parts(seed, rows)
    model, probability = build(name, train.schema, seed)
    fitting = TorchFitting(
        model,
        matrix(train),
        train.label,
        Recipe(rate=RATE, batch=BATCH),
        probability=probability,
        penalty=lambda: penalty(model),
    )
    rng = np.random.default_rng(seed)
    held = matrix(valid)
    options: dict[str, Any] = {
        "schema": train.schema,
        "background": train.frame,
        "wrap": {"output": "probability" if probability else "logit"},
        "budget": None,
        "top_k": max(TOPS),
        "screen": 0,
        "seed": seed,
        "detect": {"instances": INSTANCES},
    }
    records = []
    with LoopMonitor(model, rows=valid.frame, **options) as monitor:
        for epoch in range(epochs):
            fitting.epoch(rng.permutation(rows))
            monitor.epoch_end(epoch)
            check = monitor.history[-1]
            correlation = np.nan if check.drift is None else check.drift.rank_correlation
            records.append(
                {
                    "model": name,
                    "seed": seed,
                    "epoch": epoch + 1,
                    "recall": recalls(check.ranking, train),
                    "r2": finite(check.r2),
                    "auc": auc(valid.label, fitting.logits(held)),
                    "rank_correlation": finite(correlation),
                }
            )
    print(f"{name}, log {seed}: recall {records[0]['recall']} -> {records[-1]['recall']}", flush=True)
    return records


def finite(value: float) -> float | None:
    """Return a number for JSON."""
    return float(value) if np.isfinite(value) else None


def fitted(seed: int, epochs: int, rows: int, budget: float | None) -> dict[str, Any]:
    """Train the DeepFM by its own ``fit``, monitored where there is a budget, and return times and checks."""
    from nid_deepctr_torch.callbacks import InteractionMonitor

    train, valid = parts(seed, rows)
    model, _ = build("DeepFM", train.schema, seed)
    model.compile(torch.optim.Adam(model.parameters(), lr=RATE), "binary_crossentropy")
    callbacks = []
    if budget is not None:
        options: dict[str, Any] = {"background": train.frame, "budget": budget, "seed": seed}
        callbacks.append(InteractionMonitor(rows=valid.frame, labels=valid.label, **options))
    x, y = dict(train.frame), train.label.astype(np.float32)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
    seconds = time.process_time() - start
    if not callbacks:
        return {"budget": None, "seconds": seconds}
    core = callbacks[0].core
    return {
        "budget": budget,
        "seconds": seconds,
        "share": core.share,
        "checks": len(core.history),
        "put_off": core.put_off,
        "instances": [check.instances for check in core.history],
        "screened": sum(bool(check.gains) for check in core.history),
        "recall": recalls(core.history[-1].ranking, train) if core.history else [0.0] * len(TOPS),
    }


def overhead(seed: int, epochs: int, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Return every monitored run with its time over that of the unmonitored run of its round."""
    kinds: list[float | None] = [None, *BUDGETS]
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        turn = number % len(kinds)
        found = [fitted(seed, epochs, rows, budget) for budget in kinds[turn:] + kinds[:turn]]
        plain = next(run["seconds"] for run in found if run["budget"] is None)
        runs += [
            {**run, "round": number, "unmonitored": plain, "ratio": run["seconds"] / plain}
            for run in found
            if run["budget"] is not None
        ]
        print(f"round {number}: unmonitored {plain:.1f} s", flush=True)
    return runs


def mean_of(records: list[dict[str, Any]], key: str) -> str:
    """Return the mean of what is known, for a table."""
    known = [record[key] for record in records if record[key] is not None]
    return f"{np.mean(known):.3f}" if known else "-"


def table(result: dict[str, Any]) -> str:
    """Return the rise as a Markdown table: means over the logs, epoch by epoch."""
    heads = [
        "model",
        "epoch",
        *(f"planted pairs in top {k}" for k in TOPS),
        "R^2",
        "rank correlation",
        "validation AUC",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in MODELS:
        for epoch in SHOWN:
            mine = [r for r in result["rise"] if (r["model"], r["epoch"]) == (name, epoch)]
            if mine:
                means = np.mean([r["recall"] for r in mine], axis=0)
                cells = [*(f"{mean:.2f}" for mean in means), mean_of(mine, "r2")]
                cells += [mean_of(mine, "rank_correlation"), f"{np.mean([r['auc'] for r in mine]):.4f}"]
                lines.append(f"| {name} | {epoch} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def costs(result: dict[str, Any]) -> str:
    """Return the overhead as a Markdown table, one row a budget: medians over the rounds, and the extremes."""
    heads = [
        "budget",
        "time / unmonitored",
        "its range",
        "core's account",
        "its largest",
        "checks",
        "put off",
        "instances a check",
        "planted pairs in top 10",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for budget in BUDGETS:
        mine = [r for r in result["overhead"] if r["budget"] == budget]
        ratios, shares = [r["ratio"] for r in mine], [r["share"] for r in mine]
        instances = [n for r in mine for n in r["instances"]]
        cells = [
            f"{budget:.0%}",
            f"{np.median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
            f"{np.median(shares):.1%}",
            f"{max(shares):.1%}",
            f"{np.median([r['checks'] for r in mine]):.0f} of {result['epochs_timed']}",
            f"{np.median([r['put_off'] for r in mine]):.0f}",
            f"{np.median(instances):.0f}",
            f"{np.mean([r['recall'][TOPS.index(10)] for r in mine]):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, draw the figure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", choices=("rise", "overhead"), help="do one half, and keep the other as it was"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the tables and draw the figure of the last run"
    )
    arguments = parser.parse_args()
    path = RESULTS / "callbacks_monitor.json"
    if not arguments.show:
        torch.set_num_threads(1)
        result = json.loads(path.read_text("utf-8")) if arguments.only and path.exists() else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            for half in (arguments.only,) if arguments.only else ("rise", "overhead"):
                found = halves(arguments)[half]()
                result = {"rise": [], "overhead": [], **result, half: found}
                settings = {"rows": arguments.rows, "instances": INSTANCES, "epochs_timed": arguments.epochs}
                write("callbacks_monitor", {**result, **settings, "environment": environment()})
    result = json.loads(path.read_text("utf-8"))
    FIGURE.write_text(draw(result), "utf-8")
    print(table(result), costs(result), sep="\n\n")


def halves(arguments: argparse.Namespace) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """Return the two halves of the benchmark, each a function that runs it."""

    def risen() -> list[dict[str, Any]]:
        pairs = [(name, seed) for name in MODELS for seed in range(arguments.seeds)]
        return [r for name, seed in pairs for r in rise(name, seed, arguments.epochs, arguments.rows)]

    return {
        "rise": risen,
        "overhead": lambda: overhead(0, arguments.epochs, arguments.rows, arguments.rounds),
    }


if __name__ == "__main__":
    main()
