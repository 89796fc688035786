"""Click logs: raw columns and labels, split and coded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.frames import read_label
from nid_plugins.readers.columns import numbers_of
from nid_plugins.readers.encoder import Encoder
from nid_plugins.readers.files import read_raw
from nid_plugins.readers.splits import FRACTIONS, split_by_order, split_stratified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from nid_plugins.schema import FeatureSchema

Frame = dict[str, npt.NDArray[Any]]

CRITEO_DENSE = tuple(f"I{i}" for i in range(1, 14))
CRITEO_SPARSE = tuple(f"C{i}" for i in range(1, 27))
CRITEO_COLUMNS = ("label", *CRITEO_DENSE, *CRITEO_SPARSE)


@dataclass(frozen=True, eq=False)
class EncodedClicks:
    """A click log split and coded, the coding learned from its training part.

    Attributes:
        frames: Coded frames of the parts (training, validation, test, unless split otherwise).
        labels: Their clicks, int64.
        encoder: The coding.
    """

    frames: tuple[Frame, ...]
    labels: tuple[npt.NDArray[np.int64], ...]
    encoder: Encoder

    @property
    def schema(self) -> FeatureSchema:
        """The fields."""
        return self.encoder.schema


@dataclass(frozen=True, eq=False)
class Clicks:
    """A click log as it was read.

    Attributes:
        table: Raw columns, without the label.
        label: Clicks, int64, shape (n,).
        sparse: Columns known to be categories.
        dense: Columns known to be numbers.
    """

    table: pd.DataFrame
    label: npt.NDArray[np.int64]
    sparse: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    def encode(
        self,
        *,
        split: str = "order",
        fractions: Sequence[float] = FRACTIONS,
        seed: int = 0,
        min_count: int | None = None,
        transform: str = "log",
    ) -> EncodedClicks:
        """Split the log and code it by what its first part shows.

        Args:
            split: ``"order"`` (for a log in order of time) or ``"random"``, with the same share of clicks in each part.
            fractions: Share of each part, summing to 1.
            seed: Of the random split.
            min_count: See :meth:`Encoder.fit`.
            transform: See :meth:`Encoder.fit`.

        Raises:
            SettingError: An option is out of its domain, or too few rows to split.
            FrameError: A dense column is not numeric.
        """
        if split == "order":
            parts = split_by_order(len(self), fractions)
        elif split == "random":
            parts = split_stratified(self.label, fractions, seed=seed)
        else:
            raise SettingError("unknown split", received=repr(split), expected='"order" or "random"')
        tables = [self.table.iloc[part] for part in parts]
        encoder = Encoder.fit(
            tables[0], sparse=self.sparse, dense=self.dense, min_count=min_count, transform=transform
        )
        return EncodedClicks(
            tuple(encoder.transform(table) for table in tables),
            tuple(self.label[part] for part in parts),
            encoder,
        )


def read_clicks(
    path: str | Path,
    format: str = "csv",  # noqa: A002 - the word the command line uses
    *,
    label: str | None = None,
    rows: int | None = None,
    sparse: Sequence[str] = (),
    dense: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Clicks:
    """Read a click log.

    Args:
        path: The file; see :func:`read_raw` for the kinds.
        format: ``"criteo"``: label, I1 to I13 (numbers), C1 to C26 (categories), tabs, header line or none.
            ``"csv"``: any table with a header.
        label: Column of clicks; ``"label"`` for Criteo.
        rows: Read only the first so many rows.
        sparse: Columns that are categories.
        dense: Columns that are numbers.
        exclude: Columns to leave out.

    Raises:
        FrameError: The file is absent, damaged or empty, a line has the wrong width, or labels are not 0/1.
        SettingError: Unknown format, or no label named.
    """
    if format == "criteo":
        table = read_raw(path, names=CRITEO_COLUMNS, rows=rows)
        label, sparse, dense = label or "label", (*CRITEO_SPARSE, *sparse), (*CRITEO_DENSE, *dense)
    elif format == "csv":
        table = read_raw(path, rows=rows)
        if label is None:
            raise SettingError(
                "which column is the label?",
                expected=f"one of {list(table.columns)}",
                hint="Name it with label= (--label on the command line)",
            )
    else:
        raise SettingError("unknown format", received=repr(format), expected='"criteo" or "csv"')
    for name in (label, *sparse, *dense, *exclude):
        if name not in table.columns:
            what = "no such label column" if name == label else "no such column"
            raise FrameError(what, field=name, expected=f"one of {list(table.columns)}")
    clicked = read_label({label: numbers_of(label, table[label].to_numpy())}[label], {}, len(table))
    columns = table.drop(columns=[label, *exclude])
    if not len(columns.columns):
        raise FrameError("no column besides the label", received=list(table.columns))
    keep = set(columns.columns)
    return Clicks(
        columns,
        clicked.astype(np.int64),
        tuple(name for name in sparse if name in keep),
        tuple(name for name in dense if name in keep),
    )
