"""Executors: results in order, drawn in the caller's thread, and nothing computed is lost when drawing fails."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

import nid_plugins as nid
from nid_plugins import hookimpl
from nid_plugins.detection import executors
from nid_plugins.detection.executors import Executor, SerialExecutor, ThreadExecutor

EXECUTORS = [SerialExecutor(), ThreadExecutor(), ThreadExecutor(1), ThreadExecutor(4)]


@pytest.fixture(params=EXECUTORS, ids=["serial", "threads", "one thread", "four threads"])
def executor(request):
    return request.param


def test_results_come_in_the_order_of_the_items(executor):
    def uneven(i):
        return sum(range(200_000 if i % 5 == 0 else 1)) + i

    assert list(executor.map(uneven, range(23))) == [uneven(i) for i in range(23)]
    assert list(executor.map(uneven, [])) == []


def test_items_are_drawn_in_the_callers_thread(executor):
    drawn = []

    def items():
        for i in range(9):
            drawn.append(threading.current_thread())
            yield i

    list(executor.map(str, items()))
    assert set(drawn) == {threading.current_thread()}


def test_what_was_drawn_before_a_failure_is_still_yielded(executor):
    def items():
        yield from range(7)
        raise nid.ModelError("the model raised")

    got = []
    with pytest.raises(nid.ModelError, match="the model raised"):
        got.extend(executor.map(str, items()))
    # list.extend drops nothing it was given before the error
    assert got == list("0123456")


def test_a_failing_function_reaches_the_caller_after_the_results_before_it(executor):
    def function(i):
        if i == 3:
            raise ValueError("three")
        return i

    got = []
    with pytest.raises(ValueError, match="three"):
        got.extend(executor.map(function, range(10)))
    assert got == [0, 1, 2]


def test_a_caller_may_stop_early(executor):
    results = executor.map(str, iter(range(1000)))
    assert next(results) == "0"
    results.close()


def test_threads_do_not_run_far_ahead_of_the_caller():
    drawn = []

    def items():
        for i in range(50):
            drawn.append(i)
            yield i

    for i, _ in enumerate(ThreadExecutor(2).map(str, items())):
        assert drawn[-1] <= i + 3


def test_threads_work_beside_the_caller():
    worked = []

    def function(i):
        worked.append(threading.current_thread())
        return i

    list(ThreadExecutor(2).map(function, range(4)))
    assert threading.current_thread() not in worked


class AtOnce:
    """A pool whose work is done by the time it has been submitted."""

    def __init__(self, workers):
        self.workers = workers

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def submit(self, function, item):
        future = Future()
        future.set_result(function(item))
        return future


def test_a_finished_result_is_handed_out_though_there_are_threads_to_spare(monkeypatch):
    monkeypatch.setattr(executors, "ThreadPoolExecutor", AtOnce)
    events = []

    def items():
        for i in range(3):
            events.append(f"drawn {i}")
            yield i

    results = ThreadExecutor(8).map(int, items())
    while (i := next(results, None)) is not None:
        events.append(f"handed {i}")
    assert events == ["drawn 0", "handed 0", "drawn 1", "handed 1", "drawn 2", "handed 2"]


def test_the_default_number_of_threads_is_bounded():
    assert 1 <= ThreadExecutor().workers <= 8
    assert ThreadExecutor(3).workers == 3


class Reversed(Executor):
    """Collects everything first, works backwards, yields in order."""

    name = "reversed"

    def map(self, function, items):
        items = list(items)
        results = [function(item) for item in reversed(items)]
        yield from reversed(results)


def test_a_third_party_executor_changes_nothing(box, frame, plugin):
    class Plugin:
        @hookimpl
        def nid_register_executors(self, register):
            register(Reversed())

    plugin(Plugin())
    settings = {"instances": 40, "perturbations": 200, "progress": False}
    assert nid.detect(box, frame, executor="reversed", **settings) == nid.detect(box, frame, **settings)


def test_an_unknown_executor_lists_the_known_and_touches_nothing(box, frame, small, tmp_path):
    with pytest.raises(nid.SettingError, match="unknown executor.*'serial', 'threads'"):
        nid.detect(box, frame, executor="gpu", resume=tmp_path / "journal", **small)
    assert not (tmp_path / "journal").exists()
