"""Crossing at 1, 10 and 40 million rows x 39 fields x 40 crosses: rows a second and peak memory of fit and transform.

The log is written as Parquet into a temporary folder, file by file, and removed in the end. Each step is a process of its
own, so that its peak of resident memory is its own. Steps on one core are held to it, and their time is processor
time, which a busy machine disturbs less than the clock on the wall; steps on all cores are timed by the clock. In the same
run: loops compiled and by NumPy, and on a slice of the same log the dictionary loop of the paper's code, the same counts by Polars and DuckDB, a budget of
memory so small that filters are needed, and one row at a time.

Run: python -m benchmarks.scale_crosses [--millions 1,10,40] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import write
from benchmarks.scale_crosses_compared import CROSSES, LISTED, bare, in_memory, loading, loop
from benchmarks.scale_crosses_encodings import encodings
from nid_plugins.crosses import loops
from nid_plugins.crosses.threads import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE_ROWS, ENGINE_CROSSES = 2_000_000, 40
SMALL_MEMORY = "128MB"
SINGLE_ROWS = 5_000


def step(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Run one step in a process of its own and return what it measured."""
    given = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    out = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.scale_crosses", "--step", name, "--folder", str(folder), *given],
        env=os.environ | threads,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(
        f"  {name} {options or ''}: {found['processor_s']:.1f} s of processor time, {found['wall_s']:.1f} s on the wall",
        flush=True,
    )
    return found


def measured(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a piece of work returns, with its times and the process's peak of resident memory."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return {
        "processor_s": round(time.process_time() - processor, 3),
        "wall_s": round(time.perf_counter() - wall, 3),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "base_gb": round(base * 1024 / 1e9, 3),
        **found,
    }


def fit(folder: Path, memory: str) -> dict[str, Any]:
    """Fit on files, save the crosses, and say what the filters let through."""
    from benchmarks.scale_log import SCHEMA, sets
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.out_of_core import FileFit

    files = FileFit(folder / "log", SCHEMA, bins=100, min_count=None, memory=memory)
    made, rare = files.crosses(sets(LISTED), CROSSES)
    crosses = CrossFeatures(SCHEMA, made, files.edges)
    crosses.save(folder / "crosses")
    filters = {
        name: {"leak": one.leak, "passed": one.passed, "kept": len(one.keys)}
        for name, one in files.filters.items()
    }
    by_id = np.array([int(cross.keys.sum() % 2**31) for cross in made])
    return {
        "passes": files.passes,
        "combinations": sum(crosses.vocabulary_sizes),
        "passed_over": len(rare),
        "filters": filters,
        "digest": int(by_id @ np.arange(1, len(by_id) + 1)),
    }


def transform(folder: Path) -> dict[str, Any]:
    """Transform files into files."""
    from nid_plugins.crosses import CrossFeatures

    out = CrossFeatures.load(folder / "crosses").transform(folder / "log", out=folder / "ids")
    size = sum(path.stat().st_size for path in out.iterdir())
    shutil.rmtree(out)
    return {"bytes": size}


def engine(folder: Path, name: str) -> dict[str, Any]:
    """Count the pairs of sparse fields, all in one query, by one engine: what a fit does with no dense field in it."""
    from benchmarks.scale_log import SCHEMA

    rng = np.random.default_rng(3)
    sparse = [field.name for field in SCHEMA.sparse]
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < ENGINE_CROSSES:
        first, second = sorted(map(str, rng.choice(sparse, 2, replace=False)), key=SCHEMA.index_of)
        pairs[first, second] = None
    least = 1e-4 * ENGINE_ROWS
    if name == "ours":
        from nid_plugins.crosses.out_of_core import FileFit

        made, _ = FileFit(folder / "log", SCHEMA, bins=100, min_count=None, memory="2GB").crosses(
            list(pairs), ENGINE_CROSSES
        )
        return {"combinations": sum(cross.vocabulary for cross in made)}
    if name == "polars":
        import polars as pl

        log = pl.scan_parquet(folder / "log" / "*.parquet")
        queries = [
            log.group_by(list(pair)).len().filter(pl.col("len") > least).select(pl.len()) for pair in pairs
        ]
        return {
            "combinations": sum(t.item() for t in pl.collect_all(queries, engine="streaming")),
        }
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "memory_limit": "2GB"})
    text = ", ".join(f"({a}, {b})" for a, b in pairs)
    found = connection.execute(
        f"select count(*) from (select count(*) as n from read_parquet('{folder}/log/*.parquet') "  # noqa: S608
        f"group by grouping sets ({text}) having n > {least})"
    ).fetchone()
    return {"combinations": found[0] if found else 0}


def single(folder: Path) -> dict[str, Any]:
    """Time one row at a time, as a mapping and as a list, against transform on a frame of one row."""
    import pandas as pd

    from nid_plugins.crosses import CrossFeatures

    crosses = CrossFeatures.load(folder / "crosses")
    frame = pd.read_parquet(min((folder / "log").iterdir())).head(SINGLE_ROWS)
    records = frame.to_dict("records")
    lists = [list(record.values()) for record in records]
    start = time.process_time()
    look_up = crosses.row
    found: dict[str, Any] = {"prepare_s": time.process_time() - start}
    for name, rows in (("mapping", records), ("list", lists)):
        times = []
        for _ in range(5):
            start = time.process_time()
            ids = [look_up(row) for row in rows]
            times.append((time.process_time() - start) / len(rows) * 1e6)
        found[f"{name}_us"] = min(times)
        found[f"{name}_equal"] = bool(np.array_equal(ids, crosses.transform(frame)))
    few = [{name: column[i : i + 1] for name, column in frame.items()} for i in range(200)]
    few = [{name: column.to_numpy() for name, column in row.items()} for row in few]
    times = []
    for _ in range(3):
        start = time.process_time()
        for row in few:
            crosses.transform(row)
        times.append((time.process_time() - start) / len(few) * 1e6)
    found["transform_us"] = min(times)
    return found


def log(folder: Path, rows: int) -> dict[str, Any]:
    """Write the log."""
    import pyarrow.parquet as pq

    from benchmarks.scale_log import SCHEMA, write_log

    size = write_log(folder / "log", rows)
    meta = pq.read_metadata(min((folder / "log").iterdir()))
    group = meta.row_group(0)
    sizes = {
        group.column(i).path_in_schema: group.column(i).total_compressed_size for i in range(len(SCHEMA))
    }
    dense = sum(sizes[field.name] for field in SCHEMA.dense)
    return {"bytes": size, "dense_share": dense / sum(sizes.values())}


def both_steps(folder: Path, **options: Any) -> dict[str, Any]:
    """Measure fit and transform, on one core and on all."""
    found = {}
    for cores, suffix in ((1, ""), (0, "_all")):
        found[f"fit{suffix}"] = step("fit", folder, memory="2GB", cores=cores, **options)
        found[f"transform{suffix}"] = step("transform", folder, cores=cores, **options)
    return found


def scale(folder: Path, millions: int) -> dict[str, Any]:
    """Measure one size, and where loops are compiled for it, without that too."""
    rows = millions * 1_000_000
    print(f"{millions} million rows", flush=True)
    written = step("log", folder, rows=rows)
    found: dict[str, Any] = {
        "rows": rows,
        "log_bytes": written["bytes"],
        "dense_share": written["dense_share"],
    }
    found |= both_steps(folder)
    ways = [found]
    found["compiled"] = rows >= loops.MANY
    if found["compiled"]:
        found["numpy"] = both_steps(folder, compiled=0)
        ways.append(found["numpy"])
    digests = {way[f"fit{suffix}"]["digest"] for way in ways for suffix in ("", "_all")}
    sizes = {way[f"transform{suffix}"]["bytes"] for way in ways for suffix in ("", "_all")}
    found["identical"] = len(digests) == len(sizes) == 1
    found["ids_bytes"] = found["transform"]["bytes"]
    # Beside each size: the machine's speed may change from one to the next.
    found["loop"] = step("loop", folder)
    return found


def main() -> None:
    """Run everything, or one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,10,40")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--engine", default="")
    parser.add_argument("--compiled", type=int, default=1, help="0: loops by NumPy whatever the rows")
    parser.add_argument("--cores", type=int, default=1, help="of a step; 0: all")
    options = parser.parse_args()
    if options.step:
        run_step(options)
        return
    result: dict[str, Any] = {"crosses": CROSSES, "cores": thread_count(), "sizes": []}
    for millions in (int(one) for one in options.millions.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            result["sizes"].append(scale(folder, millions))
            if len(result["sizes"]) == 1:
                result["in_memory"] = step("in-memory", folder)
                result["in_memory_all"] = step("in-memory", folder, cores=0)
                result["bare"] = step("bare", folder)
                result["encodings"] = step("encodings", folder)
                result["row"] = step("single", folder)
                result["loading"] = step("loading", folder)
            if millions == 10:
                result["in_memory_many"] = step("in-memory", folder)
                result["in_memory_many_all"] = step("in-memory", folder, cores=0)
                result["bare"] = step("bare", folder)
                small = step("fit", folder, memory=SMALL_MEMORY)
                result["small"] = {"memory": SMALL_MEMORY, **small}
                result["small"]["identical"] = small["digest"] == result["sizes"][-1]["fit"]["digest"]
        write("scale_crosses", result)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        step("log", folder, rows=ENGINE_ROWS)
        result["engines"] = {one: step("engine", folder, engine=one) for one in ("ours", "polars", "duckdb")}
    write("scale_crosses", result)


def run_step(options: argparse.Namespace) -> None:
    """Do one step and print what it measured as the last line."""
    import pyarrow as pa

    if options.cores:
        pa.set_cpu_count(options.cores)
        pa.set_io_thread_count(options.cores)
        if hasattr(os, "sched_setaffinity"):  # what decides how many threads there are by default
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    if not options.compiled:
        loops.MANY = 2**62
    folder = options.folder
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "log": lambda: log(folder, options.rows),
        "fit": lambda: fit(folder, options.memory),
        "transform": lambda: transform(folder),
        "in-memory": lambda: in_memory(folder),
        "bare": lambda: bare(folder),
        "encodings": lambda: encodings(folder),
        "loop": lambda: loop(folder),
        "loading": lambda: loading(folder),
        "engine": lambda: engine(folder, options.engine),
        "single": lambda: single(folder),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        print(json.dumps(measured(work[options.step])))


if __name__ == "__main__":
    main()
