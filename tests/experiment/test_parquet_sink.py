"""The Parquet sink: nothing twice, nothing lost, whatever the threads, processes and disks do."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest

import nid_plugins as nid
from nid_plugins.experiment import ParquetSink, read_exposures
from nid_plugins.experiment.ahead import AheadFile


def impressions(folder):
    return sorted(read_exposures(folder, ["impression"]).column("impression").to_pylist())


def parts(folder):
    return sorted(folder.glob("part-*.parquet"))


def open_files(folder):
    return sorted((folder / "_open").iterdir())


def eventually(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_events_can_be_read_at_once_and_are_parquet_after_closing(tmp_path, events_of):
    events = events_of(10)
    with ParquetSink(tmp_path) as sink:
        sink.write(events)
        assert read_exposures(tmp_path).to_pylist() == events.to_arrow().to_pylist()
        assert parts(tmp_path) == []
    assert read_exposures(tmp_path).to_pylist() == events.to_arrow().to_pylist()
    (part,) = parts(tmp_path)
    assert pq.read_table(part).to_pylist() == events.to_arrow().to_pylist()
    assert open_files(tmp_path) == []
    assert sink.dropped == 0


def test_a_folder_of_them_is_what_other_readers_of_parquet_take(tmp_path, events_of):
    import duckdb

    sink = ParquetSink(tmp_path)
    sink.write(events_of(10, "a"))
    sink.flush()
    sink.write(events_of(5, "b"))
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/*.parquet'").fetchall() == [(10,)]  # noqa: S608
    assert pq.read_table(tmp_path).num_rows == 10  # the open file is left out by its folder's name
    assert read_exposures(tmp_path).num_rows == 15
    sink.close()


def test_files_are_rolled_by_rows_and_by_age(tmp_path, events_of):
    with ParquetSink(tmp_path / "rows", rows=25) as sink:
        for i in range(10):
            sink.write(events_of(10, f"b{i}"))
        eventually(lambda: len(parts(tmp_path / "rows")) == 3)
        assert [pq.read_metadata(part).num_rows for part in parts(tmp_path / "rows")] == [30, 30, 30]
    assert len(impressions(tmp_path / "rows")) == 100
    with ParquetSink(tmp_path / "age", seconds=0.05) as sink:
        sink.write(events_of(10))
        eventually(lambda: len(parts(tmp_path / "age")) == 1)  # without a further write
        assert len(impressions(tmp_path / "age")) == 10


def test_mappings_are_taken_too_and_nothing_makes_no_file(tmp_path, events_of):
    with ParquetSink(tmp_path) as sink:
        sink.write([])
        sink.write(events_of(3)[:0])
        assert open_files(tmp_path) == []
        sink.write([dict(event) for event in events_of(3)])
        with pytest.raises(nid.SettingError, match="not an exposure"):
            sink.write([{"unit": "a"}])
    assert impressions(tmp_path) == ["i-0", "i-1", "i-2"]


def test_a_closed_sink_says_so(tmp_path, events_of):
    sink = ParquetSink(tmp_path)
    sink.close()
    sink.close()
    with pytest.raises(nid.SettingError, match="closed"):
        sink.write(events_of(1))


@pytest.mark.parametrize(
    "options", [{"rows": 0}, {"seconds": 0}, {"backlog": -1}, {"rows": True}, {"rows": "9"}]
)
def test_options_out_of_range(tmp_path, options):
    with pytest.raises(nid.SettingError, match=next(iter(options))):
        ParquetSink(tmp_path, **options)


def test_eight_threads_lose_nothing(tmp_path, events_of):
    with ParquetSink(tmp_path, rows=150) as sink, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(sink.write, events_of(7, f"t{i}")) for i in range(200)]:
            done.result()
        assert len(set(impressions(tmp_path))) == 1400  # while files are being moved
    found = impressions(tmp_path)
    assert len(found) == len(set(found)) == 1400


def test_reading_while_files_move_sees_every_event_once(tmp_path, events_of):
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            seen.append(impressions(tmp_path))

    reader = threading.Thread(target=read)
    with ParquetSink(tmp_path, rows=10) as sink:
        sink.write(events_of(1, "first"))
        reader.start()
        for i in range(150):
            sink.write(events_of(5, f"w{i}"))
            if i % 5 == 0:
                sink.flush()
    stop.set()
    reader.join()
    assert len(seen) > 5
    assert all(len(found) == len(set(found)) for found in seen)
    assert [len(found) for found in seen] == sorted(len(found) for found in seen)  # and none is ever missing
    assert len(impressions(tmp_path)) == 751


WRITER = """
import sys
import numpy as np
from nid_plugins.experiment import Exposures, ParquetSink
folder, name, batches, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sink = ParquetSink(folder, rows=rows)
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


def test_several_processes_share_a_folder(tmp_path, python):
    processes = [python(WRITER, tmp_path, f"p{i}", 30, 100) for i in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = impressions(tmp_path)
    assert found == sorted(f"p{p}-{b}-{i}" for p in range(3) for b in range(30) for i in range(20))
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("rows", [10**6, 200])  # in the middle of writing, and of moving files too
def test_what_was_written_survives_a_kill(tmp_path, python, rows):
    process = python(WRITER, tmp_path, "p", 10**6, rows)
    written = -1
    for line in process.stdout:
        written = int(line)
        if written >= 40:
            break
    os.kill(process.pid, signal.SIGKILL)
    written = max([written, *map(int, process.stdout.read().split())])
    assert process.wait() == -signal.SIGKILL
    before = impressions(tmp_path)
    assert len(before) == len(set(before))
    assert {f"p-{b}-{i}" for b in range(written + 1) for i in range(20)} <= set(before)
    ParquetSink(tmp_path).close()  # the next sink puts it where it belongs
    assert open_files(tmp_path) == []
    assert impressions(tmp_path) == before


def test_a_living_process_keeps_its_file(tmp_path, python, events_of):
    process = python(WRITER, tmp_path, "p", 10**6, 10**6)
    process.stdout.readline()
    with ParquetSink(tmp_path) as sink:
        sink.write(events_of(1))
        sink.flush()
        assert len(parts(tmp_path)) == 1  # our own
        assert len(open_files(tmp_path)) == 1
    assert process.poll() is None


@pytest.mark.parametrize("cut", [1, 7, 100, 2000])
def test_a_torn_batch_is_left_out_and_those_before_it_are_kept(tmp_path, events_of, cut):
    file = AheadFile.create(tmp_path / "_open")
    for i in range(3):
        file.append(events_of(50, f"b{i}").to_arrow())
    size = file.path.stat().st_size
    file.close()
    os.truncate(file.path, size - cut)
    expected = sorted(f"b{b}-{i}" for b in range(2) for i in range(50))
    assert impressions(tmp_path) == expected
    ParquetSink(tmp_path).close()
    assert impressions(tmp_path) == expected
    assert open_files(tmp_path) == []


def test_a_file_cut_within_its_header_holds_nothing(tmp_path):
    file = AheadFile.create(tmp_path / "_open")
    file.close()
    os.truncate(file.path, 10)
    assert impressions(tmp_path) == []
    ParquetSink(tmp_path).close()
    assert open_files(tmp_path) == []


def test_a_crash_between_moving_and_deleting_makes_nothing_double(tmp_path, events_of):
    sink = ParquetSink(tmp_path)
    sink.write(events_of(10))
    (left,) = open_files(tmp_path)
    copy = left.read_bytes()
    sink.close()
    left.write_bytes(copy)
    assert len(impressions(tmp_path)) == 10
    ParquetSink(tmp_path).close()
    assert open_files(tmp_path) == []
    assert len(impressions(tmp_path)) == 10


def test_unfinished_parquet_files_of_the_dead_are_cleared_away(tmp_path):
    (tmp_path / "_open").mkdir()
    (tmp_path / "_open" / "1-2-3.parquet.tmp").write_bytes(b"half")
    ParquetSink(tmp_path).close()
    assert open_files(tmp_path) == []


def test_a_forked_process_writes_files_of_its_own(tmp_path, events_of):
    sink = ParquetSink(tmp_path)
    sink.write(events_of(5, "parent"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking beside threads
        child = os.fork()
    if child == 0:
        try:
            sink.write(events_of(5, "child"))
            sink.flush()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sink.write(events_of(5, "later"))
    sink.close()
    found = impressions(tmp_path)
    assert found == sorted(f"{who}-{i}" for who in ("parent", "child", "later") for i in range(5))


def test_what_is_no_folder_of_exposures_is_said(tmp_path):
    with pytest.raises(nid.ArtefactError, match="no such folder"):
        read_exposures(tmp_path / "nowhere")
    assert read_exposures(tmp_path).num_rows == 0
    with pytest.raises(nid.SettingError, match="no such column"):
        read_exposures(tmp_path, ["clicks"])
    (tmp_path / "part-1.parquet").write_text("no Parquet")
    with pytest.raises(nid.ArtefactError, match="part-1"):
        read_exposures(tmp_path)
