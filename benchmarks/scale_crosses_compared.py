"""What crossing is compared with: frames in memory, the dictionary loop, and files read and written with nothing in between.

Steps of ``benchmarks.scale_crosses``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

CROSSES, LISTED = 40, 60
SLICE = 200_000
RUNS = 5
"""Of a frame in memory, after a first one."""


def in_memory(folder: Path) -> dict[str, Any]:
    """Fit and transform a frame in memory, again and again, and check that files give the same."""
    import pandas as pd

    from benchmarks.scale_log import SCHEMA, sets
    from nid_plugins.crosses import CrossFeatures, fit_crosses

    frame = pd.read_parquet(folder / "log")
    runs = []
    crosses = ids = None
    for _ in range(1 + RUNS):
        del crosses, ids  # the memory of the last run
        times = [(time.process_time(), time.perf_counter())]
        crosses = fit_crosses(sets(LISTED), frame, SCHEMA, max_crosses=CROSSES)
        times.append((time.process_time(), time.perf_counter()))
        ids = crosses.transform(frame)
        times.append((time.process_time(), time.perf_counter()))
        fitting, transforming = np.diff(times, axis=0).tolist()
        runs.append(
            {
                "fit_processor_s": fitting[0],
                "fit_wall_s": fitting[1],
                "transform_processor_s": transforming[0],
                "transform_wall_s": transforming[1],
            }
        )
    saved = CrossFeatures.load(folder / "crosses")
    same = [np.array_equal(a.keys, b.keys) for a, b in zip(crosses.crosses, saved.crosses, strict=True)]
    same += [np.array_equal(saved.edges[name], edges) for name, edges in crosses.edges.items()]
    same += [np.array_equal(saved.transform(folder / "log"), ids)]
    return {"rows": len(frame), "first": runs[0], "runs": runs[1:], "identical": bool(all(same))}


def bare(folder: Path) -> dict[str, Any]:
    """Time what fit and transform cannot do without: reading the columns of their passes, and writing the ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.files_out import writing
    from nid_plugins.crosses.passes import LARGEST_BATCH
    from nid_plugins.crosses.sources import ParquetSource

    crosses = CrossFeatures.load(folder / "crosses")
    source = ParquetSource(folder / "log")
    members = sorted({name for cross in crosses.crosses for name in cross.fields})
    ids = crosses.transform(folder / "log")
    times = []
    for columns in (members, sorted(crosses.edges)):
        start = time.process_time()
        for batch in source.batches(columns, LARGEST_BATCH):
            for name in columns:
                batch.column(name)
        times.append(time.process_time() - start)
    arrays = [pa.array(np.ascontiguousarray(column)) for column in ids.T]
    start = time.process_time()
    pq.write_table(
        pa.table(arrays, names=list(crosses.names)), folder / "bare.parquet", **writing((), crosses.names)
    )
    times.append(time.process_time() - start)
    names = ("read_us_a_row", "read_dense_us_a_row", "write_us_a_row")
    return {"rows": len(ids), **{name: one / len(ids) * 1e6 for name, one in zip(names, times, strict=True)}}


def loop(folder: Path) -> dict[str, Any]:
    """Time the dictionary loop on the first rows of the log, members binned beforehand, and ours on the same rows."""
    import pandas as pd

    from benchmarks.dictionary_loop import cross_by_lists, cross_by_rows, parquet_cost
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.keys import dense_ids

    crosses = CrossFeatures.load(folder / "crosses")
    frame = pd.read_parquet(min((folder / "log").iterdir())).head(SLICE)
    names = list(crosses.schema.names)
    rows = np.column_stack(
        [
            dense_ids(frame[name].to_numpy(), crosses.edges[name]) if name in crosses.edges else frame[name]
            for name in names
        ]
    ).astype(np.float64)
    members = [[names.index(name) for name in cross.fields] for cross in crosses.crosses]
    found: dict[str, Any] = {"rows": len(rows)}
    results = []
    for name, function in (("rows", cross_by_rows), ("lists", cross_by_lists)):
        start = time.process_time()
        results.append(function(rows, members, 1e-4 * len(rows)))
        found[f"{name}_us_a_row"] = (time.process_time() - start) / len(rows) * 1e6
    found["same"] = bool(np.array_equal(*results))
    found["parquet_us_a_row"] = parquet_cost(
        folder / "log", [names[i] for i in sorted({i for own in members for i in own})], results[0]
    )
    return found


def loading(folder: Path) -> dict[str, Any]:
    """Time what compiled loops take to be there: on their first use ever, when they are kept on disk, and without them."""
    import pandas as pd

    few = folder / "few.parquet"
    pd.read_parquet(min((folder / "log").iterdir())).head(2000).to_parquet(few)
    code = (
        "import sys, time, warnings, nid_plugins as nid, pyarrow.parquet\n"
        "from benchmarks.scale_log import SCHEMA, sets\n"
        "from nid_plugins.crosses import loops\n"
        "warnings.simplefilter('ignore')\n"
        "loops.MANY, start = int(sys.argv[3]), time.process_time()\n"
        "crosses = nid.fit_crosses(sets(40), sys.argv[1], SCHEMA, min_count=2)\n"
        "crosses.transform(sys.argv[1], out=sys.argv[2])\n"
        "print(time.process_time() - start)\n"
    )
    found = {}
    for number, (name, many) in enumerate((("first_s", 0), ("kept_s", 0), ("without_s", 2**62))):
        command = [sys.executable, "-c", code, str(few), str(folder / f"few{number}"), str(many)]
        done = subprocess.run(  # noqa: S603 - our own code
            command,
            env=os.environ | {"NUMBA_CACHE_DIR": str(folder / "machine code")},
            check=True,
            capture_output=True,
            text=True,
        )
        found[name] = float(done.stdout)
    return found
