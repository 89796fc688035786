"""A monitor's state: through JSON and back, and a training that goes on after a checkpoint."""

from __future__ import annotations

import copy
import json

import pytest

from nid_plugins.errors import ArtefactError

WEIGHTS = ([0.0, 0.0], [1.0, 0.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0])


def trained(core, learner, epochs):
    for epoch in epochs:
        learner.weights = WEIGHTS[epoch]
        core.step_end()
        core.epoch_end(epoch, {"loss": 0.1 * epoch})
    return core


def comparable(core):
    """Return the history as JSON without what depends on the clock."""
    found = [check.to_dict(report=True) for check in core.history]
    for check in found:
        del check["seconds"], check["training_seconds"]
    return found


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_resumed_run_is_the_uninterrupted_one(watched, learner, labels, cut):
    whole = trained(watched(learner, labels, stop_after=2), learner, range(5))
    first = trained(watched(learner, labels, stop_after=2), learner, range(cut))
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = watched(learner, labels, stop_after=2)
    second.load_state_dict(state)
    assert comparable(second) == comparable(first)
    trained(second, learner, range(cut, 5))
    assert comparable(second) == comparable(whole)
    assert second.stable == whole.stable
    assert second.stable
    assert second.step == whole.step


def test_the_budget_goes_on_where_it_was(watched, slow, clock):
    core = watched(slow(0.001), budget=0.1, clock=clock)
    clock.now += 100.0
    core.epoch_end(0)
    again = watched(slow(0.001), budget=0.1, clock=clock)
    again.load_state_dict(core.state_dict())
    assert again.spent == core.spent > 0
    assert again.trained == core.trained == 100.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("history"),
        lambda state: state.pop("pacing"),
        lambda state: state["pacing"].pop("spent"),
        lambda state: state["history"][0].pop("report"),
        lambda state: state["history"][0].update(gains=None),
        lambda state: state["last"].append("{"),
        lambda state: state.update(last=[3]),
        lambda state: state.update(step="many"),
        lambda state: state.update(version=None),
    ],
)
def test_a_damaged_state_is_a_typed_error_and_changes_nothing(watched, learner, damage):
    state = trained(watched(learner), learner, range(2)).state_dict()
    core = trained(watched(learner), learner, range(1))
    before = copy.deepcopy(core.state_dict()["history"])
    damage(state)
    with pytest.raises(ArtefactError):
        core.load_state_dict(state)
    assert core.state_dict()["history"] == before


def test_a_state_of_another_kind(watched, learner):
    core = watched(learner)
    for state in (None, [], {"version": 99}):
        with pytest.raises(ArtefactError):
            core.load_state_dict(state)
