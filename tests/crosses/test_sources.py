"""Parquet files as one table: which files are found, what is wrong with them, and how they are cut up."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nid_plugins import FrameError, MissingExtraError
from nid_plugins.crosses import sources
from nid_plugins.crosses.sources import ParquetSource, is_paths


@pytest.fixture
def folder(tmp_path):
    """Three files of 10, 0 and 7 rows, in row groups of 4, and some that are not data."""
    for name, first, last in (("b.parquet", 0, 10), ("c/d.pq", 10, 10), ("e.PARQUET", 10, 17)):
        path = tmp_path / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = np.arange(first, last)
        pq.write_table(pa.table({"x": numbers, "y": numbers * 2.0}), path, row_group_size=4)
    for name in ("_SUCCESS.parquet", ".hidden.parquet", "notes.txt", "_tmp/f.parquet"):
        path = tmp_path / "log" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not data")
    return tmp_path / "log"


def numbers_of(source, size=3, fragments=None):
    return [int(v) for batch in source.batches(["x"], size, fragments) for v in batch.column("x")]


def test_what_names_files():
    assert is_paths("a")
    assert is_paths(pathlib.Path("a"))
    assert is_paths(["a", pathlib.Path("b")])
    assert not is_paths([])
    assert not is_paths({"a": [1]})
    assert not is_paths([[1, 2]])


def test_folder_pattern_list_and_file_are_read_in_order(folder):
    everything = list(range(17))
    assert numbers_of(ParquetSource(folder)) == everything
    assert numbers_of(ParquetSource(str(folder / "**" / "[b-e]*"))) == everything
    assert numbers_of(ParquetSource([folder / "e.PARQUET", str(folder / "b.parquet")])) == [
        *range(10, 17),
        *range(10),
    ]
    assert numbers_of(ParquetSource(folder / "b.parquet")) == list(range(10))
    assert ParquetSource(folder).rows == 17
    assert [file.rows for file in ParquetSource(folder).files] == [10, 0, 7]


def test_fragments_cover_every_row_once_and_cut_no_row_group(folder):
    source = ParquetSource(folder)
    for rows in (1, 5, 8, 100):
        fragments = source.fragments(rows)
        assert numbers_of(source, 2, fragments) == list(range(17))
        assert sum(fragment.rows for fragment in fragments) == 17
    assert [(part.first, part.rows) for part in source.fragments(8)] == [(0, 8), (8, 2), (0, 7)]
    (part,) = [part for part in source.fragments(8) if part.first == 8]
    assert numbers_of(source, 100, [part]) == [8, 9]


def test_a_batch_knows_where_it_is_from_and_has_no_more_columns_than_asked_for(folder):
    batches = list(ParquetSource(folder / "b.parquet").batches(["y"], 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert batches[2].where.endswith("b.parquet from row 8")
    assert batches[0].table.schema.names == ["y"]


def test_encodings_and_gaps_arrive_as_numbers(tmp_path):
    table = pa.table(
        {
            "coded": pa.array([3, None, 3], pa.int32()).dictionary_encode(),
            "gap": pa.array([1, None, 2], pa.int64()),
            "flag": pa.array([True, False, True]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (batch,) = ParquetSource(tmp_path).batches(["coded", "gap", "flag"], 10)
    assert np.array_equal(batch.column("coded"), [3, np.nan, 3], equal_nan=True)
    assert np.array_equal(batch.column("gap"), [1, np.nan, 2], equal_nan=True)
    assert batch.column("flag").tolist() == [True, False, True]


@pytest.mark.parametrize(
    "name",
    ["absent.parquet", "*.absent", "empty"],
)
def test_no_file(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FrameError, match="no such file") as caught:
        ParquetSource(tmp_path / name)
    assert name in str(caught.value)


def test_a_damaged_file_is_named(folder):
    whole = (folder / "e.PARQUET").read_bytes()
    (folder / "e.PARQUET").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError, match=r"e\.PARQUET cannot be read"):
        ParquetSource(folder)


def test_damage_behind_a_whole_footer_is_found_when_read(folder):
    path = folder / "b.parquet"
    whole = bytearray(path.read_bytes())
    whole[4:60] = b"\xff" * 56
    path.write_bytes(bytes(whole))
    source = ParquetSource(folder)
    with pytest.raises(FrameError, match=r"b\.parquet cannot be read"):
        numbers_of(source)


def test_a_file_that_changes_or_goes_between_passes(folder):
    source = ParquetSource(folder)
    pq.write_table(pa.table({"x": [1, 2], "y": [1.0, 2.0]}), folder / "b.parquet")
    with pytest.raises(FrameError, match="has changed"):
        numbers_of(source)
    (folder / "b.parquet").unlink()
    with pytest.raises(FrameError, match=r"b\.parquet cannot be read"):
        numbers_of(source)


def test_a_file_without_the_columns_is_named(folder):
    pq.write_table(pa.table({"x": [1]}), folder / "z.parquet")
    source = ParquetSource(folder)
    source.require(["x"])
    with pytest.raises(FrameError, match="lacks columns") as caught:
        source.require(["x", "y"])
    assert "z.parquet" in str(caught.value)
    assert caught.value.field == "y"


def test_names_used_twice(folder):
    with pytest.raises(FrameError, match="named twice"):
        ParquetSource([folder, folder / "b.parquet"])
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(twice, folder / "twice.parquet")
    with pytest.raises(FrameError, match="same name"):
        ParquetSource(folder)


def test_without_pyarrow(monkeypatch, folder):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="parquet"):
        ParquetSource(folder)
