"""Falling back: whatever a treatment does, the request is answered, and the log says by whom and why."""

from __future__ import annotations

import errno
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import nid_plugins as nid
from nid_plugins.experiment import Answer, Design, ParquetSink, Router, assign, read_exposures

DESIGN = Design("exp")


def good(columns):
    return np.full(len(columns["site"]), 0.25)


@pytest.fixture
def router_of(schema):
    made = []

    def make(treatment, control=good, **options):
        models = {
            name: model
            if isinstance(model, nn.Module | nid.BlackBox)
            else nid.wrap(model, schema, output="probability")
            for name, model in (("control", control), ("treatment", treatment))
        }
        made.append(Router(DESIGN, models, schema, **options))
        return made[-1]

    yield make
    for router in made:
        router.close()


def raises(columns):
    raise ValueError("no such ad")


class Broken(nn.Module):
    """A module whose output is wrong in a chosen way."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.out(x)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (raises, "raised ValueError"),
        (lambda c: np.full(len(c["site"]), np.nan), "invalid output"),
        (lambda c: np.full(len(c["site"]), np.inf), "invalid output"),
        (lambda c: np.full(len(c["site"]), 1.5), "invalid output"),
        (lambda c: np.full(len(c["site"]) + 1, 0.5), "invalid output"),
        (lambda c: np.full((len(c["site"]), 2), 0.5), "invalid output"),
        (lambda c: ["x"] * len(c["site"]), "invalid output"),
        (lambda c: None, "invalid output"),
        (Broken(lambda x: x[:, :2]), "invalid output"),
        (Broken(lambda x: x @ torch.ones(7)), "raised RuntimeError"),
        (Broken(lambda x: (x, x)), "invalid output"),
    ],
)
@pytest.mark.parametrize("limit_ms", [None, 5000])
def test_a_treatment_that_fails_is_answered_by_the_control(
    router_of, frame_of, recorder, model, reason, limit_ms
):
    frame = frame_of(100)
    router = router_of(model, sinks=[recorder], limit_ms=limit_ms)
    answer = router.predict(frame)
    theirs = assign(DESIGN, frame["user_id"]) == 1
    assert (answer.predictions == 0.25).all()
    assert answer.fallback.tolist() == theirs.tolist()
    assert set(answer.served) == {"control"}
    assert len(recorder.events) == 100
    for event, treated in zip(recorder.events, theirs, strict=True):
        assert event["variant"] == ("treatment" if treated else "control")
        assert event["served"] == "control"
        assert event["fallback"] is bool(treated)
        assert event["reason"] == (reason if treated else None)
    status = router.status["treatment"]
    assert (status.calls, status.failures, status.rows, status.fallbacks) == (1, 1, 0, theirs.sum())
    assert status.last_error
    assert router.status["control"].rows == 100


def test_a_slow_treatment_is_not_waited_for(router_of, frame_of, recorder):
    release = threading.Event()

    def slow(columns):
        release.wait(60)
        return np.full(len(columns["site"]), 0.75)

    router = router_of(slow, limit_ms=50, sinks=[recorder])
    started = time.perf_counter()
    answer = router.predict(frame_of(100))
    waited = time.perf_counter() - started
    release.set()
    theirs = answer.fallback
    assert theirs.any()
    assert (answer.predictions == 0.25).all()
    assert set(answer.reasons[theirs]) == {"slow"}
    assert 0.05 <= waited < 30  # it would have been 60
    latencies = recorder.batches[0].column("latency_ms")
    assert (latencies[theirs] >= 50).all()  # the wait in vain is part of what the user saw
    assert "50 ms" in router.status["treatment"].last_error


def test_a_treatment_in_time_is_served_from_its_own_thread(router_of, frame_of):
    threads = []

    def quick(columns):
        threads.append(threading.current_thread())
        return np.full(len(columns["site"]), 0.75)

    answer = router_of(quick, limit_ms=10_000).predict(frame_of(100))
    assert not answer.fallback.any()
    assert set(answer.predictions) == {0.25, 0.75}
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_a_stuck_treatment_piles_up_no_threads_and_keeps_no_request(router_of, frame_of):
    release = threading.Event()
    inside = []

    def stuck(columns):
        inside.append(1)
        release.wait(60)
        return np.full(len(columns["site"]), 0.75)

    def threads():
        return sum(thread.name == "nid-treatment" for thread in threading.enumerate())

    wait_until(lambda: threads() == 0)  # of the tests before
    # Long enough for a thread to begin on a busy machine: a call that nobody waits for any more is not made.
    router = router_of(stuck, limit_ms=250, workers=3, failures=1000)
    reasons = [set(router.predict(frame_of(20, i)).reasons) - {None} for i in range(30)]
    assert reasons == [{"slow"}] * 3 + [{"busy"}] * 27
    assert threads() == 3
    assert router.status["treatment"].busy == len(inside) == 3
    release.set()
    wait_until(lambda: router.status["treatment"].busy == 0)
    assert not router.predict(frame_of(20)).fallback.any()
    assert threads() == 3  # used again
    router.close()
    wait_until(lambda: threads() == 0)


def wait_until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_call_nobody_waits_for_is_not_made_when_its_turn_comes(router_of, frame_of, schema):
    release, inside = threading.Event(), []

    class Module(nn.Module):
        def forward(self, x):
            inside.append(len(x))
            release.wait(60)
            return torch.full((len(x),), 0.75)

    box = nid.wrap(Module(), schema, output="probability")  # a model's calls take turns, so all but one queue
    router = router_of(box, limit_ms=20, workers=4, failures=1000)
    for i in range(4):
        assert router.predict(frame_of(20, i)).fallback.any()
    release.set()
    wait_until(lambda: router.status["treatment"].busy == 0)
    assert len(inside) == 1


def test_a_treatment_that_keeps_failing_is_left_alone_for_a_while_and_then_tried_once(router_of, frame_of):
    calls = []
    broken = [True]

    def model(columns):
        calls.append(1)
        if broken[0]:
            raise ValueError
        return np.full(len(columns["site"]), 0.75)

    router = router_of(model, failures=3, pause_s=0.15)
    reasons = [set(router.predict(frame_of(20, i)).reasons) - {None} for i in range(6)]
    assert reasons == [{"raised ValueError"}] * 3 + [{"paused"}] * 3
    assert len(calls) == 3
    assert router.status["treatment"].state == "open"
    time.sleep(0.2)
    assert router.status["treatment"].state == "half-open"
    assert set(router.predict(frame_of(20)).reasons) == {None, "raised ValueError"}  # one try, and it fails
    assert set(router.predict(frame_of(20)).reasons) == {None, "paused"}
    broken[0] = False
    time.sleep(0.2)
    assert not router.predict(frame_of(20)).fallback.any()
    assert router.status["treatment"].state == "closed"
    assert len(calls) == 5
    status = router.status["treatment"]
    assert (status.calls, status.failures) == (5, 4)  # while paused it is not asked
    assert status.fallbacks > status.failures


def test_failures_that_are_not_in_a_row_open_nothing(router_of, frame_of):
    calls = []

    def model(columns):
        calls.append(1)
        if len(calls) % 2:
            raise ValueError
        return np.full(len(columns["site"]), 0.75)

    router = router_of(model, failures=2)
    for i in range(10):
        router.predict(frame_of(20, i))
    assert router.status["treatment"].failures == 5
    assert router.status["treatment"].state == "closed"


def test_one_failing_treatment_does_not_touch_the_other(schema, frame_of):
    from nid_plugins.experiment import Variant

    design = Design("abc", variants=(Variant("a", 0.4), Variant("b", 0.3), Variant("c", 0.3)))
    frame = frame_of(300)
    options = {"output": "probability"}
    models = {"a": good, "b": raises, "c": lambda c: np.full(len(c["site"]), 0.75)}
    answer = Router(design, models, schema, wrap=options).predict(frame)
    variants = assign(design, frame["user_id"])
    assert (answer.predictions == np.where(variants == 2, 0.75, 0.25)).all()
    assert answer.fallback.tolist() == (variants == 1).tolist()


def test_rows_a_treatment_with_fields_of_its_own_cannot_take_fall_back(router_of, frame_of):
    wide = nid.FeatureSchema([nid.SparseField("site", 50), nid.SparseField("hour", 24)])
    box = nid.wrap(lambda c: c["hour"] / 24, wide, output="probability")
    router = router_of(box)
    frame = frame_of(50)
    answer = router.predict(frame)
    assert set(answer.reasons) == {None, "raised FrameError"}
    assert "hour" in router.status["treatment"].last_error
    frame["hour"] = np.arange(50) % 24
    theirs = assign(DESIGN, frame["user_id"]) == 1
    answer = router.predict(frame)
    np.testing.assert_allclose(answer.predictions, np.where(theirs, frame["hour"] / 24, 0.25))
    frame["hour"][np.flatnonzero(~theirs)] = 99  # rows that are not the treatment's are not its business
    assert not router.predict(frame).fallback.any()
    assert router.status["treatment"].state == "closed"


def test_a_control_that_fails_raises_with_what_could_be_answered(router_of, frame_of, recorder):
    frame = frame_of(100)
    router = router_of(
        lambda c: np.full(len(c["site"]), 0.75), control=raises, sinks=[recorder], covariate=True
    )
    with pytest.raises(nid.ModelError, match="no such ad") as caught:
        router.predict(frame)
    assert isinstance(caught.value, nid.errors.UnansweredError)
    answer = caught.value.answer
    assert isinstance(answer, Answer)
    theirs = assign(DESIGN, frame["user_id"]) == 1
    assert (answer.predictions[theirs] == 0.75).all()
    assert np.isnan(answer.predictions[~theirs]).all()
    assert recorder.batches == []  # nothing was shown as far as the router knows
    router.expose(answer)
    assert [e["unit"] for e in recorder.events] == frame["user_id"][theirs].tolist()


def test_the_control_is_asked_again_however_often_it_failed(router_of, frame_of):
    calls = []

    def flaky(columns):
        calls.append(1)
        if len(calls) <= 20:
            raise OSError
        return good(columns)

    router = router_of(good, control=flaky, failures=2)
    for i in range(20):
        with pytest.raises(nid.errors.UnansweredError):
            router.predict(frame_of(20, i))
    assert not np.isnan(router.predict(frame_of(20)).predictions).any()


def test_when_both_fail_nothing_is_answered(router_of, frame_of):
    with pytest.raises(nid.errors.UnansweredError, match="20 of 20 rows") as caught:
        router_of(raises, control=raises).predict(frame_of(20))
    assert np.isnan(caught.value.answer.predictions).all()


class Failing:
    """A sink that fails while ``broken``."""

    def __init__(self):
        self.broken = True
        self.rows = 0

    def write(self, events):
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.rows += len(events)

    def flush(self):
        raise OSError(errno.EIO, "no flush")

    def close(self):
        raise OSError(errno.EIO, "no close")


def test_a_broken_sink_fails_no_request_is_said_once_and_counted(router_of, frame_of, tmp_path):
    sink = Failing()
    router = router_of(good, sinks=[sink, ParquetSink(tmp_path)])
    with pytest.warns(nid.NidWarning, match="No space left") as said:
        answers = [router.predict(frame_of(10, i)) for i in range(5)]
    assert len(said) == 1
    assert [len(answer) for answer in answers] == [10] * 5
    assert router.dropped == 50
    sink.broken = False
    router.predict(frame_of(10))
    assert sink.rows == 10
    assert router.dropped == 50
    with pytest.warns(nid.NidWarning, match="no flush"):
        router.flush()
    router.close()
    assert read_exposures(tmp_path).num_rows == 60  # the other sink has them all


def test_what_a_sink_says_it_dropped_counts(router_of, frame_of, recorder):
    recorder.dropped = 7
    router = router_of(good, sinks=[recorder])
    router.predict(frame_of(10))
    assert router.dropped == 7
