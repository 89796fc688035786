"""A click log of any length as Parquet files, written a million rows at a time.

26 sparse fields have ids that follow Zipf's law, up to ten million of them, and 13 fields are dense.

Ids are drawn by the inverse of the (continuous) law's distribution function and scattered over the field's range, so
that a frequent id is not a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import nid_plugins as nid

if TYPE_CHECKING:
    from pathlib import Path

FILE_ROWS, ROW_GROUP = 1_000_000, 250_000
EXPONENT = 1.1
CARDINALITIES = (
    *(10, 10, 20, 50, 100, 100, 200, 500, 500, 1_000, 1_000, 2_000, 5_000, 10_000, 10_000, 20_000),
    *(50_000, 100_000, 100_000, 200_000, 500_000, 1_000_000, 1_000_000, 10_000_000, 10_000_000, 10_000_000),
)
DENSE = 13
SCHEMA = nid.FeatureSchema(
    [
        *(nid.SparseField(f"c{k + 1}", size) for k, size in enumerate(CARDINALITIES)),
        *(nid.DenseField(f"i{k + 1}") for k in range(DENSE)),
    ]
)


def sets(number: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return sets of fields to cross: pairs, and every tenth a triple."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < number:
        size = 3 if len(found) % 10 == 9 else 2
        chosen = rng.choice(SCHEMA.names, size, replace=False)
        found[tuple(sorted(map(str, chosen), key=SCHEMA.index_of))] = None
    return list(found)


def frame(rows: int, seed: int) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
    """Return rows of the log: those of a file, by its number."""
    rng = np.random.default_rng([7, seed])
    found: dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]] = {}
    for k, size in enumerate(CARDINALITIES):
        power = 1.0 - EXPONENT
        uniform = rng.random(rows, dtype=np.float32).astype(np.float64)
        rank = ((1.0 + uniform * ((size + 1.0) ** power - 1.0)) ** (1.0 / power)).astype(np.int64) - 1
        np.clip(rank, 0, size - 1, out=rank)
        found[f"c{k + 1}"] = (rank * 7_919 % size).astype(np.int32)  # a prime that divides no size
    for k in range(DENSE):
        drawn = rng.standard_exponential(rows, dtype=np.float32)
        # Half are amounts with two decimals, half counts with many zeros.
        found[f"i{k + 1}"] = np.round(drawn * 20, 2) if k % 2 else np.floor(drawn * drawn * 3)
    return found


def write_log(folder: Path, rows: int) -> int:
    """Write the first rows of the log, in files of a million, and return the bytes written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for number in range(-(-rows // FILE_ROWS)):
        own = min(FILE_ROWS, rows - number * FILE_ROWS)
        pq.write_table(
            pa.table(frame(own, number)), folder / f"{number:05d}.parquet", row_group_size=ROW_GROUP
        )
    return sum(path.stat().st_size for path in folder.iterdir())
