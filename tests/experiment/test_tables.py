"""One log gives the same analysis as a frame, as files, in DuckDB, and as tables of a warehouse, which is only read."""

from __future__ import annotations

import dataclasses
import sqlite3

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nid_plugins.errors import FrameError, NidError, SettingError
from nid_plugins.experiment import DuckDBSink, Guardrail, Metric, ParquetSink, analyze
from nid_plugins.experiment.exposures import Exposures

ibis = pytest.importorskip("ibis", reason="needs the extra ab")


@pytest.fixture(scope="module")
def logs(trial):
    return trial(300, lift=0.5, seed=2)


@pytest.fixture(scope="module")
def design(plan):
    return plan(
        primary=Metric.ctr(covariate="covariate"),
        metrics=(Metric.revenue(),),
        guardrails=(Guardrail(Metric.latency()),),
    )


@pytest.fixture(scope="module")
def expected(logs, design):
    return analyze(design, *logs)


@pytest.fixture
def assert_same(expected):
    def check(found, *, times=True):
        assert found.units == expected.units
        assert found.fallbacks == expected.fallbacks
        assert found.exclusions == expected.exclusions
        assert found.decision == expected.decision
        if times:
            assert (found.first, found.last) == (expected.first, expected.last)
        for a, b in zip(
            (*found.effects, *found.sequential), (*expected.effects, *expected.sequential), strict=True
        ):
            for name, value in dataclasses.asdict(a).items():
                other = getattr(b, name)
                assert value == (pytest.approx(other, rel=1e-6) if isinstance(other, float) else other), name

    return check


def warehouse(exposures, clicks):
    """Return a DuckDB of the user's own with the tables ``e`` and ``c``."""
    connection = ibis.duckdb.connect()
    for name, frame in (("e", exposures), ("c", clicks)):
        connection.con.register(f"{name}_frame", pa.Table.from_pandas(frame, preserve_index=False))
        connection.con.execute(f"CREATE TABLE {name} AS FROM {name}_frame")
        connection.con.unregister(f"{name}_frame")
    return connection


def parquet(frame, path):
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        pl.from_pandas,
        lambda f: pl.from_pandas(f).lazy(),
        lambda f: pa.Table.from_pandas(f, preserve_index=False),
        lambda f: {name: f[name].to_numpy() for name in f.columns if name != "timestamp"},
        lambda f: f.convert_dtypes(),
        lambda f: f.assign(variant=f.variant.astype("category")) if "variant" in f else f,
    ],
    ids=["polars", "lazy", "arrow", "arrays", "nullable", "categories"],
)
def test_any_frame(logs, design, assert_same, make):
    frames = [make(frame) for frame in logs]
    assert_same(analyze(design, *frames), times=not isinstance(frames[0], dict))


def test_files_folders_and_globs(logs, design, assert_same, tmp_path):
    exposures, clicks = logs
    folder = tmp_path / "exposures [1]" / "day=1"
    folder.mkdir(parents=True)
    half = len(exposures) // 2
    parquet(exposures[:half], folder / "a.parquet")
    parquet(exposures[half:], folder / "b.parquet")
    (folder / "note.txt").write_text("not of the log")
    one = parquet(clicks, tmp_path / "clicks.parquet")
    assert_same(analyze(design, folder.parent, one))
    assert_same(
        analyze(design, str(tmp_path / "exposures*" / "**" / "*.parquet"), str(tmp_path / "click?.parquet"))
    )


def test_tables_of_a_duckdb_file(logs, design, assert_same, tmp_path):
    import duckdb

    path = tmp_path / "log's.duckdb"
    exposures, clicks = (pa.Table.from_pandas(f, preserve_index=False) for f in logs)
    with duckdb.connect(path) as connection:
        connection.register("e", exposures)
        connection.register("c", clicks)
        connection.execute('CREATE TABLE "the exposures" AS FROM e')
        connection.execute("CREATE SCHEMA web; CREATE TABLE web.clicks AS FROM c")
    assert_same(analyze(design, f"{path}::the exposures", f"{path}::web.clicks"))
    with pytest.raises(FrameError, match="no such table"):
        analyze(design, f"{path}::exposures", logs[1])
    with pytest.raises(SettingError, match="without a table"):
        analyze(design, path, logs[1])


def test_ibis_tables_are_only_read_and_files_beside_them_go_there(logs, design, assert_same, tmp_path):
    connection = warehouse(*logs)
    tables = [connection.table(name) for name in "ec"]
    assert_same(analyze(design, *tables))
    assert_same(analyze(design, tables[0], parquet(logs[1], tmp_path / "c.parquet")))
    assert_same(analyze(design, logs[0], tables[1]))
    names = connection.con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert sorted(names) == [("c",), ("e",)]
    assert_same(analyze(design, ibis.memtable(logs[0]), ibis.memtable(logs[1])))


def test_another_warehouse_than_duckdb(logs, assert_same, plan, tmp_path):
    exposures, clicks = logs
    path = tmp_path / "w.sqlite"
    with sqlite3.connect(path) as connection:
        exposures.drop(columns="timestamp").to_sql("e", connection, index=False)
        clicks.drop(columns="timestamp").to_sql("c", connection, index=False)
    house = ibis.sqlite.connect(path)
    design = plan(primary=Metric.ctr(covariate="covariate"), metrics=(Metric.revenue(),))
    found = analyze(design, house.table("e"), house.table("c"))
    here = analyze(design, exposures, clicks)
    for a, b in zip(found.effects, here.effects, strict=True):
        assert (a.effect_low, a.relative_high, a.pvalue) == pytest.approx(
            (b.effect_low, b.relative_high, b.pvalue), rel=1e-6
        )
    assert found.units == here.units


def test_tables_of_two_connections(logs, design):
    tables = [warehouse(*logs).table(name) for name in "ec"]
    with pytest.raises(SettingError, match="two connections"):
        analyze(design, *tables)


def test_the_folder_of_a_sink_that_was_killed(logs, design, assert_same, tmp_path):
    exposures, clicks = logs
    events = Exposures.of(
        [
            row | {"reason": None, "request": "r", "timestamp": row["timestamp"].to_pydatetime()}
            for row in exposures.to_dict("records")
        ]
    )
    sink = ParquetSink(tmp_path / "log")
    sink.write(events[: len(events) // 2])
    sink.flush()
    sink.write(events[len(events) // 2 :])
    assert_same(analyze(design, tmp_path / "log", clicks))
    sink.close()
    assert_same(analyze(design, tmp_path / "log", clicks))


@pytest.mark.parametrize(
    "bad",
    [
        7,
        None,
        object(),
        b"log.parquet",
        "nowhere.parquet",
        "nowhere/*.parquet",
        "nowhere.duckdb::table",
        {"unit": ["a"], "variant": ["control", "control"]},
        {"unit": [["a"]], "variant": ["control"], "impression": ["i"]},
        {1: ["a"], "1": ["b"]},
        {},
        pd.Series([1, 2]),
        np.zeros((2, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_log(logs, design, bad):
    with pytest.raises(NidError):
        analyze(design, bad, logs[1])
    with pytest.raises(NidError):
        analyze(design, logs[0], bad if bad is not None else 7)


def test_files_that_are_damaged(logs, design, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FrameError, match="cannot be read"):
        analyze(design, path, logs[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FrameError, match="there are no exposures"):
        analyze(design, tmp_path / "empty", logs[1])
    (tmp_path / "b.duckdb").write_text("no database")
    with pytest.raises(FrameError, match="cannot be read"):
        analyze(design, f"{tmp_path / 'b.duckdb'}::t", logs[1])


def test_what_a_duckdb_sink_has_not_loaded_yet_is_said(logs, design, assert_same, tmp_path):
    exposures, clicks = logs
    rows = exposures.assign(reason=None, request="r").to_dict("records")
    events = Exposures.of([row | {"timestamp": row["timestamp"].to_pydatetime()} for row in rows])
    path = tmp_path / "log.duckdb"
    sink = DuckDBSink(path, rows=10**9, seconds=10**6)
    sink.write(events[:500])
    sink.flush()
    sink.write(events[500:])
    part = analyze(design, f"{path}::exposures", clicks)
    assert sum(part.impressions.values()) < len(events)
    assert any("spooled" in note for note in part.notes)
    sink.close()
    whole = analyze(design, f"{path}::exposures", clicks)
    assert_same(whole)
    assert not any("spooled" in note for note in whole.notes)


def test_a_column_that_came_later_is_missing_in_older_files(logs, design, tmp_path):
    exposures, clicks = logs
    parquet(exposures[:100].drop(columns="covariate"), tmp_path / "a.parquet")
    parquet(exposures[100:], tmp_path / "b.parquet")
    found = analyze(design, tmp_path, clicks)
    assert [(e.reason, e.rows) for e in found.exclusions] == [("missing covariates", 100)]
    assert sum(found.impressions.values()) == len(exposures)


def test_files_of_other_types_in_one_folder(logs, design, tmp_path):
    exposures, clicks = logs
    parquet(exposures[:100].assign(latency_ms="fast"), tmp_path / "a.parquet")
    parquet(exposures[100:], tmp_path / "b.parquet")
    with pytest.raises(FrameError):
        analyze(design, tmp_path, clicks)
