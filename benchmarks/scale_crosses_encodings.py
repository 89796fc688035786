"""Ways to write cross ids as Parquet: what they cost and what they weigh. A step of ``benchmarks.scale_crosses``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 3
"""The best of so many is kept: the first one finds its memory cold."""


def encodings(folder: Path) -> dict[str, Any]:
    """Time ways to write the cross ids of a log, and to read them back, in a folder where both are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.files_out import writing

    crosses = CrossFeatures.load(folder / "crosses")
    ids = crosses.transform(folder / "log")
    table = pa.table([pa.array(np.ascontiguousarray(one)) for one in ids.T], names=list(crosses.names))
    split: dict[str, Any] = {"use_dictionary": False, "use_byte_stream_split": True}
    zstd: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
    ways = {
        "packed": writing((), crosses.names),
        "packed, zstd": writing((), crosses.names) | zstd,
        "dictionary, zstd": zstd,
        "split, zstd": split | zstd,
    }
    found = {}
    path = folder / "encoded.parquet"
    for name, options in ways.items():
        times = []
        for _ in range(RUNS):
            moments = [time.process_time()]
            pq.write_table(table, path, **options)
            moments.append(time.process_time())
            pq.read_table(path, use_threads=False)
            moments.append(time.process_time())
            times.append(np.diff(moments))
        write, read = np.min(times, axis=0) / len(ids) * 1e6
        found[name] = {
            "write_us_a_row": float(write),
            "read_us_a_row": float(read),
            "bytes_a_row": path.stat().st_size / len(ids),
        }
    return {"ways": found}
