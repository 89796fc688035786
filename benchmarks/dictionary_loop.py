"""Crossing as the paper's code does it: a Python dictionary a set of fields, and a step of the loop a row.

Written from a description of the published script: rows are a NumPy matrix of ids, dense fields binned; the key of a row is
the tuple of its members; combinations are counted in a dictionary, those above the threshold are numbered in the order
they were met, and a second loop looks every row up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt


def cross_by_rows(
    rows: npt.NDArray[np.float64], members: Sequence[Sequence[int]], threshold: float
) -> npt.NDArray[np.int64]:
    """Return ids of each set's combinations, shape (n, K), by the loop over NumPy rows."""
    out = np.zeros((len(rows), len(members)), dtype=np.int64)
    for k, columns in enumerate(members):
        which = list(columns)
        counts: dict[tuple[Any, ...], int] = {}
        for row in rows:
            key = tuple(row[which])
            counts[key] = counts[key] + 1 if key in counts else 1
        numbers: dict[tuple[Any, ...], int] = {}
        for key, count in counts.items():
            if count > threshold:
                numbers[key] = len(numbers) + 1
        out[:, k] = [numbers.get(tuple(row), 0) for row in rows[:, which]]
    return out


def cross_by_lists(
    rows: npt.NDArray[np.float64], members: Sequence[Sequence[int]], threshold: float
) -> npt.NDArray[np.int64]:
    """Return the same by the fastest loop over rows we could write: keys zipped from lists of Python numbers."""
    columns = [column.tolist() for column in rows.T]
    out = np.zeros((len(rows), len(members)), dtype=np.int64)
    for k, own in enumerate(members):
        keys = list(zip(*(columns[i] for i in own), strict=True))
        counts: dict[tuple[Any, ...], int] = {}
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        numbers = {
            key: i + 1 for i, key in enumerate(key for key, count in counts.items() if count > threshold)
        }
        out[:, k] = [numbers.get(key, 0) for key in keys]
    return out


def parquet_cost(log: Path, columns: Sequence[str], ids: npt.NDArray[np.int64]) -> float:
    """Return the microseconds of a row that a loop would take to read its columns from Parquet and to write its ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nid_plugins.crosses.files_out import writing

    start = time.process_time()
    table = pq.read_table(min(log.iterdir()), columns=list(columns))
    np.column_stack([column.to_numpy() for column in table.columns])
    reading = (time.process_time() - start) / len(table)
    start = time.process_time()
    out = pa.table({f"x{k}": np.ascontiguousarray(column, np.int32) for k, column in enumerate(ids.T)})
    pq.write_table(out, log.with_name("loop.parquet"), **writing((), out.column_names))
    return (reading + (time.process_time() - start) / len(ids)) * 1e6
