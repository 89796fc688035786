"""Crosses counted and written by workers: what one process makes, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed")
pytest.importorskip("joblib", reason="the optional package joblib is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

import nid_plugins as nid
from nid_plugins.crosses.sources import PIECES, ParquetSource
from nid_plugins.crosses.spread import PassWorker, remote_executor
from nid_plugins.detection import ProcessExecutor, RayExecutor, SerialExecutor
from nid_plugins.detection.executors import Executor

SETS = [("user", "item"), ("item", "price"), ("user", "price", "hour"), ("hour", "price")]


class Elsewhere(Executor):
    """What workers elsewhere do, here: the function and every item and result are pickled on their way."""

    name = "elsewhere"
    remote = True

    def map(self, function, items):
        import cloudpickle

        data = cloudpickle.dumps(function)
        held = cloudpickle.loads(data)
        for item in items:
            yield cloudpickle.loads(cloudpickle.dumps(held(cloudpickle.loads(cloudpickle.dumps(item)))))


@pytest.fixture(scope="module")
def schema():
    return nid.FeatureSchema(
        [
            nid.SparseField("user", 10**7),
            nid.SparseField("item", 300),
            nid.DenseField("price"),
            nid.SparseField("hour", 24),
        ]
    )


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(8)
    n = 30_000
    price = rng.lognormal(size=n)
    price[::50] = np.nan
    return {
        "user": rng.zipf(1.3, n) % 10**7,
        "item": rng.integers(0, 300, n) ** 2 // 300,
        "price": price,
        "hour": rng.integers(0, 24, n),
    }


@pytest.fixture(scope="module")
def files(frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    table = pa.table(frame)
    for k, start in enumerate(range(0, 30_000, 12_000)):
        pq.write_table(table.slice(start, 12_000), folder / f"day-{k}.parquet", row_group_size=1500)
    return folder


@pytest.fixture(scope="module", params=["elsewhere", "processes", "ray"])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("ray")
        return RayExecutor(1)
    return ProcessExecutor(2) if request.param == "processes" else Elsewhere()


def same(one, other):
    assert one.names == other.names
    for a, b in zip(one.crosses, other.crosses, strict=True):
        assert (a.fields, a.sizes, a.exact) == (b.fields, b.sizes, b.exact)
        np.testing.assert_array_equal(a.keys, b.keys)
    assert one.edges.keys() == other.edges.keys()
    for name in one.edges:
        np.testing.assert_array_equal(one.edges[name], other.edges[name])


def test_the_same_crosses_and_the_same_ids(executor, files, frame, schema, tmp_path):
    settings = {"bins": 20, "min_count": 3}
    whole = nid.fit_crosses(SETS, frame, schema, bins=20, min_count=3)
    crosses = nid.fit_crosses(SETS, files, schema, executor=executor, **settings)
    same(crosses, whole)
    crosses.transform(files, out=tmp_path / "ids", keep=["item"], executor=executor)
    table = pq.read_table(tmp_path / "ids")
    np.testing.assert_array_equal(
        np.column_stack([table[name].to_numpy() for name in crosses.names]), whole.transform(frame)
    )
    np.testing.assert_array_equal(table["item"].to_numpy(), frame["item"])


@pytest.mark.parametrize("memory", ["1MiB", "2MiB", "1GB"])
def test_however_many_passes_it_takes(files, schema, memory):
    """Little memory makes filters of several passes, whose state travels to the workers and back."""
    settings = {"bins": 50, "min_count": 2, "memory": memory}
    one = nid.fit_crosses(SETS, files, schema, **settings)
    same(nid.fit_crosses(SETS, files, schema, executor=Elsewhere(), **settings), one)


@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_a_worker_killed_in_the_middle_counts_nothing_twice(
    kind, request, files, schema, tmp_path, monkeypatch
):
    if kind == "ray":
        request.getfixturevalue("ray")
    flag = str(tmp_path / "killed")

    class Deadly(Executor):
        """Lets a real executor work, and one of its workers die after half of a piece's work is done."""

        name = "deadly"
        remote = True
        workers = (RayExecutor if kind == "ray" else ProcessExecutor)(2)

        def map(self, function, items):
            items = list(items)

            def dying(numbered):
                number, item = numbered
                result = function(item)
                if number == len(items) // 2 and not os.path.exists(flag):  # noqa: PTH110 - pickled by value
                    open(flag, "x").close()  # noqa: PTH123 - as above
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return self.workers.map(dying, enumerate(items))

    sets = [("item", "hour")]
    same(nid.fit_crosses(sets, files, schema, executor=Deadly()), nid.fit_crosses(sets, files, schema))
    assert os.path.exists(flag)  # noqa: PTH110 - as above


def test_what_a_killed_writer_left_is_cleared_away(files, schema, tmp_path):
    crosses = nid.fit_crosses(SETS[:1], files, schema)

    class Half(Elsewhere):
        def map(self, function, items):
            items = list(items)
            yield function(items[0])
            (tmp_path / ".ids.partial" / ".part-00001.parquet.abc.tmp").write_bytes(b"half a file")
            for item in items:  # the first again, as when its worker died after writing it
                yield function(item)

    crosses.transform(files, out=tmp_path / "ids", executor=Half())
    names = sorted(path.name for path in (tmp_path / "ids").iterdir())
    assert names == ["_manifest.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert pq.read_table(tmp_path / "ids").num_rows == 30_000


def test_pieces_hold_every_row_once_in_order(files, tmp_path, monkeypatch):
    source = ParquetSource(files)
    found = source.pieces()
    assert 2 <= len(found) <= 2 * PIECES
    flat = [fragment for piece in found for fragment in piece]
    assert sum(fragment.rows for fragment in flat) == 30_000
    ends = {}
    for fragment in flat:
        assert fragment.file.path.is_absolute()
        assert fragment.first == ends.get(fragment.file.path, 0)
        ends[fragment.file.path] = fragment.first + fragment.rows
    assert list(ends) == sorted(ends)
    monkeypatch.chdir(files)
    assert ParquetSource("day-0.parquet").pieces()[0][0].file.path == files / "day-0.parquet"


def test_a_worker_starts_from_nothing_with_every_piece(files, schema):
    from nid_plugins.crosses.counting import DirectCounter
    from nid_plugins.crosses.passes import FieldTask

    task = FieldTask("item", DirectCounter(300, 2, 30_000))
    source = ParquetSource(files)
    worker = PassWorker([task], source, schema, ["item"], 1000, None, None)
    piece = source.pieces()[0]
    (first,), (again,) = worker(piece), worker(piece)
    first.close()
    again.close()
    np.testing.assert_array_equal(first.keys, again.keys)
    assert len(first.keys)
    task.close()
    assert not len(task.counter.keys), "the pass itself has counted nothing"


def test_a_damaged_file_is_said_as_in_one_process(schema, frame, tmp_path):
    bad = {**frame, "item": np.where(np.arange(30_000) == 29_000, 300, frame["item"])}
    pq.write_table(pa.table(bad), tmp_path / "bad.parquet", row_group_size=4000)
    errors = []
    for executor in (None, ProcessExecutor(2)):
        with pytest.raises(nid.FrameError) as caught:
            nid.fit_crosses(SETS[:1], tmp_path / "bad.parquet", schema, executor=executor)
        errors.append(caught.value)
    assert errors[0].field == errors[1].field == "item"
    assert "received: 300 at row 29000" in str(errors[0])
    assert "from row 28000 is out of range; received: 300 at row 1000" in str(errors[1])


def test_executors_of_this_process_do_it_here():
    assert remote_executor(None) is None
    assert remote_executor("serial") is None
    assert remote_executor("threads") is None
    assert remote_executor(SerialExecutor()) is None
    assert isinstance(remote_executor("ray"), RayExecutor)


@pytest.mark.parametrize("wrong", ["cluster", 3, True, ["ray"]])
def test_what_is_no_executor_is_refused_before_a_row_is_read(files, schema, tmp_path, wrong):
    with pytest.raises(nid.SettingError, match="unknown executor|not an executor"):
        nid.fit_crosses(SETS, files, schema, executor=wrong)
    crosses = nid.fit_crosses(SETS[:1], files, schema)
    with pytest.raises(nid.SettingError, match="unknown executor|not an executor"):
        crosses.transform(files, out=tmp_path / "ids", executor=wrong)
    assert not (tmp_path / "ids").exists()
