"""The monitor's core: what a check records, when there is one, and that nothing it does stops the training."""

from __future__ import annotations

import json
import random
import re
import warnings

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.callbacks import InteractionMonitor
from nid_plugins.errors import FrameError, NidWarning, SettingError, UnsupportedError
from nid_plugins.plugins import PluginManager, use_manager

AB, CD = ("a", "b"), ("c", "d")


def epochs(core, n):
    for epoch in range(n):
        core.epoch_end(epoch)


def test_what_the_model_learns_rises_into_the_ranking(watched, learner):
    core = watched(learner, top_k=2)
    for epoch, learner.weights in enumerate(([0.0, 0.0], [2.0, 0.0], [2.0, 3.0])):
        core.epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "note": "text is no number"})
    first, second, third = core.history
    assert first.ranking == [("a", "e")]
    assert second.ranking == [AB, ("a", "e")]
    assert set(third.ranking) == {AB, CD}
    assert first.drift is None
    assert (second.drift.entered, second.drift.left) == ([AB], [])
    assert second.drift.rank_correlation == pytest.approx(
        -1.0
    )  # (a, b) was behind (a, e), and is now before it
    assert (third.drift.entered, third.drift.left) == ([CD], [("a", "e")])
    assert [check.epoch for check in core.history] == [0, 1, 2]
    assert [check.logs for check in core.history] == [{"loss": 1.0}, {"loss": 0.5}, {"loss": 1.0 / 3}]
    assert all(check.r2 == pytest.approx(1.0) and check.instances == 12 for check in core.history)


def test_by_strength_a_check_is_compared_with_a_checkpoint_of_the_last(watched, learner):
    core = watched(learner, top_k=1, detect={"rank": "strength"})
    learner.weights = [9.0, 1.0]
    core.epoch_end(0)
    again = watched(learner, top_k=1, detect={"rank": "strength"})
    again.load_state_dict(core.state_dict())
    learner.weights = [1.0, 9.0]
    for one in (core, again):
        one.epoch_end(1)
        assert [check.ranking for check in one.history] == [[AB], [CD]]
        assert one.history[1].drift == core.history[1].drift
        assert (one.history[1].drift.entered, one.history[1].drift.left) == ([CD], [AB])


@pytest.mark.parametrize(("rank", "needed"), [("strength", True), ("count", False)])
def test_pairs_of_the_last_check_are_kept_where_drift_needs_them(watched, learner, rank, needed):
    core = watched(learner, detect={"rank": rank})
    core.epoch_end(0)
    assert {json.loads(line)["pairs"] is not None for line in core.state_dict()["last"]} == {needed}


def test_the_same_rows_are_explained_in_the_same_order_however_many(watched, learner):
    """A check of fewer instances is the beginning of one of more, so that the two compare."""
    learner.weights = [2.0, 3.0]
    few, many = watched(learner), watched(learner)
    few._pacing.plan = lambda most, screen: type("Plan", (), {"instances": 4, "screen": False})
    for core in (few, many):
        core.epoch_end(0)
    assert few.history[0].instances == 4
    assert [r.to_json() for r in few._last] == [r.to_json() for r in many._last[:4]]


def test_a_report_is_that_of_detect_on_the_same_rows(watched, learner, schema, frame):
    learner.weights = [2.0, 3.0]
    core = watched(learner, detect={"instances": 16}, top_k=3)
    core.epoch_end(0)
    rows = {name: core._sample.instances[:, j] for j, name in enumerate(schema.names)}
    box = nid.wrap(learner, schema, output="logit")
    report = nid.detect(box, rows, background=frame, instances=16, perturbations=120, top_k=3, progress=False)
    assert [i.fields for i in report] == core.history[0].ranking
    np.testing.assert_allclose([i.strength for i in report], [i.strength for i in core.history[0].report])


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (4, [3])])
def test_every_so_many_epochs(watched, learner, every, epochs):
    core = watched(learner, every=every)
    for epoch in range(6):
        core.step_end()
        core.epoch_end(epoch)
    assert [check.epoch for check in core.history] == epochs
    assert [check.step for check in core.history] == [epoch + 1 for epoch in epochs]


def test_every_so_many_steps(watched, learner):
    core = watched(learner, every=3, unit="step")
    for epoch in range(2):
        for step in range(5):
            core.step_end({"loss": step})
        core.epoch_end(epoch)
    assert [(check.epoch, check.step, check.logs) for check in core.history] == [
        (0, 3, {"loss": 2.0}),
        (1, 6, {"loss": 0.0}),
        (1, 9, {"loss": 3.0}),
    ]


def test_detection_ends_once_the_top_has_not_changed(watched, learner):
    learner.weights = [2.0, 3.0]
    core = watched(learner, stop_after=2, top_k=2)
    for epoch in range(3):
        core.epoch_end(epoch)
    assert core.stable
    assert [check.stable for check in core.history] == [False, False, True]
    calls = learner.calls
    core.epoch_end(3)
    assert learner.calls == calls
    assert len(core.history) == 3


def test_a_change_of_the_top_starts_the_count_anew(watched, learner):
    learner.weights = [2.0, 0.0]
    core = watched(learner, stop_after=2, top_k=2)
    core.epoch_end(0)
    core.epoch_end(1)
    learner.weights = [2.0, 3.0]
    for epoch in (2, 3):
        core.epoch_end(epoch)
    assert not core.stable
    core.epoch_end(4)
    assert core.stable


def test_a_model_that_shows_nothing_is_not_stable(watched, schema):
    core = watched(lambda columns: 0.5 * columns["a"], stop_after=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NidWarning)
        for epoch in range(3):
            core.epoch_end(epoch)
    assert [check.ranking for check in core.history] == [[], [], []]
    assert not core.stable


def test_crosses_are_screened_on_top_of_the_model_as_it_is(watched, learner, labels):
    learner.weights = [0.3, 0.0]
    core = watched(learner, labels)
    core.epoch_end(0)
    learner.weights = [4.0, 0.0]
    core.epoch_end(1)
    before, after = (check.gains["a__x__b"] for check in core.history)
    assert before > 0.04  # the labels have far more of it than the model
    assert after < before / 3  # which has then learned it


def test_a_ranking_has_screened_what_was_asked_for(watched, learner, labels):
    learner.weights = [2.0, 3.0]
    none, one = watched(learner, labels, screen=0), watched(learner, labels, screen=1)
    for core in (none, one):
        core.epoch_end(0)
    assert none.history[0].gains == {}
    assert len(one.history[0].gains) == 1


def test_plug_ins_are_told_of_every_epoch(watched, learner):
    heard = []

    class Listener:
        @nid.hookimpl
        def nid_epoch_end(self, state):
            heard.append(dict(state))

        @nid.hookimpl
        def nid_after_detect(self, report):
            heard.append(report)

    manager = PluginManager()
    manager.register(Listener(), "listener")
    with use_manager(manager):
        core = watched(learner, every=2)
        core.epoch_end(0, {"loss": 0.7})
        core.epoch_end(1)
    assert heard[0] == {"loss": 0.7, "epoch": 0, "step": 0, "model": learner, "check": None}
    assert heard[1] is core.history[0].report
    assert heard[2]["check"] is core.history[0]


def test_a_hook_that_fails_does_not_matter(watched, learner):
    class Broken:
        @nid.hookimpl
        def nid_epoch_end(self, state):
            raise RuntimeError("boom")

    manager = PluginManager()
    manager.register(Broken(), "broken")
    with use_manager(manager):
        core = watched(learner)
        with pytest.warns(NidWarning, match="plug-in 'broken' failed in nid_epoch_end") as caught:
            epochs(core, 2)
    assert len(caught) == 1
    assert len(core.history) == 2


def test_a_failing_check_is_said_once_and_training_goes_on(watched, learner):
    core = watched(learner)
    learner.weights = [float("nan"), 0.0]
    with pytest.warns(
        NidWarning, match="a check failed, and training goes on without: ModelError.*NaN"
    ) as caught:
        epochs(core, 2)
    assert len(caught) == 1
    learner.weights = [2.0, 0.0]
    core.epoch_end(2)
    assert [check.epoch for check in core.history] == [2]


def test_a_failing_screening_leaves_the_check(watched, learner, frame):
    core = watched(learner, np.ones(len(frame["a"]), dtype=int))
    with pytest.warns(NidWarning, match="screening failed.*both clicks and non-clicks") as caught:
        epochs(core, 2)
    assert len(caught) == 1
    assert [check.gains for check in core.history] == [{}, {}]


def test_an_interrupt_is_none_of_the_monitor_s_business(watched):
    def interrupted(columns):
        raise KeyboardInterrupt

    core = watched(interrupted)
    with pytest.raises(KeyboardInterrupt):
        core.epoch_end(0)


def test_a_warning_is_let_through_once(watched, schema):
    """Its numbers change from check to check."""
    rng = np.random.default_rng(0)
    noise = watched(lambda columns: rng.normal(size=len(columns["a"])))
    with pytest.warns(NidWarning, match="the explainers fit poorly") as caught:
        epochs(noise, 3)
    assert len([w for w in caught if "fit poorly" in str(w.message)]) == 1


@pytest.mark.filterwarnings("ignore:.*saturated:nid_plugins.errors.NidWarning")
def test_what_looks_like_a_probability_at_first_may_turn_out_a_logit(schema, frame):
    """torch tells by the values only, and a model that has hardly begun has small logits."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        scale = 0.1

        def forward(self, x):
            return self.scale * x[:, 0] * x[:, 1]

    net = Net()
    core = InteractionMonitor(
        net,
        schema,
        {**frame, "a": np.minimum(frame["a"], 1), "b": np.minimum(frame["b"], 1)},
        budget=None,
        detect={"instances": 20, "perturbations": 100},
    )
    core.begin()
    with pytest.warns(NidWarning, match="read as probabilities"):
        core.epoch_end(0)
    Net.scale = 3.0
    core.epoch_end(1)
    Net.scale = 0.1
    core.epoch_end(2)
    outputs = [check.report.settings["output"] for check in core.history]
    assert outputs == ["probability", "logit", "logit"]  # once seen outside of [0, 1], it stays a logit


def test_random_states_are_left_alone(watched, learner, labels):
    core = watched(learner, labels, sinks=[Rolling()])
    random.seed(3)
    np.random.seed(3)
    expected = random.getrandbits(32), np.random.random()
    random.seed(3)
    np.random.seed(3)
    core.epoch_end(0)
    assert (random.getrandbits(32), np.random.random()) == expected


class Rolling:
    def write(self, check):
        random.getrandbits(32)
        np.random.random()

    def close(self):
        pass


def test_another_model_is_looked_at_from_when_it_is_given(watched, learner):
    core = watched(learner)
    core.epoch_end(0)
    core.begin(lambda columns: 2.0 * (columns["d"] % 2) * (columns["e"] % 2))
    core.epoch_end(0)
    assert core.history[1].ranking[0] == ("d", "e")


def test_the_schema_may_come_with_the_model(frame, learner):
    """Then what does not fit is found when training has begun, and said."""
    core = InteractionMonitor(rows=frame, budget=None)
    core.begin(learner)
    with pytest.warns(NidWarning, match=re.escape("a check failed")) as caught:
        core.epoch_end(0)
    assert "a plain callable has no schema of its own" in str(caught[0].message)


def test_the_history_as_a_table(watched, learner):
    core = watched(learner, top_k=2)
    assert core.to_frame().empty
    learner.weights = [2.0, 3.0]
    core.epoch_end(0)
    core.epoch_end(1)
    table = core.to_frame()
    assert table["epoch"].tolist() == [0, 0, 1, 1]
    assert set(table["interaction"]) == {"a x b", "c x d"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every out of range"),
        ({"every": True}, "every out of range"),
        ({"unit": "batch"}, "unknown unit"),
        ({"budget": 0}, "budget out of range"),
        ({"budget": float("nan")}, "budget out of range"),
        ({"budget": "10%"}, "budget out of range"),
        ({"top_k": 0}, "top_k out of range"),
        ({"screen": -1}, "screen out of range"),
        ({"stop_after": 0}, "stop_after out of range"),
        ({"min_instances": 0}, "min_instances out of range"),
        ({"seed": -1}, "seed out of range"),
        ({"detect": {"perturbation": 100}}, "unknown option in detect"),
        ({"detect": {"detector": "nidd"}}, "nidd"),
        ({"detect": {"executor": "gpu"}}, "gpu"),
        ({"detect": [1]}, "detect is no dict"),
        ({"wrap": {"outputs": "logit"}}, "unknown option in wrap"),
        ({"sinks": [print]}, "not a sink"),
        ({"sinks": [Rolling]}, "not a sink"),
        ({"sinks": Rolling()}, "sinks are no list"),
    ],
)
def test_bad_options_are_found_before_training(learner, schema, frame, options, message):
    with pytest.raises(SettingError, match=message):
        InteractionMonitor(learner, schema, frame, **options)


def test_bad_frames_are_found_before_training(learner, schema, frame):
    with pytest.raises(SettingError, match="a monitor needs rows"):
        InteractionMonitor(learner, schema)
    with pytest.raises(FrameError, match="'e'"):
        InteractionMonitor(learner, schema, {name: frame[name] for name in "abcd"})
    with pytest.raises(FrameError, match="wrong number of labels"):
        InteractionMonitor(learner, schema, frame, [0, 1])
    with pytest.raises(FrameError, match="background"):
        InteractionMonitor(learner, schema, frame, background={**frame, "a": frame["a"] + 9})


def test_nid_monitor_needs_an_adapter_with_a_callback(learner, schema, frame):
    with pytest.raises(UnsupportedError, match="no adapter claims the model"):
        nid.monitor(learner, schema, frame)

    class Other:
        pass

    class OtherAdapter(nid.Adapter):
        name = "other"
        classes = (f"{Other.__module__}.{Other.__qualname__}",)

        def predictor(self, model, schema, *, inputs="auto", output="auto"):
            raise NotImplementedError

    class Plugin:
        @nid.hookimpl
        def nid_register_adapters(self, register):
            register(OtherAdapter())

    manager = PluginManager()
    manager.register(Plugin(), "other")
    with use_manager(manager), pytest.raises(UnsupportedError, match="'other' has no callback for training"):
        nid.monitor(Other(), schema, frame)
