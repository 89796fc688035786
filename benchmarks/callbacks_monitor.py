"""The InteractionMonitor at work: do planted interactions rise into the top K while a model trains, and at what price?

*Rise*: a DeepFM of DeepCTR-Torch and a plain MLP are trained on simulated logs (17 fields, five planted pairs, two planted
triples) by a loop of our own, and looked at after every epoch without a limit of time, so that each check has the same 64
instances: which share of the planted pairs is in the top 5, 10 and 20? *Overhead*: the DeepFM is trained by
DeepCTR-Torch's own ``fit`` with the callback at several budgets, screening included, and an unmonitored twin beside it: the
two take turns epoch by epoch. The clock counts seconds of processor time on one thread, and so does the core's.

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
from nid_plugins.callbacks import InteractionMonitor as Core
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


class Fitted:
    """A DeepFM that its own ``fit`` trains, an epoch a call, monitored where there is a budget.

    Args:
        seed: Of the log and the model.
        rows: Of the log.
        budget: Of the monitor; None: there is none.
    """

    def __init__(self, seed: int, rows: int, budget: float | None) -> None:
        from nid_deepctr_torch.callbacks import InteractionMonitor

        train, valid = parts(seed, rows)
        self._log, self._random = train, torch.Generator().manual_seed(seed).get_state()
        self._model, _ = build("DeepFM", train.schema, seed)
        self._model.compile(torch.optim.Adam(self._model.parameters(), lr=RATE), "binary_crossentropy")
        self._xy = dict(train.frame), train.label.astype(np.float32)
        self.seconds: list[float] = []
        self.spent: list[float] = []
        self.monitors = []
        if budget is not None:
            # Both by one clock, so that the account can be held against what was measured.
            core = Core(
                rows=valid.frame,
                labels=valid.label,
                background=train.frame,
                budget=budget,
                seed=seed,
                clock=time.process_time,
            )
            self.monitors.append(InteractionMonitor(core=core))

    def epoch(self, number: int) -> None:
        """Train an epoch, and take its time."""
        torch.set_rng_state(self._random)
        x, y = self._xy
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            self._model.fit(
                x,
                y,
                batch_size=BATCH,
                initial_epoch=number,
                epochs=number + 1,
                verbose=0,
                callbacks=list(self.monitors),
            )
        self.seconds.append(time.process_time() - start)
        self.spent.append(self.monitors[0].core.spent if self.monitors else 0.0)
        self._random = torch.get_rng_state()

    def found(self) -> dict[str, Any]:
        """Return times and checks."""
        core = self.monitors[0].core
        return {
            "seconds": sum(self.seconds),
            "spent": core.spent,
            "share": core.share,
            "checks": len(core.history),
            "put_off": core.put_off,
            "instances": [check.instances for check in core.history],
            "screened": sum(bool(check.gains) for check in core.history),
            "recall": recalls(core.history[-1].ranking, self._log) if core.history else [0.0] * len(TOPS),
        }


def overhead(seed: int, epochs: int, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Return every monitored run with its time over that of its unmonitored twin.

    The two take turns epoch by epoch, so that what else the machine does slows both, and begin in turn.
    """
    Fitted(seed, rows, BUDGETS[0]).epoch(0)  # imports, and what else the first training of a process takes
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        for budget in BUDGETS:
            plain, watched = Fitted(seed, rows, None), Fitted(seed, rows, budget)
            for epoch in range(epochs):
                for twin in (plain, watched) if (number + epoch) % 2 else (watched, plain):
                    twin.epoch(epoch)
            found, unmonitored = watched.found(), sum(plain.seconds)
            run = {"budget": budget, "round": number, "unmonitored": unmonitored, **found}
            run["ratio"] = found["seconds"] / unmonitored
            trained = np.array(watched.seconds) - np.diff(watched.spent, prepend=0.0)
            run["rest"] = (trained / plain.seconds).tolist()
            runs.append(run)
            print(f"round {number}, {budget:.0%}: {run['ratio']:.3f}, account {run['share']:.3f}", flush=True)
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
        "rest of an epoch / unmonitored",
        "rest and account",
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
        rest = [ratio for r in mine for ratio in r["rest"]]
        cells = [
            f"{budget:.0%}",
            f"{np.median(ratios):.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
            f"{np.median(shares):.1%}",
            f"{max(shares):.1%}",
            "{:.3f} ({:.3f} to {:.3f})".format(*median(rest)),
            f"{np.median(rest) + np.median(shares):.3f}",
            f"{np.median([r['checks'] for r in mine]):.0f} of {result['epochs_timed']}",
            f"{np.median([r['put_off'] for r in mine]):.0f}",
            f"{np.median(instances):.0f}",
            f"{np.mean([r['recall'][TOPS.index(10)] for r in mine]):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def median(values: list[float]) -> tuple[float, float, float]:
    """Return the median with its 95 % interval by order statistics, which a few disturbed epochs do not move."""
    ordered = np.sort(values)
    n = len(ordered)
    away = int(np.ceil(0.98 * np.sqrt(n)))  # 1.96 * sqrt(n) / 2 places
    low, high = max((n - 1) // 2 - away, 0), min(n // 2 + away, n - 1)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[high])


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
