"""Cross ids of files: equal to those in memory, written all or not at all, and taken up where a call was cut off."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nid_plugins as nid
from nid_plugins import ArtefactError, DenseField, FeatureSchema, FrameError, SettingError, SparseField
from nid_plugins.crosses import files_out, passes, sources
from nid_plugins.crosses.compiled import CompiledCrosses
from nid_plugins.crosses.scratch import Scratch
from nid_plugins.testing.golden import golden

SCHEMA = FeatureSchema(
    [
        SparseField("a", 30),
        DenseField("p"),
        SparseField("u", 10**9),
        SparseField("w", 2**50),
        SparseField("z", 9),
    ]
)
SETS = [("a", "u"), ("a", "p"), ("u", "w"), ("a", "p", "u"), ("w", "p")]


def frame(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "a": np.minimum(rng.zipf(1.4, n), 30) - 1,
        "p": np.round(rng.lognormal(size=n), 1),
        "u": rng.zipf(1.4, n) * 7919 % 10**9,
        "w": rng.zipf(1.6, n) * 999_983 % 2**50,
        "z": rng.integers(0, 9, n),
    }


@pytest.fixture(scope="module")
def crosses():
    made = nid.fit_crosses(SETS, frame(), SCHEMA, bins=12, min_count=6)
    assert len(made) == len(SETS)
    assert {cross.exact for cross in made.crosses} == {True, False}
    return made


@pytest.fixture(scope="module")
def rows():
    """Rows with gaps, unseen ids and ids out of range."""
    found = {name: column.astype(float) for name, column in frame(2000, seed=1).items()}
    rng = np.random.default_rng(2)
    for column in found.values():
        column[rng.random(2000) < 0.1] = np.nan
    found["a"][:50] = 77
    found["u"][20:80] = [-3, 5, 10**9] * 20
    return found


def write(folder, rows, parts=3, group=150):
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array(column, from_pandas=True) for name, column in rows.items()}
    table = pa.table(columns | {"request": pa.array(np.arange(2000).astype(str))})
    size = -(-2000 // parts)
    for i in range(parts):
        pq.write_table(table.slice(i * size, size), folder / f"{i}.parquet", row_group_size=group)
    return folder


@pytest.fixture
def files(tmp_path, rows):
    return write(tmp_path / "log", rows)


def ids_in(folder, crosses):
    table = pq.read_table(folder)
    return np.column_stack([table[name].to_numpy() for name in crosses.names])


@pytest.mark.parametrize("memory", ["1MiB", "2GB"])
def test_same_ids_as_in_memory(crosses, rows, files, tmp_path, memory):
    expected = crosses.transform(rows)
    assert (expected > 0).any(axis=0).all()
    assert (expected == 0).any(axis=0).all()
    out = crosses.transform(files, out=tmp_path / "ids", memory=memory)
    assert out == tmp_path / "ids"
    table = pq.read_table(out)
    assert table.column_names == list(crosses.names)
    assert {str(kind) for kind in table.schema.types} == {"int32"}
    assert np.array_equal(ids_in(out, crosses), expected)
    assert sorted(path.name for path in out.glob("part*")) == [f"part-0000{i}.parquet" for i in range(3)]
    assert not list(tmp_path.glob(".*"))
    found = crosses.transform(str(files), memory=memory)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def test_large_files_become_several_parts(crosses, rows, files, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.ParquetSource.fragments, "__defaults__", (300,))
    out = crosses.transform([files / "1.parquet", files / "0.parquet"], out=tmp_path / "ids")
    assert len(list(out.glob("part*"))) == 6
    expected = crosses.transform(rows)
    assert np.array_equal(ids_in(out, crosses), np.concatenate([expected[667:1334], expected[:667]]))


def test_columns_kept(crosses, rows, files, tmp_path):
    out = crosses.transform(files, out=tmp_path / "some", keep=["request", "a"])
    table = pq.read_table(out)
    assert table.column_names == ["request", "a", *crosses.names]
    assert table["request"].to_pylist() == [str(i) for i in range(2000)]
    assert np.array_equal(table["a"].to_numpy(), rows["a"], equal_nan=True)
    everything = pq.read_table(crosses.transform(files, out=tmp_path / "all", keep="all"))
    assert everything.column_names == [*SCHEMA.names, "request", *crosses.names]
    one = pq.read_table(crosses.transform(files, out=tmp_path / "one", keep="request"))
    assert one.column_names == ["request", *crosses.names]


def test_output_can_be_read_as_input(crosses, rows, files, tmp_path):
    out = crosses.transform(files, out=tmp_path / "first", keep="all")
    again = crosses.select([0]).transform(out)
    assert np.array_equal(again[:, 0], crosses.transform(rows)[:, 0])


def test_only_members_are_read(crosses, tmp_path, rows):
    write(tmp_path / "log", {name: column for name, column in rows.items() if name != "z"})
    assert np.array_equal(crosses.transform(tmp_path / "log"), crosses.transform(rows))


def test_files_without_rows(crosses, tmp_path):
    empty = pa.table({name: pa.array([], pa.float64()) for name in SCHEMA.names})
    pq.write_table(empty, tmp_path / "empty.parquet")
    assert crosses.transform(tmp_path / "empty.parquet").shape == (0, len(crosses))
    out = crosses.transform(tmp_path / "empty.parquet", out=tmp_path / "ids")
    table = pq.read_table(out)
    assert (table.num_rows, table.column_names) == (0, list(crosses.names))


def test_golden_rows():
    found = golden()

    class Columns:
        scratch = Scratch()

        def __len__(self):
            return len(found.rows)

        def ids(self, name):
            from nid_plugins.crosses.members import MemberIds

            return MemberIds(found.rows, found.crosses.schema, found.crosses.edges)[name]

        def codes(self, name):
            return compiled.members[name].codes(self.ids(name))

    compiled = CompiledCrosses(found.crosses)
    assert np.array_equal(np.column_stack(compiled.ids(Columns())), found.ids)


def test_what_is_there_stays(crosses, files, tmp_path):
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "mine.txt").write_text("mine")
    for place in (tmp_path / "ids", tmp_path / "ids" / "mine.txt"):
        with pytest.raises(ArtefactError, match="something at this place"):
            crosses.transform(files, out=place)
    assert [path.name for path in (tmp_path / "ids").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert len(list(crosses.transform(files, out=tmp_path / "empty").glob("part*"))) == 3


def test_output_among_the_input(crosses, files):
    with pytest.raises(SettingError, match="would become input"):
        crosses.transform(files, out=files / "ids")


def test_out_for_a_frame(crosses, rows, tmp_path):
    with pytest.raises(SettingError, match="ids of files"):
        crosses.transform(rows, out=tmp_path / "ids")


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["absent"], "lacks columns"),
        (5, "not names"),
        ([5], "not the name"),
        (["a__x__u"], "named like a cross"),
    ],
)
def test_columns_that_cannot_be_kept(crosses, files, tmp_path, keep, message):
    with pytest.raises((SettingError, FrameError), match=message):
        crosses.transform(files, out=tmp_path / "ids", keep=keep)
    assert not (tmp_path / "ids").exists()


def test_bad_rows_leave_nothing_in_place(crosses, files, tmp_path, rows):
    bad = rows | {"a": np.full(2000, 0.5)}
    write(files, bad, parts=1)  # the first of three files
    with pytest.raises(FrameError, match="whole numbers"):
        crosses.transform(files, out=tmp_path / "ids")
    assert not (tmp_path / "ids").exists()
    whole = (files / "2.parquet").read_bytes()
    (files / "2.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError, match=r"2\.parquet cannot be read"):
        crosses.transform(files, out=tmp_path / "ids")


class Interrupted(BaseException):
    """As KeyboardInterrupt is none that anybody catches."""


def cut_off(monkeypatch, after, error):
    """Let the writing of parts fail after some."""
    original = files_out.write_part
    written = []

    def write_part(*arguments, **options):
        if len(written) == after:
            raise error
        written.append(arguments[4].name)
        original(*arguments, **options)

    monkeypatch.setattr(files_out, "write_part", write_part)
    return written


def test_a_call_that_was_cut_off_is_taken_up(crosses, rows, files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        cut_off(patch, 2, Interrupted())
        with pytest.raises(Interrupted):
            crosses.transform(files, out=tmp_path / "ids")
    assert not (tmp_path / "ids").exists()
    with monkeypatch.context() as patch:
        written = cut_off(patch, 9, Interrupted())
        crosses.transform(files, out=tmp_path / "ids")
        assert written == ["part-00002.parquet"]
    assert np.array_equal(ids_in(tmp_path / "ids", crosses), crosses.transform(rows))


def test_parts_of_another_call_are_not_taken_up(crosses, rows, files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        cut_off(patch, 2, Interrupted())
        with pytest.raises(Interrupted):
            crosses.transform(files, out=tmp_path / "ids")
    other = crosses.select([2, 0])
    out = other.transform(files, out=tmp_path / "ids")
    assert np.array_equal(ids_in(out, other), crosses.transform(rows)[:, [2, 0]])


def test_a_part_that_was_cut_off_is_no_part(crosses, files, tmp_path, monkeypatch):
    original = CompiledCrosses.ids
    calls = []

    def ids(self, columns, out=None):
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted
        return original(self, columns, out)

    monkeypatch.setattr(CompiledCrosses, "ids", ids)
    with pytest.raises(Interrupted):
        crosses.transform(files, out=tmp_path / "ids")
    (working,) = tmp_path.glob(".ids.partial")
    assert sorted(path.name for path in working.iterdir()) == ["_manifest.json", "part-00000.parquet"]
    begun = json.loads((working / "_manifest.json").read_text())
    assert begun["crosses"] == list(crosses.names)


def test_a_strange_folder_in_the_way_stays(crosses, files, tmp_path):
    (tmp_path / ".ids.partial").mkdir()
    (tmp_path / ".ids.partial" / "mine.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="in the way"):
        crosses.transform(files, out=tmp_path / "ids")
    assert (tmp_path / ".ids.partial" / "mine.txt").exists()


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk(crosses, rows, files, tmp_path, monkeypatch):
    original = pq.ParquetWriter
    monkeypatch.setattr(pq, "ParquetWriter", lambda where, *a, **k: original("/dev/full", *a, **k))
    with pytest.raises(ArtefactError, match="cannot write the cross ids") as caught:
        crosses.transform(files, out=tmp_path / "ids")
    assert "No space left" in str(caught.value)
    assert not (tmp_path / "ids").exists()
    monkeypatch.setattr(pq, "ParquetWriter", original)
    assert np.array_equal(
        ids_in(crosses.transform(files, out=tmp_path / "ids"), crosses), crosses.transform(rows)
    )


def test_a_place_that_cannot_be_written(crosses, files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot write"):
        crosses.transform(files, out=tmp_path / "file" / "ids")
    with pytest.raises(SettingError, match="not a folder"):
        crosses.transform(files, out=5)


def test_ids_are_packed_and_kept_columns_compressed(tmp_path):
    """Also where names hold dots, which Parquet's tools take for nested columns."""
    schema = nid.FeatureSchema([nid.SparseField("item.id", 4), nid.SparseField("b", 3)])
    frame = {"item.id": np.arange(400) % 4, "b": np.arange(400) % 3}
    names = pa.array(["x", "y"] * 200).dictionary_encode()
    pq.write_table(
        pa.table({**frame, "note": names, "at": pa.array([{"s": 1}] * 400)}), tmp_path / "a.parquet"
    )
    crosses = nid.fit_crosses([("item.id", "b")], frame, schema, min_count=1)
    out = crosses.transform(tmp_path / "a.parquet", out=tmp_path / "ids", keep="all")
    (part,) = out.glob("*.parquet")
    group = pq.read_metadata(part).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    ids = columns.pop(crosses.names[0])
    assert "DELTA_BINARY_PACKED" in ids.encodings
    assert ids.compression == "UNCOMPRESSED"
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    table = pq.read_table(part)
    assert np.array_equal(table[crosses.names[0]].to_numpy(), crosses.transform(frame)[:, 0])
    assert table["note"].to_pylist() == names.to_pylist()


def test_a_part_of_several_row_groups_keeps_its_rows_apart(crosses, rows, files, tmp_path, monkeypatch):
    """One array serves all row groups of a part."""
    monkeypatch.setattr(files_out, "_ROW_GROUP", 130)
    monkeypatch.setattr(passes, "SMALLEST_BATCH", 50)
    monkeypatch.setattr(passes, "LARGEST_BATCH", 70)
    out = crosses.transform(files, out=tmp_path / "ids", keep=["request"])
    assert np.array_equal(ids_in(out, crosses), crosses.transform(rows))
    first = pq.ParquetFile(min(out.glob("*.parquet")))
    assert first.num_row_groups > 3
    expected = pq.read_table(files / "0.parquet")["request"].to_pylist()
    assert first.read()["request"].to_pylist() == expected
