"""The Parquet sink when the disk is in trouble: nothing reaches the request, and what is lost is counted."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import warnings

import pytest

import nid_plugins as nid
from nid_plugins.experiment import ParquetSink, read_exposures
from nid_plugins.experiment.ahead import AheadFile


def impressions(folder):
    return sorted(read_exposures(folder, ["impression"]).column("impression").to_pylist())


def parts(folder):
    return sorted(folder.glob("part-*.parquet"))


def write(sink, batches):
    for events in batches:
        sink.write(events)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes only part of each write while ``state["full"]``."""
    state = {"full": False}
    write = os.write

    def limited(descriptor, data):
        if not state["full"] or descriptor <= 2:
            return write(descriptor, data)
        if len(data) > 100:
            return write(descriptor, bytes(data)[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", limited)
    return state


def test_a_full_disk_is_said_once_and_nothing_is_lost_when_there_is_room_again(
    tmp_path, events_of, full_disk
):
    sink = ParquetSink(tmp_path)
    sink.write(events_of(10, "before"))
    full_disk["full"] = True
    with pytest.warns(nid.NidWarning, match="No space left") as said:
        write(sink, [events_of(10, f"full{i}") for i in range(5)])
    assert len(said) == 1
    assert len(impressions(tmp_path)) == 10  # the torn batches are not in the way of the others
    full_disk["full"] = False
    sink.write(events_of(10, "after"))
    assert len(impressions(tmp_path)) == 70
    sink.close()
    assert len(impressions(tmp_path)) == 70
    assert sink.dropped == 0


def test_what_does_not_fit_into_memory_either_is_counted(tmp_path, events_of, full_disk):
    sink = ParquetSink(tmp_path, backlog=25)
    full_disk["full"] = True
    with pytest.warns(nid.NidWarning, match="keeps trying"):
        write(sink, [events_of(10, f"full{i}") for i in range(5)])
    assert sink.dropped == 30
    full_disk["full"] = False
    sink.close()
    assert impressions(tmp_path) == sorted(f"full{b}-{i}" for b in range(2) for i in range(10))
    assert sink.dropped == 30


def test_many_small_batches_that_waited_are_written_in_order(tmp_path, events_of, full_disk):
    sink = ParquetSink(tmp_path)
    full_disk["full"] = True
    with pytest.warns(nid.NidWarning, match="keeps trying"):
        write(sink, [events_of(1, f"b{i:03}") for i in range(200)])
    assert len(sink._waiting) < 100
    full_disk["full"] = False
    sink.close()
    found = read_exposures(tmp_path)["impression"].to_pylist()
    assert found == [f"b{i:03}-0" for i in range(200)]
    assert sink.dropped == 0


def test_the_request_is_spared_where_warnings_are_errors(tmp_path, events_of, full_disk):
    sink = ParquetSink(tmp_path, backlog=0)
    full_disk["full"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sink.write(events_of(10))
    assert sink.dropped == 10


def test_a_file_that_cannot_be_opened_is_said_and_the_others_are_moved(tmp_path, events_of):
    (tmp_path / "_open" / "0-odd.arrow").mkdir(parents=True)  # even root cannot open a folder for writing
    for name in ("a", "b"):
        file = AheadFile.create(tmp_path / "_open")
        file.append(events_of(3, name).to_arrow())
        file.close()
    with pytest.warns(nid.NidWarning, match="left"):
        sink = ParquetSink(tmp_path)
    sink.close()
    assert len(parts(tmp_path)) == 2


def test_a_folder_that_is_deleted_is_made_again(tmp_path, events_of):
    home = tmp_path / "exposures"
    sink = ParquetSink(home)
    sink.write(events_of(10, "a"))
    shutil.rmtree(home)
    sink.write(events_of(10, "b"))
    sink.close()
    assert len(impressions(home)) == 20  # the deleted file was still open


def test_parquet_that_cannot_be_written_stays_where_it_is_and_is_tried_again(
    tmp_path, events_of, monkeypatch
):
    sink = ParquetSink(tmp_path)
    sink.write(events_of(10))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.warns(nid.NidWarning, match="cannot move") as said:
            sink.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sink.flush()
    assert len(said) == 1
    assert parts(tmp_path) == []
    assert len(impressions(tmp_path)) == 10
    sink.close()
    assert len(parts(tmp_path)) == 1
    assert len(impressions(tmp_path)) == 10
    assert list((tmp_path / "_open").iterdir()) == []


def test_a_system_without_file_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(nid.UnsupportedError, match="file locks"):
        ParquetSink(tmp_path)


LIMITED = """
import resource, sys, warnings
import numpy as np
from nid_plugins.experiment import Exposures, ParquetSink
warnings.simplefilter("ignore")
sink = ParquetSink(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for b in range(60):
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000 if 20 <= b < 40 else hard, hard))
    columns = dict(
        experiment="e", unit=[f"u{i}" for i in range(20)], variant="control", served="control", fallback=False,
        reason=None, impression=[f"p-{b}-{i}" for i in range(20)], request="r",
        timestamp=np.datetime64(0, "us"), latency_ms=np.ones(20, "f4"), prediction=np.ones(20), covariate=float("nan"),
    )
    sink.write(Exposures(columns, 20))
    print(len(sink._waiting), flush=True)
sink.close()
assert sink.dropped == 0
"""


def test_the_kernel_refuses_to_let_the_file_grow_for_a_while(tmp_path, python):
    process = python(LIMITED, tmp_path)
    waiting = list(map(int, process.communicate(timeout=60)[0].split()))
    assert process.returncode == 0
    assert (waiting[19], waiting[40]) == (0, 0)
    assert waiting[39] > 0
    assert impressions(tmp_path) == sorted(f"p-{b}-{i}" for b in range(60) for i in range(20))
