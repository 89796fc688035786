"""The DuckDB sink: one table, many writers, every event once."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

import nid_plugins as nid
from nid_plugins.experiment import DuckDBSink, ParquetSink


def rows_of(path, what="impression", table="exposures"):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(f"SELECT {what} FROM {table} ORDER BY ALL").fetchall()  # noqa: S608


def spooled(path, table="exposures"):
    return sorted((path.with_name(path.name + ".spool") / table).iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.duckdb"


def test_events_come_into_the_table_with_their_types(path, events_of):
    events = events_of(4)
    with DuckDBSink(path) as sink:
        sink.write(events)
        assert not path.exists()  # no request waits for the database
        sink.flush()
        assert rows_of(path) == [(f"i-{i}",) for i in range(4)]
    types = dict(rows_of(path, "column_name, data_type", "information_schema.columns"))
    assert types["timestamp"] == "TIMESTAMP WITH TIME ZONE"
    assert types["fallback"] == "BOOLEAN"
    assert types["latency_ms"] == "FLOAT"
    names = ("unit", "variant", "prediction", "covariate", "reason")
    assert rows_of(path, ", ".join(names)) == sorted(tuple(event[n] for n in names) for event in events)
    micros = rows_of(path, "DISTINCT epoch_us(timestamp)")
    assert micros == [(int(events[0]["timestamp"].timestamp()) * 10**6 + 1,)]
    assert spooled(path) == []


def test_it_loads_in_batches(path, events_of):
    with DuckDBSink(path, "seen", rows=50) as sink:
        for i in range(10):
            sink.write(events_of(10, f"b{i}"))
    assert len(rows_of(path, table="seen")) == 100
    assert rows_of(path, "count(*)", "seen_files")[0][0] in {2, 3}


def test_threads_and_sinks_share_a_file(path, events_of):
    with (
        DuckDBSink(path, rows=100) as one,
        DuckDBSink(path, rows=100) as other,
        ThreadPoolExecutor(8) as pool,
    ):
        jobs = [pool.submit((one, other)[i % 2].write, events_of(5, f"t{i}")) for i in range(100)]
        for job in jobs:
            job.result()
    found = rows_of(path)
    assert len(found) == len(set(found)) == 500


WRITER = """
import sys
import numpy as np
from nid_plugins.experiment import DuckDBSink, Exposures
path, name, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
sink = DuckDBSink(path, rows=60)
for b in range(batches):
    columns = dict(
        experiment="e", unit=[f"u{i}" for i in range(20)], variant="control", served="control", fallback=False,
        reason=None, impression=[f"{name}-{b}-{i}" for i in range(20)], request="r",
        timestamp=np.datetime64(0, "us"), latency_ms=np.ones(20, "f4"), prediction=np.ones(20), covariate=float("nan"),
    )
    sink.write(Exposures(columns, 20))
    print(b, flush=True)
if batches < 10**6:
    sink.close()
"""


def test_processes_share_a_file(path, python):
    processes = [python(WRITER, path, f"p{i}", 15) for i in range(2)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    expected = sorted(f"p{p}-{b}-{i}" for p in range(2) for b in range(15) for i in range(20))
    assert [row[0] for row in rows_of(path)] == expected


def test_a_process_killed_while_it_loads_loses_and_doubles_nothing(path, python):
    process = python(WRITER, path, "p", 10**6)
    for line in process.stdout:
        if path.exists() and int(line) >= 30:
            break
    os.kill(process.pid, signal.SIGKILL)
    written = max([int(line), *map(int, process.stdout.read().split())])
    process.wait()
    DuckDBSink(path).close()
    found = [row[0] for row in rows_of(path)]
    assert len(found) == len(set(found))
    assert {f"p-{b}-{i}" for b in range(written + 1) for i in range(20)} <= set(found)
    assert spooled(path) == []


KILLED_WHILE_IT_CREATES = """
import os, signal, sys

def kill(event, arguments):
    # The last moment before the new database is in its place.
    if event in {"os.link", "os.rename"} and os.fspath(arguments[1]) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
"""


def test_a_process_killed_while_it_makes_the_file_leaves_none_that_cannot_be_opened(path, python):
    process = python(KILLED_WHILE_IT_CREATES + WRITER, path, "p", 1)
    printed, _ = process.communicate(timeout=60)
    assert (printed, process.returncode) == ("0\n", -signal.SIGKILL)
    assert not path.exists()
    assert len(spooled(path)) == 1
    DuckDBSink(path).close()
    assert len(rows_of(path)) == 20
    assert {p.name for p in path.parent.iterdir()} == {path.name + end for end in ("", ".lock", ".spool")}


def test_a_file_loaded_before_a_crash_is_not_loaded_again(path, events_of):
    sink = DuckDBSink(path)
    sink.write(events_of(10))
    (left,) = spooled(path)
    copy = left.read_bytes()
    sink.close()
    left.write_bytes(copy)  # as if the process had died before it could delete it
    DuckDBSink(path).close()
    assert spooled(path) == []
    assert len(rows_of(path)) == 10


HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(600)
"""


def test_while_another_process_has_it_open_events_wait_in_the_spool(path, python, events_of):
    holder = python(HOLDER, path)
    assert holder.stdout.readline() == "open\n"
    sink = DuckDBSink(path, wait=0.1)
    sink.write(events_of(10))
    with pytest.warns(nid.NidWarning, match="keeps trying"):
        sink.flush()
    assert len(spooled(path)) == 1
    holder.kill()
    holder.wait()
    sink.close()
    assert len(rows_of(path)) == 10
    assert sink.dropped == 0


def test_what_is_no_database_stops_no_request(path, events_of):
    path.write_text("this is text, and long enough not to be taken for an empty file" * 100)
    sink = DuckDBSink(path, wait=0.05)
    sink.write(events_of(10))
    with pytest.warns(nid.NidWarning, match="cannot move"):
        sink.close()
    assert len(spooled(path)) == 1  # the events are not lost
    assert path.read_text().startswith("this is text")


@pytest.mark.parametrize("table", ["", "a b", 'x"; DROP TABLE y; --', 3, "tablé"])
def test_a_name_that_is_no_identifier_is_refused(path, table):
    with pytest.raises(nid.SettingError, match="name of a table"):
        DuckDBSink(path, table)


def test_the_extra_is_named_when_it_is_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(nid.MissingExtraError, match=r"nid-plugins\[ab\]"):
        DuckDBSink(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(nid.MissingExtraError, match=r"nid-plugins\[ab\]"):
        ParquetSink(path.parent)
