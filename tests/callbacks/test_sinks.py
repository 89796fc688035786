"""Sinks: what they write, and that a full disk or a missing package is said once while training goes on."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import ClassVar

import pytest

from nid_plugins.callbacks import JsonLinesSink, MLflowSink, TensorBoardSink
from nid_plugins.callbacks.sinks import scalars_of
from nid_plugins.errors import NidWarning, SettingError

try:
    import resource
except ImportError:  # it is POSIX's
    resource = None


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def accumulator_or_skip():
    """Return what reads TensorBoard's files, where PyTorch can write them."""
    pytest.importorskip("torch")
    return pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the optional package tensorboard"
    )


@pytest.fixture
def run(watched, learner, labels):
    """Makes the checks of a short training with some sinks, and returns its core."""

    def make(*sinks, epochs=3, **options):
        core = watched(learner, labels, sinks=sinks, **options)
        for epoch in range(epochs):
            learner.weights = [float(epoch), 1.0]
            core.epoch_end(epoch, {"loss": 0.5})
        core.end()
        return core

    return make


def test_json_lines(run, tmp_path):
    path = tmp_path / "checks.jsonl"
    core = run(JsonLinesSink(path))
    written = lines_of(path)
    assert written == [check.to_dict() for check in core.history]
    assert [line["epoch"] for line in written] == [0, 1, 2]
    assert [tuple(found["fields"]) for found in written[2]["ranking"]] == core.history[2].ranking
    assert written[0]["drift"] is None
    assert written[1]["drift"]["entered"] == [["a", "b"]]
    assert written[1]["gains"] == core.history[1].gains
    assert "report" not in written[0]


def test_json_lines_with_whole_reports_are_appended_to(run, tmp_path):
    path = tmp_path / "checks.jsonl"
    for _ in range(2):
        run(JsonLinesSink(path, report=True), epochs=2)
    assert [line["epoch"] for line in lines_of(path)] == [0, 1, 0, 1]
    assert len(lines_of(path)[0]["report"]["instances"]["r2"]) == 12


def test_a_sink_opens_again_when_training_goes_on(run, tmp_path):
    core = run(JsonLinesSink(tmp_path / "checks.jsonl"), epochs=1)
    core.begin()
    core.epoch_end(1)
    core.end()
    assert [line["epoch"] for line in lines_of(tmp_path / "checks.jsonl")] == [0, 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_a_full_disk_is_said_once_and_the_other_sinks_go_on(run, tmp_path):
    with pytest.warns(
        NidWarning, match=r"JsonLinesSink \(number 1\) failed.*No space left on device"
    ) as caught:
        core = run(JsonLinesSink("/dev/full"), JsonLinesSink(tmp_path / "checks.jsonl"))
    assert len(caught) == 1
    assert len(core.history) == len(lines_of(tmp_path / "checks.jsonl")) == 3


def test_a_folder_that_is_not_there_is_said_once(run, tmp_path):
    with pytest.warns(NidWarning, match="No such file or directory") as caught:
        run(JsonLinesSink(tmp_path / "absent" / "checks.jsonl"))
    assert len(caught) == 1


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_whole_lines(tmp_path):
    """A limit on the file's size cuts the second line short; the third finds room again."""
    code = """
        import resource, signal, sys, warnings
        from types import SimpleNamespace
        from nid_plugins.callbacks import JsonLinesSink

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        class Check:
            def __init__(self, text):
                self.text = text
            def to_dict(self, report):
                return {"text": self.text}
        sink = JsonLinesSink(sys.argv[1])
        sink.write(Check("first"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        try:
            sink.write(Check("x" * 1000))
        except Exception as error:
            print(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.write(Check("third"))
        sink.close()
        sink.close()
    """
    path = tmp_path / "checks.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "ArtefactError\n"
    assert lines_of(path) == [{"text": "first"}, {"text": "third"}]


@pytest.mark.parametrize("kind", ["JsonLinesSink", "TensorBoardSink"])
def test_a_run_that_is_ended_by_sigterm_keeps_what_was_written(tmp_path, kind):
    if kind == "TensorBoardSink":
        accumulator = accumulator_or_skip()
    code = """
        import sys, time
        import numpy as np
        import nid_plugins as nid
        from nid_plugins import callbacks

        frame = {name: np.random.default_rng(1).integers(0, 4, 50) for name in "abc"}
        schema = nid.FeatureSchema([nid.SparseField(name, 4) for name in "abc"])
        core = callbacks.InteractionMonitor(
            lambda c: (c["a"] == 1) * 2.0 * c["b"], schema, frame, budget=None, wrap={"output": "logit"},
            sinks=[getattr(callbacks, sys.argv[1])(sys.argv[2])],
            detect={"instances": 8, "perturbations": 80},
        )
        core.begin()
        core.epoch_end(0)
        core.epoch_end(1)
        print("trained", flush=True)
        time.sleep(600)
    """
    path = tmp_path / "written"
    command = [sys.executable, "-c", textwrap.dedent(code), kind, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "trained\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
    if kind == "JsonLinesSink":
        assert [line["epoch"] for line in lines_of(path)] == [0, 1]
    else:
        events = accumulator.EventAccumulator(str(path))
        events.Reload()
        assert [event.step for event in events.Scalars("interactions/r2")] == [0, 1]


def test_without_tensorboard_it_is_said_once(run, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    for name in (
        "tensorboard",
        "tensorflow",
    ):  # the import statement then raises as if they were not installed
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.warns(
        NidWarning, match="TensorBoardSink.*MissingExtraError.*nid-plugins.tensorboard"
    ) as caught:
        core = run(TensorBoardSink(tmp_path))
    assert len(caught) == 1
    assert len(core.history) == 3


def test_without_mlflow_it_is_said_once(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.warns(NidWarning, match="MLflowSink.*MissingExtraError.*nid-plugins.mlflow") as caught:
        core = run(MLflowSink())
    assert len(caught) == 1
    assert len(core.history) == 3


def test_curves_of_pytorch_s_writer(run, tmp_path):
    accumulator = accumulator_or_skip()
    core = run(TensorBoardSink(tmp_path, writer="torch"))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    strengths = {e.step: e.value for e in events.Scalars("interactions/strength/c__x__d")}
    for check in core.history:
        (found,) = [i for i in check.report if i.fields == ("c", "d")]
        assert strengths[check.epoch] == pytest.approx(found.strength)
    assert [e.step for e in events.Scalars("interactions/r2")] == [0, 1, 2]
    assert "interactions/ranking/text_summary" in events.Tags()["tensors"]


@pytest.mark.skipif(resource is None, reason="limits of a file's size are those of POSIX")
def test_a_disk_that_fills_up_under_pytorch_s_writer_is_said_once(run, tmp_path):
    accumulator_or_skip()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling:
        """Not a byte more from the second check on; Python ignores the signal that comes with it."""

        def write(self, check):
            if check.epoch == 1:
                (events,) = (tmp_path / "events").iterdir()
                resource.setrlimit(resource.RLIMIT_FSIZE, (events.stat().st_size, limits[1]))

        def close(self):
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    class Last:
        checks: ClassVar[list[int]] = []

        def write(self, check):
            self.checks.append(check.epoch)

        def close(self):
            pass

    try:
        with pytest.warns(NidWarning, match="the sink TensorBoardSink.*too large") as caught:
            core = run(Filling(), TensorBoardSink(tmp_path / "events", "torch"), Last())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len([w for w in caught if "TensorBoardSink" in str(w.message)]) == 1
    assert Last.checks == [0, 1, 2]
    assert len(core.history) == 3


def test_metrics_of_mlflow(run, tmp_path, monkeypatch):
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("the optional package mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"file:{tmp_path / 'runs'}")
    try:
        core = run(MLflowSink())
        assert mlflow.active_run() is None  # it was started by the sink, and ended
        with mlflow.start_run() as own:
            run(MLflowSink())
            assert mlflow.active_run().info.run_id == own.info.run_id
        client = mlflow.MlflowClient()
        runs = client.search_runs(["0"])
        assert len(runs) == 2
        for recorded in runs:
            history = client.get_metric_history(recorded.info.run_id, "interactions/strength/c__x__d")
            strengths = [
                next(i.strength for i in check.report if i.fields == ("c", "d")) for check in core.history
            ]
            assert [m.value for m in sorted(history, key=lambda m: m.step)] == pytest.approx(strengths)
    finally:
        mlflow.set_tracking_uri(before)


def test_curves_are_finite_and_those_of_the_top(run):
    check = run().history[1]
    curves = scalars_of(check, 1)
    assert {"interactions/r2", "interactions/instances", "interactions/seconds"} <= set(curves)
    assert len([name for name in curves if "/strength/" in name]) == 1
    check.r2 = float("nan")
    assert "interactions/r2" not in scalars_of(check, 1)


class Failing:
    def __init__(self):
        self.writes = 0

    def write(self, check):
        self.writes += 1
        raise OSError("the server does not answer")

    def close(self):
        raise OSError("nor now")


def test_a_sink_that_keeps_failing_is_left_out(run):
    sink = Failing()
    with pytest.warns(NidWarning) as caught:
        run(sink, epochs=6)
    assert sink.writes == 3
    assert [str(w.message).split(" failed")[0] for w in caught] == [
        "the sink Failing (number 1)",
        "closing the sink Failing (number 1)",
    ]


def test_bad_options():
    with pytest.raises(SettingError, match="unknown writer"):
        TensorBoardSink("runs", writer="jax")
    with pytest.raises(SettingError):
        JsonLinesSink(3)
    with pytest.raises(SettingError):
        TensorBoardSink(None)


def test_nothing_is_made_before_there_is_a_check(tmp_path):
    JsonLinesSink(tmp_path / "checks.jsonl").close()
    TensorBoardSink(tmp_path / "logs").close()
    MLflowSink().close()
    assert not list(tmp_path.iterdir())
