"""Tables from files: every kind that is read, and every way one can be damaged."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from nid_plugins.errors import FrameError, MissingExtraError
from nid_plugins.readers import files, read_raw, read_table


@pytest.fixture
def table():
    return pd.DataFrame({"id": [1, 2, 3], "price": [0.5, 1.5, 2.25], "site": ["a", "b", "a"]})


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".parquet", ".feather"])
def test_a_table_is_read_by_its_ending(table, tmp_path, ending):
    path = tmp_path / f"table{ending}"
    if ending == ".parquet":
        table.to_parquet(path)
    elif ending == ".feather":
        table.to_feather(path)
    else:
        table.to_csv(path, index=False, sep="," if ".csv" in ending else "\t")
    assert read_table(path).to_dict("list") == table.to_dict("list")
    assert len(read_table(path, rows=2)) == 2


@pytest.mark.parametrize("read", [read_table, read_raw])
def test_a_name_used_twice_is_refused(read, tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("click,site,click\n1,2,1\n", encoding="utf-8")
    with pytest.raises(FrameError, match=r"two columns of .* have the same name; received: \['click'\]"):
        read(path)


def test_raw_text_stays_as_it_is_spelt_and_only_empty_is_missing(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("a,b,c\n007,NA,x\n1e3,,null\n", encoding="utf-8")
    raw = read_raw(path)
    assert raw["a"].tolist() == ["007", "1e3"]
    assert raw["b"].isna().tolist() == [False, True]
    assert raw["c"].tolist() == ["x", "null"]


@pytest.mark.parametrize("header", ["", "label\ta\tb\n", "LABEL\tA\tB\n"])
def test_a_header_line_is_optional_where_names_are_known(tmp_path, header):
    path = tmp_path / "log.tsv"
    path.write_text(header + "1\tx\ty\n0\t\tz\n", encoding="utf-8")
    raw = read_raw(path, names=["label", "a", "b"])
    assert list(raw.columns) == ["label", "a", "b"]
    assert raw["label"].tolist() == ["1", "0"]


def test_quoted_delimiters_and_line_breaks_are_no_columns(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('a,b\n"x,y",1\n"two\nlines",2\n\nz,3\n', encoding="utf-8")
    assert read_table(path)["a"].tolist() == ["x,y", "two\nlines", "z"]


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        ("a,b,c\n1,2,3\n1,2\n", 3, 2),
        ("a,b,c\n1,2,3\n\n1,2,3,4\n", 4, 4),
        ("a,b\n1,2,3\n4,5,6\n", 2, 3),
        ('a,b\n"x,y",1\n"multi\nline",2,3\n', 4, 3),
    ],
)
def test_a_line_of_another_width_is_named(tmp_path, content, line, found):
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    for read in (read_table, read_raw):
        with pytest.raises(
            FrameError, match=rf"line {line} of .* wrong number of columns; received: {found} "
        ):
            read(path)


def test_the_wrong_number_of_columns_for_known_names_is_refused(tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_text("1\tx\n0\ty\n", encoding="utf-8")
    with pytest.raises(FrameError, match="received: 2 columns; expected: 3 columns separated by tabs"):
        read_raw(path, names=["label", "a", "b"])


@pytest.mark.parametrize("read", [read_table, read_raw])
def test_files_that_cannot_be_read_are_refused(tmp_path, read):
    with pytest.raises(FrameError, match="no such file"):
        read(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    with pytest.raises(FrameError, match="is empty"):
        read(tmp_path / "empty.csv")
    (tmp_path / "header.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(FrameError, match="has no rows"):
        read(tmp_path / "header.csv")
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(FrameError, match="unknown kind of file"):
        read(tmp_path / "table.xlsx")
    (tmp_path / "latin.csv").write_bytes(b"a,b\n\xe9,1\n")
    with pytest.raises(FrameError, match="UnicodeDecodeError"):
        read(tmp_path / "latin.csv")
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000)))
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError, match="cannot be read"):
        read(tmp_path / "cut.csv.gz")
    (tmp_path / "noise.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(FrameError, match="cannot be read"):
        read(tmp_path / "noise.csv.gz")
    (tmp_path / "noise.parquet").write_bytes(b"not parquet")
    with pytest.raises(FrameError, match="cannot be read"):
        read(tmp_path / "noise.parquet")


def test_parquet_without_pyarrow_says_what_to_install(table, tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    table.to_parquet(path)
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"nid-plugins\[parquet\]"):
        read_table(path)
