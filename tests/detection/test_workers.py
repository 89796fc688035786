"""Executors whose workers hold the model: the report of one process, and killed workers are made good."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.process_executor import ProcessExecutor
from nid_plugins.detection.ray_executor import RayExecutor

SETTINGS = {"instances": 40, "perturbations": 150, "progress": False}


@pytest.fixture(scope="module", params=["processes", "ray"])
def workers(request):
    """Return a maker of executors with two workers, of one kind."""
    if request.param == "ray":
        request.getfixturevalue("ray")
        return RayExecutor
    pytest.importorskip("joblib", reason="the optional package joblib is not installed")
    return ProcessExecutor


@pytest.fixture(scope="module")
def executor(workers):
    return workers(2)


def killing(path, is_time):
    """Return a function that kills its process the first time ``is_time`` says so."""

    def kill(value):
        if is_time(value) and not os.path.exists(path):  # noqa: PTH110 - pickled by value, with few imports
            open(path, "x").close()  # noqa: PTH123
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def test_results_come_in_order_from_processes_that_load_the_function_once(executor, tmp_path):
    class Heavy:
        def __init__(self, log):
            self.log = log

        def __setstate__(self, state):
            self.__dict__ = state
            with open(self.log, "a") as file:  # noqa: PTH123 - pickled by value, with few imports
                file.write("x")

        def __call__(self, i):
            return i, sum(range(300_000 if i % 3 == 0 else 1)), os.getpid()

    with executor.hold(Heavy(str(tmp_path / "log"))) as mapped:
        results = list(mapped(range(12)))
        assert list(mapped([])) == []
        assert [i for i, _, _ in mapped(range(5))] == list(range(5)), "and serve several maps"
    assert [i for i, _, _ in results] == list(range(12))
    pids = {pid for _, _, pid in results}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert 1 <= len((tmp_path / "log").read_text()) <= 2


def test_a_caller_may_stop_early(workers):
    executor = workers(1)
    results = executor.map(str, range(100))
    assert next(results) == "0"
    results.close()
    assert list(executor.map(str, range(3))) == ["0", "1", "2"]


def test_an_error_of_the_function_reaches_the_caller_as_it_is(workers):
    def function(i):
        if i == 2:
            raise nid.SettingError("no such thing", field="f", received=i)
        return i

    got = []
    with pytest.raises(nid.SettingError, match="no such thing") as caught:
        got.extend(workers(1).map(function, range(6)))
    assert caught.value.field == "f"
    assert got in ([], [0], [0, 1]), "some are on their way"


def test_the_same_report_as_one_process(executor, box, frame):
    settings = {**SETTINGS, "instances": "auto", "baseline": "sample", "top_k": 2}
    one, other = (nid.detect(box, frame, executor=way, **settings) for way in ("serial", executor))
    assert one == other


def test_a_worker_killed_in_the_middle_is_replaced_and_nothing_is_lost_or_counted_twice(
    executor, planted, schema, frame, tmp_path
):
    kill = killing(str(tmp_path / "killed"), lambda columns: abs(columns["b"][0] - frame["b"][25]) < 1e-5)

    def deadly(columns):
        kill(columns)
        return planted(columns)

    settings = {**SETTINGS, "instances": 60}
    journal = tmp_path / "journal"
    whole = nid.detect(nid.wrap(planted, schema, output="logit"), frame, executor="serial", **settings)
    box = nid.wrap(deadly, schema, output="logit")
    assert nid.detect(box, frame, executor=executor, resume=journal, **settings) == whole
    assert (tmp_path / "killed").exists(), "a worker died"
    indices = [json.loads(line)["index"] for line in journal.read_text().splitlines()[1:]]
    assert indices == list(range(60)), "each instance once, in order"


def test_workers_that_always_die_are_given_up(workers):
    def die(i):
        if i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(nid.PluginError, match="again and again.*memory"):
        list(workers(2, retries=1).map(die, range(3)))


def test_a_model_that_fails_leaves_a_partial_report(workers, planted, schema, frame):
    def failing(columns):
        if abs(columns["b"][0] - frame["b"][20]) < 1e-5:
            raise RuntimeError("the model is gone")
        return planted(columns)

    box = nid.wrap(failing, schema, output="logit")
    settings = {**SETTINGS, "instances": 60}
    errors = []
    for way in (workers(1), "serial"):
        with pytest.raises(nid.ModelError, match="the model is gone") as caught:
            nid.detect(box, frame, executor=way, **settings)
        errors.append(caught.value)
    assert errors[0].partial == errors[1].partial
    assert errors[0].partial.instances == 20


def test_what_the_output_is_is_judged_once(workers, schema, frame):
    class Model:
        def __call__(self, columns):
            return 1 / (1 + np.exp(-columns["b"] * columns["c"]))

    reports = []
    for way in (workers(1), "serial"):
        box = nid.wrap(Model(), schema, output="logit")
        box.output = "auto"
        with pytest.warns(nid.NidWarning, match="read as probabilities"):
            reports.append(nid.detect(box, frame, executor=way, **{**SETTINGS, "instances": 20}))
    assert reports[0] == reports[1]
    assert reports[0].settings["output"] == "probability"


def test_a_torch_model_in_each_worker():
    pytest.importorskip("joblib", reason="the optional package joblib is not installed")
    executor = ProcessExecutor(2)
    torch = pytest.importorskip("torch", reason="the optional package torch is not installed")
    torch.manual_seed(0)
    schema = nid.FeatureSchema([nid.DenseField(name) for name in "abcd"])
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    frame = {name: np.random.default_rng(i).normal(size=40) for i, name in enumerate("abcd")}
    box = nid.wrap(model, schema, output="logit", inputs="matrix")
    reports = [nid.detect(box, frame, executor=way, **SETTINGS) for way in (executor, "serial")]
    assert reports[0].top(9) == reports[1].top(9)
    np.testing.assert_allclose(reports[0].pair_strengths, reports[1].pair_strengths, atol=1e-6)


def test_what_cannot_be_pickled_is_refused_before_work_begins(executor, schema, frame):
    lock = threading.Lock()
    box = nid.wrap(lambda c: c["b"] if lock else 0, schema, output="logit")
    with pytest.raises(nid.SettingError, match='cannot be sent to another process.*executor="threads"'):
        nid.detect(box, frame, executor=executor, **SETTINGS)


class Broken(Detector):
    name = "broken"

    def fit(self, state, targets, seeds):
        return [Explanation([(0, 99)], np.ones(1)) for _ in targets]


def test_a_detector_that_breaks_its_contract_is_told(workers, box, frame):
    with pytest.raises(nid.PluginError, match="unusable sets"):
        nid.detect(box, frame, detector=Broken(), executor=workers(1), **SETTINGS)


@pytest.mark.parametrize("kind", [ProcessExecutor, RayExecutor])
@pytest.mark.parametrize("count", [0, -2, 1.5, True, "two"])
def test_a_number_of_workers_that_is_none(kind, count):
    with pytest.raises(nid.SettingError, match="workers out of range"):
        kind(count)


@pytest.mark.parametrize(
    ("name", "package"), [("ray", "ray"), ("processes", "joblib"), ("processes", "cloudpickle")]
)
def test_a_missing_package_names_the_extra(box, frame, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(nid.MissingExtraError, match=rf"(?i){package}, which.*nid-plugins\[{name}\]"):
        nid.detect(box, frame, executor=name, **SETTINGS)


def test_by_name_and_more_actors_than_cpus_one_after_the_other(box, frame, ray):
    """They would wait for ever if the first ones stayed; and a Ray that runs is used."""
    nodes = {node["NodeID"] for node in ray.nodes()}
    whole = nid.detect(box, frame, executor="serial", **SETTINGS)
    for _ in range(2):
        assert nid.detect(box, frame, executor="ray", **SETTINGS) == whole
    assert {node["NodeID"] for node in ray.nodes()} == nodes


def test_more_actors_than_there_is_room_for_do_not_make_the_others_wait(ray):
    assert list(RayExecutor(5).map(str, range(9))) == [str(i) for i in range(9)]
    assert list(RayExecutor(1).map(str, [])) == []


def test_what_cannot_be_unpacked_where_it_arrives_is_given_up(ray):
    class Fragile:
        def __setstate__(self, state):
            raise OSError("no such file there")

        def __call__(self, item):
            return item

    function = Fragile()
    function.something = 1
    with pytest.raises(nid.PluginError, match="before they began.*no such file there"):
        list(RayExecutor(1, retries=0).map(function, range(3)))


def test_one_process_is_this_one(box, frame):
    pytest.importorskip("joblib", reason="the optional package joblib is not installed")
    assert list(ProcessExecutor(1).map(lambda _: os.getpid(), range(2))) == [os.getpid()] * 2
    one = nid.detect(box, frame, executor=ProcessExecutor(1), **SETTINGS)
    assert one == nid.detect(box, frame, executor="serial", **SETTINGS)


def test_the_baseline_of_modes_travels_without_what_it_learned(box, frame):
    mode = nid.get_manager().baseline("mode")
    nid.detect(box, frame, **SETTINGS)
    assert pickle.loads(pickle.dumps(mode))._last is None
