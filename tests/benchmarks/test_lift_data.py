"""Data of the lift benchmark: splits that share no test row, codings of the training rows alone."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from benchmarks.lift import data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def amazon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a small file in Amazon's layout; a value that occurs once is in each row of B."""
    rng = np.random.default_rng(0)
    n = 200
    table = pd.DataFrame(
        {"ACTION": (np.arange(n) % 10 > 0).astype(int), "A": rng.integers(5, size=n), "B": np.arange(n)}
    )
    with gzip.open(tmp_path / "amazon_access.csv.gz", "wt") as out:
        table.to_csv(out, index=False)
    monkeypatch.setenv("NID_DATA", str(tmp_path))
    data.read_raw.cache_clear()
    data.tokens_of.cache_clear()
    yield tmp_path
    data.read_raw.cache_clear()
    data.tokens_of.cache_clear()


def test_amazon_test_folds_are_disjoint_stratified_and_cover_all_rows() -> None:
    labels = (np.arange(1000) % 20 > 0).astype(np.float64)
    tests = []
    for seed in range(10):
        train, valid, test = data.parts_of("amazon", labels, seed)
        assert len({*train, *valid, *test}) == len(train) + len(valid) + len(test) == 1000
        assert (labels[test] == 0).sum() == 5
        tests.append(test)
    assert sorted(np.concatenate(tests)) == list(range(1000))


def test_criteo_is_cut_by_order_whatever_the_seed() -> None:
    labels = np.zeros(100)
    for seed in (0, 3):
        train, valid, test = data.parts_of("criteo", labels, seed)
        assert (train[-1], valid[0], valid[-1], test[0]) == (79, 80, 89, 90)


def test_values_of_other_parts_have_no_id(amazon: Path) -> None:
    split = data.load("amazon", 0, test=True)
    column = split.schema.index_of("B")
    assert split.test is not None
    assert len(set(split.train.rows[:, column])) == len(split.train)  # each has an id of its own
    assert (split.valid.rows[:, column] == 0).all()
    assert (split.test.rows[:, column] == 0).all()


def test_test_rows_are_handed_out_only_when_asked_for(amazon: Path) -> None:
    assert data.load("amazon", 0).test is None


def test_missing_data_say_where_they_were_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NID_DATA", raising=False)
    with pytest.raises(data.DataMissingError, match="NID_DATA is not set"):
        data.path_of("amazon")
    monkeypatch.setenv("NID_DATA", str(tmp_path))
    with pytest.raises(data.DataMissingError, match="criteo_137k"):
        data.path_of("criteo")


def test_counts_are_binned_finely_when_small_and_a_missing_one_stays_missing() -> None:
    tokens = data.bin_of_count(pd.Series(["", "0", "-1", "2", "3", "100", "101"]))
    assert tokens.tolist() == ["", "S0", "S-1", "S2", "L1", "L21", "L21"]
