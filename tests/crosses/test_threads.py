"""Threads: the same results however many, fewer where memory or rows are few, and the first error in order."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins import DenseField, FeatureSchema, FrameError, SettingError, SparseField
from nid_plugins.crosses import compiled, frame_source, passes, spread, threads
from nid_plugins.crosses.threads import in_threads, thread_count, threads_for
from nid_plugins.sizes import byte_count

pa = pytest.importorskip("pyarrow", reason="files are Parquet")
pq = pytest.importorskip("pyarrow.parquet")

SCHEMA = FeatureSchema(
    [SparseField("a", 30), SparseField("u", 10**10), DenseField("p"), SparseField("b", 5000), DenseField("q")]
)
SETS = [("a", "b"), ("a", "p", "q"), ("u", "a"), ("b", "p")]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    n = 6000
    return {
        "a": np.minimum(rng.zipf(1.4, n), 30) - 1,
        "u": rng.zipf(1.5, n) * 2_345_678 % 10**10,
        "p": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "b": rng.zipf(1.3, n) % 5000,
        "q": rng.poisson(2, n).astype(np.float32),
    }


@pytest.fixture
def folder(frame, tmp_path):
    table = pa.table({name: pa.array(column, from_pandas=True) for name, column in frame.items()})
    (tmp_path / "log").mkdir()
    for i in range(4):
        pq.write_table(table.slice(i * 1500, 1500), tmp_path / "log" / f"{i}.parquet", row_group_size=400)
    return tmp_path / "log"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(threads, "ROWS_A_THREAD", 500)


@pytest.fixture
def used(monkeypatch):
    """Identifiers of the threads that pieces were worked on in."""
    found = []
    original = spread.PassWorker.count

    def count(self, *arguments):
        found.append(threading.get_ident())
        return original(self, *arguments)

    monkeypatch.setattr(spread.PassWorker, "count", count)
    return found


def keys(crosses):
    return [(cross.name, cross.keys.tolist()) for cross in crosses.crosses]


@pytest.mark.parametrize("memory", ["2MiB", "1GB"])
def test_the_same_crosses_and_ids(frame, folder, tmp_path, memory):
    expected = nid.fit_crosses(SETS, frame, SCHEMA, min_count=2, bins=20, threads=1)
    ids = expected.transform(frame, threads=1)
    for many in (1, 2, 5):
        found = nid.fit_crosses(SETS, folder, SCHEMA, min_count=2, bins=20, threads=many, memory=memory)
        assert keys(found) == keys(expected)
        assert np.array_equal(found.transform(folder, threads=many, memory=memory), ids)
        assert np.array_equal(found.transform(frame, threads=many), ids)
        out = found.transform(folder, out=tmp_path / f"ids{many}", threads=many, memory=memory)
        written = pq.read_table(out).to_pandas()
        assert np.array_equal(written.to_numpy(), ids)
        assert len(list(out.glob("*.parquet"))) == 4


@pytest.mark.parametrize(("memory", "expected"), [("1MiB", 1), ("1GB", 8)])
def test_counters_of_all_threads_fit_into_the_memory(folder, monkeypatch, memory, expected):
    many, taken = [], []
    original = passes.one_pass_here

    def one_pass_here(worker, tasks, source, threads):
        many.append(threads)
        taken.append(threads * sum(task.bytes for task in tasks))
        original(worker, tasks, source, threads)

    monkeypatch.setattr(passes, "one_pass_here", one_pass_here)
    nid.fit_crosses(SETS, folder, SCHEMA, min_count=2, bins=20, memory=memory, threads=8)
    assert min(many) == expected
    assert max(taken) < byte_count(memory)


def test_few_rows_take_one_thread(folder, used, monkeypatch):
    monkeypatch.setattr(threads, "ROWS_A_THREAD", 10_000)
    nid.fit_crosses(SETS[:1], folder, SCHEMA, min_count=2, threads=3)
    assert set(used) == {threading.get_ident()}
    assert threads_for(0, 4) == 1


def test_the_first_error_in_order_is_raised(frame, folder):
    table = pq.read_table(folder / "1.parquet")
    bad = table.set_column(0, "a", pa.array(np.full(1500, 99)))
    for name in ("1.parquet", "3.parquet"):
        pq.write_table(bad, folder / name)
    for _ in range(3):
        with pytest.raises(FrameError, match=r"1\.parquet"):
            nid.fit_crosses(SETS, folder, SCHEMA, min_count=2, threads=4)


def test_errors_of_a_frame_s_pieces_do_not_leave_threads_waiting(frame, monkeypatch):
    crosses = nid.fit_crosses(SETS, frame, SCHEMA, min_count=2)
    crosses._looked_up = 10**6

    def ids_of_rows(*arguments, **options):
        raise MemoryError("no more")

    monkeypatch.setattr(compiled, "ids_of_rows", ids_of_rows)
    monkeypatch.setattr(frame_source, "SHARED_BLOCK", 500)
    with pytest.raises(MemoryError, match="no more"):
        crosses.transform(frame, threads=2)


def test_callers_in_several_threads_share_one_object(frame, folder):
    expected = nid.fit_crosses(SETS, frame, SCHEMA, min_count=2, bins=20, threads=1).transform(
        frame, threads=1
    )
    parts = [slice(start, start + 600) for start in range(0, 6000, 600)]
    rows = [{name: column[i] for name, column in frame.items()} for i in range(200)]
    for _ in range(3):
        fresh = nid.fit_crosses(SETS, frame, SCHEMA, min_count=2, bins=20)  # nothing of it is prepared yet
        start = threading.Barrier(8)

        def ask(how, fresh=fresh, start=start):
            start.wait()
            return how(fresh)

        ways = [
            lambda crosses: crosses.transform(frame, threads=2),
            lambda crosses: crosses.transform(folder, threads=2),
            lambda crosses: np.vstack(
                [crosses.transform({name: column[part] for name, column in frame.items()}) for part in parts]
            ),
            lambda crosses: np.vstack([[crosses.row(row) for row in rows], expected[200:]]),
        ]
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(ask, ways * 2):
                assert np.array_equal(found, expected)


def test_results_are_in_order():
    assert list(in_threads(lambda x: x * x, range(20), 4)) == [x * x for x in range(20)]
    assert list(in_threads(lambda x: x, [], 4)) == []


def test_a_thread_a_core_unless_said():
    usable = getattr(os, "sched_getaffinity", None)
    assert thread_count() == (len(usable(0)) if usable else os.cpu_count())
    assert thread_count(np.int64(3)) == 3


@pytest.mark.parametrize("nonsense", [0, -1, 1.5, True, "two"])
def test_nonsense_for_threads(frame, folder, nonsense):
    crosses = nid.fit_crosses(SETS, frame, SCHEMA, min_count=2)
    for call in (
        lambda: nid.fit_crosses(SETS, frame, SCHEMA, threads=nonsense),
        lambda: nid.fit_crosses(SETS, folder, SCHEMA, threads=nonsense),
        lambda: crosses.transform(frame, threads=nonsense),
        lambda: crosses.transform(folder, threads=nonsense),
    ):
        with pytest.raises(SettingError, match="threads"):
            call()
