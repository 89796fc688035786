"""The two data sets, encoded with vocabularies of the training rows only, and their splits.

The files are looked for in the directory named by the environment variable ``NID_DATA``; they belong to their
owners and are no part of this project.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from nid_plugins.readers.clicks import CRITEO_DENSE
from nid_plugins.readers.encoder import Encoder

if TYPE_CHECKING:
    from nid_plugins import FeatureSchema

FILES = {"criteo": "criteo_137k.tsv.gz", "amazon": "amazon_access.csv.gz"}
LABELS = {"criteo": "label", "amazon": "ACTION"}
MIN_COUNTS = {"criteo": 4, "amazon": 1}
FOLDS = 10
SPLIT_SEED = 20261124


class DataMissingError(RuntimeError):
    """The data files are not there; the message says where they were looked for."""


@dataclass(frozen=True)
class Part:
    """Rows of one part of a split.

    Attributes:
        rows: Ids, shape (n, p), float64, columns in schema order.
        labels: 0/1, shape (n,), float64.
    """

    rows: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Split:
    """Train and validation rows, and test rows only where they were asked for.

    Attributes:
        name: ``"criteo"`` or ``"amazon"``.
        seed: Seed of the split (Amazon) and of the models (both).
        schema: Sparse fields only; id 0 stands for rare and unknown values.
        train: Rows the models are fitted on.
        valid: Rows of early stopping and of every choice.
        test: Rows read once, by the final runs; None in tuning.
    """

    name: str
    seed: int
    schema: FeatureSchema
    train: Part
    valid: Part
    test: Part | None


def path_of(name: str) -> Path:
    """Return the path of a data file.

    Raises:
        DataMissingError: ``NID_DATA`` is not set or the file is not in it.
    """
    directory = os.environ.get("NID_DATA")
    if not directory:
        raise DataMissingError(
            "NID_DATA is not set: name the directory that holds " + " and ".join(FILES.values())
        )
    path = Path(directory) / FILES[name]
    if not path.is_file():
        raise DataMissingError(f"no {path.name} in the directory NID_DATA names ({directory})")
    return path


@lru_cache(maxsize=2)
def read_raw(name: str) -> pd.DataFrame:
    """Read a data file as text columns; a missing value is the empty string.

    Raises:
        DataMissingError: The file is not there.
    """
    separator = "\t" if name == "criteo" else ","
    return pd.read_csv(path_of(name), sep=separator, dtype=str, keep_default_na=False)


@lru_cache(maxsize=2)
def tokens_of(name: str) -> pd.DataFrame:
    """Return the fields as text; Criteo's counts as the tokens of their bins. An empty text is missing."""
    table = read_raw(name).drop(columns=LABELS[name])
    if name == "criteo":
        table = table.assign(**{column: bin_of_count(table[column]) for column in CRITEO_DENSE})
    return table.replace("", None)


def bin_of_count(text: pd.Series) -> pd.Series:
    """Turn an integer column of Criteo into the token of its bin: floor(log(v)^2) above 2, the value itself below.

    The transform of the winners of the Criteo challenge (Juan et al., 2014): fine bins for small counts, coarse for
    large ones. A missing value stays a token of its own.
    """
    values = pd.to_numeric(text, errors="coerce")
    large = np.floor(np.log(values.where(values > 2, 3.0)) ** 2)
    tokens = np.where(values > 2, "L" + large.astype(int).astype(str), "S" + text)
    return pd.Series(np.where(text == "", "", tokens), index=text.index)


def parts_of(name: str, labels: npt.NDArray[np.float64], seed: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Return row numbers of train, validation and test.

    Criteo is cut by order (80/10/10) whatever the seed. Amazon is cut into ten stratified folds once; seed s tests on
    fold s mod 10 and validates on the next, so that test sets of different seeds are disjoint.
    """
    n = len(labels)
    if name == "criteo":
        cut = int(0.8 * n), int(0.9 * n)
        order = np.arange(n)
        return order[: cut[0]], order[cut[0] : cut[1]], order[cut[1] :]
    fold = np.empty(n, dtype=np.intp)
    rng = np.random.default_rng(SPLIT_SEED + seed // FOLDS)
    for value in (0.0, 1.0):
        members = rng.permutation(np.flatnonzero(labels == value))
        fold[members] = np.arange(len(members)) % FOLDS
    test, valid = seed % FOLDS, (seed + 1) % FOLDS
    return (
        np.flatnonzero((fold != test) & (fold != valid)),
        np.flatnonzero(fold == valid),
        np.flatnonzero(fold == test),
    )


def load(name: str, seed: int, *, test: bool = False, min_count: int | None = None) -> Split:
    """Load one split, encoded.

    Args:
        name: ``"criteo"`` or ``"amazon"``.
        seed: Seed of the split.
        test: Whether to hand out the test rows. Only the final runs do.
        min_count: Training rows a value needs to get an id of its own; default by data set.

    Raises:
        DataMissingError: The file is not there.
    """
    table = tokens_of(name)
    labels = read_raw(name)[LABELS[name]].to_numpy(dtype=np.float64)
    train, valid, held = parts_of(name, labels, seed)
    encoder = Encoder.fit(
        table.iloc[train], sparse=tuple(table.columns), min_count=min_count or MIN_COUNTS[name]
    )
    columns = encoder.transform(table)
    rows = np.column_stack([columns[field] for field in encoder.schema.names]).astype(np.float64)

    def part(index: npt.NDArray[np.intp]) -> Part:
        return Part(np.ascontiguousarray(rows[index]), labels[index])

    return Split(name, seed, encoder.schema, part(train), part(valid), part(held) if test else None)
