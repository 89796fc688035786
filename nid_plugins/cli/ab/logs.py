"""Logs named on the command line. Text files are read here; the rest is the analysis' own affair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nid_plugins.experiment import Design

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".gz")
IDS = ("experiment", "unit", "variant", "served", "impression", "request")
"""Columns that are text however they look: 007 and 7 are two units."""


def read_log(log: str | None, design: Design) -> Any:
    """Return a log as the analysis takes it: a frame of a text file, anything else as it was named.

    Args:
        log: As given by the user.
        design: Names the column of the units.

    Raises:
        FrameError: A text file that cannot be read, or times in it that are none.
    """
    if log is None or "::" in log or Path(log).suffix.lower() not in TEXT_ENDINGS:
        return log
    import pandas as pd

    from nid_plugins.errors import FrameError
    from nid_plugins.readers import read_raw, read_table

    table, raw = read_table(log), read_raw(log)
    for name in (*IDS, design.unit):
        if name in table.columns:
            table[name] = raw[name]
    if "timestamp" in table.columns:
        try:
            table["timestamp"] = pd.to_datetime(raw["timestamp"], utc=True, format="ISO8601")
        except ValueError as error:
            raise FrameError(
                f"{log} has times that are none",
                field="timestamp",
                received=str(error).splitlines()[0][:200],
                expected="ISO 8601, such as 2026-01-31T12:00:00Z; without a zone it is UTC",
            ) from error
    return table
