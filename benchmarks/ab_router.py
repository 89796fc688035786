"""What the router costs, and that it loses nothing.

Cost: a batch of 256 rows is answered in several ways, one after the other, round after round; medians over rounds, of the time
that passed and of the processor time of the whole process (which other work on the machine hardly changes). Both
variants are a DeepFM of DeepCTR-Torch (17 fields, embeddings of 8, 128-64).

- ``model``: the DeepFM itself on a tensor made of the frame
- ``box``: the DeepFM wrapped by ``nid.wrap``, which checks the frame and what comes out
- ``by hand``: rows split by variant, each part asked of its wrapped model: what any A/B test of two models must do
- ``router``: without sinks, with a ParquetSink, with a DuckDBSink, with a time limit (treatments in threads of their own)
- ``one user``: all rows are candidates for one user, so that one model answers: wrapped, and through the router with a sink

Faults: eight threads at one router, alone, with a treatment failing at random, and in a process that is killed.

Run: python -m benchmarks.ab_router
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import contextlib
import io
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import nid_plugins as nid
from benchmarks.common import write
from nid_plugins.experiment import Design, DuckDBSink, ParquetSink, Router, assign, read_exposures
from nid_plugins.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 256
BATCHES = 16
THREADS = 8
REQUESTS = 800
DESIGN = Design("router-benchmark")
Frame = dict[str, Any]


def deepfm(schema: nid.FeatureSchema, seed: int) -> Any:
    """Return a DeepFM."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    columns = [
        SparseFeat(field.name, field.cardinality, embedding_dim=8)
        if isinstance(field, nid.SparseField)
        else DenseFeat(field.name, 1)
        for field in schema
    ]
    return DeepFM(columns, columns, dnn_hidden_units=(128, 64), init_std=0.05, seed=seed)


def requests(count: int) -> tuple[nid.FeatureSchema, list[Frame]]:
    """Return batches of impressions of many users."""
    log = simulate(max(BATCHES, 1) * ROWS)
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        at = slice(i % BATCHES * ROWS, (i % BATCHES + 1) * ROWS)
        users = np.array([f"user-{j}" for j in rng.integers(0, 1_000_000, ROWS)], dtype=object)
        made.append({name: values[at] for name, values in log.frame.items()} | {"user_id": users})
    return log.schema, made


def direct(model: Any, schema: nid.FeatureSchema) -> Callable[[Frame], Any]:
    """Return the shortest way from a frame to the model's answer."""
    model.eval()

    def predict(frame: Frame) -> Any:
        x = torch.from_numpy(np.stack([frame[name] for name in schema.names], axis=1).astype(np.float32))
        with torch.no_grad():
            return model(x).numpy()

    return predict


def by_hand(boxes: list[nid.BlackBox]) -> Callable[[Frame], Any]:
    """Return what an A/B test costs without a router: split, ask, put together."""

    def predict(frame: Frame) -> Any:
        variants = assign(DESIGN, frame["user_id"])
        out = np.empty(len(variants))
        for index, box in enumerate(boxes):
            at = np.flatnonzero(variants == index)
            out[at] = box.probabilities({name: frame[name][at] for name in box.schema.names})
        return out

    return predict


def cost(rounds: int, folder: Path) -> dict[str, Any]:
    """Time all ways on the same batches, interleaved."""
    schema, frames = requests(BATCHES)
    models = {"control": deepfm(schema, 0), "treatment": deepfm(schema, 1)}
    boxes = [nid.wrap(model, schema) for model in models.values()]
    one_user = [frame | {"user_id": np.full(ROWS, "user-1", dtype=object)} for frame in frames]
    mine = int(assign(DESIGN, ["user-1"])[0])
    routers = {
        "router": Router(DESIGN, models, schema),
        "router, ParquetSink": Router(DESIGN, models, schema, sinks=[ParquetSink(folder / "parquet")]),
        "router, DuckDBSink": Router(DESIGN, models, schema, sinks=[DuckDBSink(folder / "log.duckdb")]),
        "router, ParquetSink, limit": Router(
            DESIGN, models, schema, sinks=[ParquetSink(folder / "limit")], limit_ms=5000
        ),
    }
    single = Router(DESIGN, models, schema, sinks=[ParquetSink(folder / "single")])
    ways: dict[str, tuple[Callable[[Frame], Any], list[Frame]]] = {
        "model": (direct(models["control"], schema), frames),
        "box": (boxes[0].probabilities, frames),
        "by hand": (by_hand(boxes), frames),
        **{name: (router.predict, frames) for name, router in routers.items()},
        "one user, box": (boxes[mine].probabilities, one_user),
        "one user, router, ParquetSink": (single.predict, one_user),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for way, batches in ways.values():
        way(batches[0])
    for _ in range(rounds):
        for name, (way, batches) in ways.items():
            started, cpu = time.perf_counter(), time.process_time()
            for frame in batches:
                way(frame)
            seconds[name].append((time.perf_counter() - started) / len(batches))
            busy[name].append((time.process_time() - cpu) / len(batches))
    dropped = sum(router.dropped for router in (*routers.values(), single))
    for router in (*routers.values(), single):
        router.close()
    medians = {name: float(np.median(taken)) for name, taken in seconds.items()}
    return {
        "rows": ROWS,
        "rounds": rounds,
        "ways": {
            name: {
                "microseconds": median * 1e6,
                "cpu_microseconds": float(np.median(busy[name])) * 1e6,
                "quartiles": [float(q) * 1e6 for q in np.quantile(seconds[name], [0.25, 0.75])],
                "rows_per_second": ROWS / median,
            }
            for name, median in medians.items()
        },
        "dropped": dropped,
    }


def sinks(folder: Path) -> dict[str, float]:
    """Time one batch of exposures into each sink, and into DuckDB opened for each batch."""
    import duckdb

    schema, frames = requests(1)
    box = nid.wrap(
        lambda columns: np.full(len(columns["price"]), 0.5), schema, output="probability"
    )  # what is timed is not the model
    answer = Router(DESIGN, {"control": box, "treatment": box}).predict(frames[0])
    path = folder / "opened.duckdb"
    table = answer.exposures().to_arrow()
    with duckdb.connect(str(path)) as connection:
        connection.register("batch", table)
        connection.execute("CREATE TABLE exposures AS SELECT * FROM batch")

    def opened() -> None:
        with duckdb.connect(str(path)) as connection:
            connection.register("batch", answer.exposures().to_arrow())
            connection.execute("INSERT INTO exposures SELECT * FROM batch")

    parquet, spooled = ParquetSink(folder / "sink"), DuckDBSink(folder / "sink.duckdb")
    ways: dict[str, Callable[[], Any]] = {
        "making the events": lambda: answer.exposures().to_arrow(),
        "ParquetSink": lambda: parquet.write(answer.exposures()),
        "DuckDBSink": lambda: spooled.write(answer.exposures()),
        "DuckDB opened for each batch": opened,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(60):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append((time.perf_counter() - started) * 1e6)
    parquet.close()
    spooled.close()
    return {name: float(np.median(times)) for name, times in taken.items()}


def threads(folder: Path, *, failing: bool) -> dict[str, Any]:
    """Let eight threads send requests, and compare every answer and every event with what they should be."""
    schema, frames = requests(REQUESTS)
    control, treatment = deepfm(schema, 0), deepfm(schema, 1)
    boxes = [nid.wrap(control, schema), nid.wrap(treatment, schema)]
    both = [np.stack([box.probabilities(frame) for box in boxes]) for frame in frames[:BATCHES]]
    rng = random.Random(0)  # noqa: S311 - not for secrets

    def moody(columns: Frame) -> Any:
        draw = rng.random()
        if draw < 0.1:
            raise OSError("gone")
        if draw < 0.15:
            return np.full(len(columns["price"]), np.nan)
        if draw < 0.17:
            time.sleep(0.5)
        return boxes[1].probabilities(columns)

    models: dict[str, Any] = {"control": control, "treatment": treatment}
    if failing:
        models["treatment"] = nid.wrap(moody, schema, output="probability")
    names = [[f"{r}-{i}" for i in range(ROWS)] for r in range(REQUESTS)]
    options: dict[str, Any] = {"limit_ms": 300, "pause_s": 0.05} if failing else {}
    started = time.perf_counter()
    with (
        Router(DESIGN, models, schema, sinks=[ParquetSink(folder, rows=20_000)], **options) as router,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        jobs = [pool.submit(router.predict, f, impressions=n) for f, n in zip(frames, names, strict=True)]
        answers = [job.result() for job in jobs]
        seconds = time.perf_counter() - started
        status = router.status["treatment"]
    wrong = 0
    for i, answer in enumerate(answers):
        expected = both[i % BATCHES][answer.answered, np.arange(ROWS)]
        wrong += int((np.abs(answer.predictions - expected) > 1e-6).sum())
    events = read_exposures(folder)
    logged = events["impression"].to_pylist()
    served = {n: p for a in answers for n, p in zip(a.impressions, a.predictions.tolist(), strict=True)}
    told = dict(zip(logged, events["prediction"].to_pylist(), strict=True))
    reasons: dict[str, int] = {}
    for reason in events["reason"].to_pylist():
        if reason is not None:
            reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "requests": len(answers),
        "rows": len(served),
        "out_of_place": wrong,
        "lost": len(served.keys() - told.keys()),
        "twice": len(logged) - len(told),
        "logged_wrongly": sum(told.get(name) != p for name, p in served.items()),
        "fallback_rows": int(sum(answer.fallback.sum() for answer in answers)),
        "reasons": reasons,
        "failures": status.failures,
        "seconds": seconds,
    }


def serve_until_killed(folder: str) -> None:
    """Serve in eight threads, and say on standard output which requests have been answered."""
    schema, frames = requests(BATCHES)
    models = {"control": deepfm(schema, 0), "treatment": deepfm(schema, 1)}
    router = Router(DESIGN, models, schema, sinks=[ParquetSink(folder, rows=20_000)])

    def serve(thread: int) -> None:
        number = 0
        while True:
            names = [f"{thread}-{number}-{i}" for i in range(ROWS)]
            router.predict(frames[number % BATCHES], impressions=names)
            os.write(1, f"{thread}-{number}\n".encode())
            number += 1

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(serve, range(THREADS)))


def killed(folder: Path, times: int) -> dict[str, int]:
    """Kill such a process some seconds into its work, again and again, and look for what it had answered."""
    answered: set[str] = set()
    for i in range(times):
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "benchmarks.ab_router", "--serve", str(folder / str(i))],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [line for line, _ in zip(process.stdout, range(200 + 37 * i), strict=False) if "-" in line]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        answered |= {f"{i}/{line.strip()}" for line in lines if line.endswith("\n") and line[0].isdigit()}
    logged: list[str] = []
    for i in range(times):
        before = sorted(read_exposures(folder / str(i))["impression"].to_pylist())
        ParquetSink(folder / str(i)).close()  # moves what the dead process has left
        after = sorted(read_exposures(folder / str(i))["impression"].to_pylist())
        assert before == after
        logged += [f"{i}/{name}" for name in after]
    complete: dict[str, int] = {}
    for name in set(logged):
        request = name.rpartition("-")[0]
        complete[request] = complete.get(request, 0) + 1
    return {
        "kills": times,
        "answered_requests": len(answered),
        "rows": len(answered) * ROWS,
        "lost": sum(ROWS - complete.get(request, 0) for request in answered),
        "twice": len(logged) - len(set(logged)),
        "torn_requests": sum(n != ROWS for n in complete.values()),
        "logged_but_not_answered": len(complete.keys() - answered),
    }


def table(result: dict[str, Any]) -> str:
    """Return the costs as a table."""
    ways = result["cost"]["ways"]
    lines = [
        "| 256 rows answered by | µs | rows/s | share of the model's speed | µs of CPU | µs of CPU a row on top of *by hand* |",
        "|---|---|---|---|---|---|",
    ]
    for name, way in ways.items():
        base = "one user, box" if name.startswith("one user") else "by hand"
        extra = (way["cpu_microseconds"] - ways[base]["cpu_microseconds"]) / ROWS
        shown = f"{extra:+.2f}" if "router" in name else ""
        lines.append(
            f"| {name} | {way['microseconds']:,.0f} | {way['rows_per_second']:,.0f} "
            f"| {ways['model']['microseconds'] / way['microseconds']:.2f} | {way['cpu_microseconds']:,.0f} | {shown} |"
        )
    return "\n".join(lines)


def faults(result: dict[str, Any]) -> str:
    """Return what was lost, as a table."""
    lines = [
        "| eight threads, 256 rows a request | requests | rows | out of place | lost | twice | fallbacks |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, name in (
        ("both models well", "threads"),
        ("treatment failing in 17 % of its calls", "failing"),
    ):
        run = result[name]
        lines.append(
            f"| {title} | {run['requests']} | {run['rows']:,} | {run['out_of_place']} | {run['lost']} | {run['twice']} "
            f"| {run['fallback_rows']:,} |"
        )
    run = result["killed"]
    lines.append(
        f"| process killed, {run['kills']} times | {run['answered_requests']} | {run['rows']:,} | "
        f"| {run['lost']} | {run['twice']} | |"
    )
    return "\n".join(lines)


def main() -> None:
    """Run everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="FOLDER", help="be the process that is killed")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.serve:
        with contextlib.redirect_stdout(io.StringIO()):  # DeepCTR-Torch says things
            serve_until_killed(options.serve)
        return
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        result = {
            "cost": cost(options.rounds, folder),
            "sinks": sinks(folder),
            "threads": threads(folder / "threads", failing=False),
            "failing": threads(folder / "failing", failing=True),
            "killed": killed(folder / "killed", options.kills),
        }
    write("ab_router", result)
    print(table(result))
    print(faults(result))
    print({name: round(value, 1) for name, value in result["sinks"].items()})


if __name__ == "__main__":
    main()
