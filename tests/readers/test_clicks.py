"""Click logs: Criteo's layout, any CSV, splits, and what is wrong with a log."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.frames import read_matrix
from nid_plugins.readers import read_clicks, split_by_order, split_stratified
from nid_plugins.schema import DenseField, SparseField

# Competition data under its owners' terms is not part of the repository: NID_DATA names the folder that holds it.
DATA = Path(os.environ.get("NID_DATA", "data"))


def criteo_line(label, value, category):
    return "\t".join([str(label), *[str(value)] * 13, *[category] * 26])


@pytest.fixture
def criteo(tmp_path):
    lines = [criteo_line(i % 4 == 0, i % 7 or "", f"{i % 3:08x}" if i % 5 else "") for i in range(100)]
    path = tmp_path / "train.txt.gz"
    text = "\n".join(line.replace("True", "1").replace("False", "0") for line in lines)
    path.write_bytes(gzip.compress((text + "\n").encode()))
    return path


def test_criteos_layout_gives_numbers_and_categories(criteo):
    clicks = read_clicks(criteo, "criteo")
    assert len(clicks) == 100
    assert clicks.label.mean() == 0.25
    encoded = clicks.encode()
    assert [type(field) for field in encoded.schema] == [DenseField] * 13 + [SparseField] * 26
    assert [len(label) for label in encoded.labels] == [80, 10, 10]
    for frame in encoded.frames:
        read_matrix(frame, encoded.schema)
    rows = np.arange(80)
    assert np.array_equal(encoded.frames[0]["C7"] == 1, rows % 5 == 0)
    assert len(np.unique(encoded.frames[0]["I3"][rows % 7 == 0])) == 1
    assert encoded.frames[0]["I3"][0] < encoded.frames[0]["I3"][rows % 7 != 0].min() - 0.9


def test_the_coding_sees_the_first_part_only(tmp_path):
    path = tmp_path / "log.csv"
    lines = [f"{i % 2},{'old' if i < 80 else 'new'},{i / 2}" for i in range(100)]
    path.write_text("click,site,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    encoded = read_clicks(path, label="click").encode()
    assert encoded.schema["site"].cardinality == 3
    assert set(encoded.frames[0]["site"]) == {2}
    assert set(encoded.frames[1]["site"]) == set(encoded.frames[2]["site"]) == {0}
    assert encoded.frames[0]["price"].mean() == pytest.approx(0, abs=1e-5)
    assert encoded.frames[2]["price"].min() > encoded.frames[0]["price"].max()


def test_columns_can_be_named_and_left_out(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("y,age,id,site\n1,30,5,a\n0,40,6,b\n1,31,5,a\n0,20,6,b\n", encoding="utf-8")
    clicks = read_clicks(path, label="y", dense=["age"], sparse=["id"], exclude=["site"])
    encoded = clicks.encode(fractions=(0.5, 0.5))
    assert list(encoded.schema.names) == ["age", "id"]
    assert isinstance(encoded.schema["age"], DenseField)


@pytest.mark.parametrize(
    ("content", "label", "message"),
    [
        ("click,site\n1,a\n0,b\n", "clock", "no such label column"),
        ("click,site\n1,a\n2,b\n", "click", "labels must be 0 or 1"),
        ("click,site\n1,a\n,b\n", "click", "labels must be 0 or 1"),
        ("click,site\n1,a\nyes,b\n", "click", "not a finite number"),
        ("click\n1\n0\n", "click", "no column besides the label"),
        ("", "click", "is empty"),
        ("click,site\n", "click", "no rows"),
        ("click,site\n1,a\n0\n", "click", "wrong number of columns"),
    ],
)
def test_a_malformed_log_is_refused(tmp_path, content, label, message):
    path = tmp_path / "log.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FrameError, match=message):
        read_clicks(path, label=label)


def test_settings_are_checked(tmp_path, criteo):
    path = tmp_path / "log.csv"
    path.write_text("click,site\n1,a\n0,b\n", encoding="utf-8")
    with pytest.raises(SettingError, match="which column is the label"):
        read_clicks(path)
    with pytest.raises(SettingError, match="unknown format"):
        read_clicks(path, "json", label="click")
    with pytest.raises(FrameError, match="no such column"):
        read_clicks(path, label="click", dense=["price"])
    (tmp_path / "log.tsv").write_text("1\ta\n", encoding="utf-8")
    with pytest.raises(FrameError, match="received: 2 columns; expected: 40 columns"):
        read_clicks(tmp_path / "log.tsv", "criteo")
    with pytest.raises(SettingError, match="unknown split"):
        read_clicks(criteo, "criteo").encode(split="sorted")


def test_split_by_order_keeps_the_order_and_every_row():
    parts = split_by_order(105)
    assert [len(part) for part in parts] == [84, 10, 11]
    assert np.array_equal(np.concatenate(parts), np.arange(105))


def test_stratified_split_has_every_row_once_and_the_same_share_of_clicks():
    label = np.arange(1000) % 10 == 0
    parts = split_stratified(label, seed=3)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert [label[part].mean() for part in parts] == pytest.approx([0.1, 0.1, 0.1])
    assert all(np.array_equal(a, b) for a, b in zip(parts, split_stratified(label, seed=3), strict=True))
    assert not np.array_equal(parts[1], split_stratified(label, seed=4)[1])


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (1.2, -0.2), ()])
def test_fractions_must_divide_the_whole(fractions):
    with pytest.raises(SettingError):
        split_by_order(100, fractions)


def test_too_few_rows_to_split_are_refused():
    with pytest.raises(SettingError, match="too few rows"):
        split_by_order(2)
    with pytest.raises(SettingError, match="too few rows"):
        split_stratified([0] * 50 + [1] * 2)


@pytest.mark.skipif(not (DATA / "criteo_137k.tsv.gz").is_file(), reason="the Criteo sample is not there")
def test_the_criteo_sample_is_read():
    clicks = read_clicks(DATA / "criteo_137k.tsv.gz", "criteo", rows=5000)
    encoded = clicks.encode()
    assert len(clicks) == 5000
    assert 0.15 < clicks.label.mean() < 0.35
    read_matrix(encoded.frames[2], encoded.schema)


@pytest.mark.skipif(not (DATA / "amazon_access.csv.gz").is_file(), reason="the Amazon data is not there")
def test_the_amazon_file_is_read():
    encoded = read_clicks(DATA / "amazon_access.csv.gz", label="ACTION").encode(split="random")
    assert len(encoded.schema.sparse) == 9
    assert [label.mean() for label in encoded.labels] == pytest.approx([0.942] * 3, abs=0.001)
