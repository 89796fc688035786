"""The budget: time for checks as a share of training time, on a clock that is wound by hand."""

from __future__ import annotations

import pytest

from nid_plugins.callbacks.pacing import Pacing
from nid_plugins.errors import NidWarning

PERTURBATIONS = 120


def trained(core, clock, epochs, seconds):
    for epoch in range(epochs):
        clock.now += seconds
        core.epoch_end(epoch)


def masks_of(core):
    return len(core._detection._madex.masks)


@pytest.fixture
def paced(watched, slow, clock):
    """Makes a core and a model of which an instance costs one second."""

    def make(budget=0.1, labels=None, **options):
        probe = watched(slow(0.0), begun=False)
        probe.begin()
        probe.epoch_end(0)
        model = slow(1.0 / masks_of(probe))
        return watched(
            model,
            labels,
            budget=budget,
            clock=clock,
            min_instances=8,
            detect={"instances": 40, "perturbations": PERTURBATIONS},
            **options,
        )

    return make


def test_instances_are_as_many_as_the_budget_pays_for(paced, clock):
    core = paced()
    trained(core, clock, 1, 200.0)
    assert core.history[0].instances == 16  # 9.5 % of 200 s are 19; the clock is looked at every four
    assert core.spent == pytest.approx(16.0)
    assert core.trained == pytest.approx(200.0)
    assert core.share == pytest.approx(0.08)
    trained(core, clock, 1, 80.0)
    assert core.history[1].instances == 8  # 26.6 are paid for in all
    assert core.history[1].seconds == pytest.approx(8.0)
    assert core.history[1].training_seconds == pytest.approx(280.0)


def test_the_first_check_takes_a_few_whatever_they_cost(paced, clock):
    core = paced()
    trained(core, clock, 1, 10.0)
    assert core.history[0].instances == 8
    assert core.share == pytest.approx(0.8)


def test_a_debt_is_paid_back_before_the_next_check_and_said_once(paced, clock):
    core = paced()
    with pytest.warns(NidWarning, match="the budget of 10%.*put off") as caught:
        trained(core, clock, 20, 10.0)
    assert len(caught) == 1
    # 8 s are spent at once; 9.5 % are 16 s, with which another 8 instances are paid, after 168 s of training.
    assert [(check.epoch, check.instances) for check in core.history] == [(0, 8), (16, 8)]
    assert core.put_off == 18
    assert core.share <= 0.1


def test_what_is_not_used_is_carried_forward(paced, clock):
    core = paced(every=4)
    trained(core, clock, 4, 105.0)
    assert [(check.epoch, check.instances) for check in core.history] == [(3, 36)]  # of 39.9
    core = paced()
    trained(core, clock, 1, 1000.0)
    assert core.spent == pytest.approx(40.0)
    trained(core, clock, 1, 1.0)  # pays for nothing, but 55 s are left from before
    assert core.history[1].instances == 40


def test_without_a_budget_all_instances_are_taken(paced, clock):
    core = paced(budget=None)
    trained(core, clock, 3, 0.0)
    assert [check.instances for check in core.history] == [40, 40, 40]
    assert core.share == 0.0  # of no training at all


@pytest.mark.filterwarnings("ignore:a check of 8 instances:nid_plugins.errors.NidWarning")
@pytest.mark.parametrize("budget", [0.02, 0.1, 0.5])
def test_a_long_training_stays_inside(paced, clock, budget):
    core = paced(budget=budget)
    for epoch in range(60):
        clock.now += 40.0 if epoch % 3 else 5.0
        core.epoch_end(epoch)
    assert len(core.history) > 1
    assert core.spent <= budget * core.trained
    assert core.spent >= 0.5 * budget * core.trained or core.history[-1].instances == 40


def test_time_between_two_trainings_is_neither(paced, clock):
    core = paced(every=3)
    clock.now += 5.0
    core.end()
    clock.now += 1000.0
    core.begin()
    clock.now += 7.0
    core.epoch_end(0)
    core.end()
    core.end()
    assert core.trained == pytest.approx(12.0)
    assert core.spent == 0.0


def test_screening_is_left_out_where_there_is_no_time_for_it_and_saved_up_for(clock):
    pacing = Pacing(0.1, 8, clock)
    pacing.measured("instance", 1.0)
    pacing.measured("screen", 5.0)
    pacing.measured("rest", 1.0)

    def plan(seconds, *, screen=True):
        pacing.trained = seconds / 0.095 + 1e-6
        plan = pacing.plan(40, screen=screen)
        return plan.instances, plan.screen

    assert plan(8.9) == (0, False)
    assert plan(9.0) == (8, False)
    assert plan(13.0) == (8, False)  # rather than 12: with what is left the next check may screen
    assert plan(13.0, screen=False) == (12, False)
    assert plan(14.0) == (8, True)
    assert plan(20.0) == (14, True)
    assert plan(100.0) == (40, True)


def test_a_training_with_labels_has_its_crosses_screened_now_and_then(paced, clock, labels):
    """Where a check pays for some instances or for screening, but not for both."""
    core = paced(labels=labels)
    for epoch in range(30):
        clock.now += 400.0
        core.model.weights = [2.0, 3.0]
        core.epoch_end(epoch)
    screened = [bool(check.gains) for check in core.history]
    assert screened.count(True) > 3
    assert core.spent <= 0.1 * core.trained


def test_a_cost_follows_what_is_measured(clock):
    pacing = Pacing(0.1, 8, clock)
    assert pacing.cost("instance") is None
    for seconds in (9.0, 1.0, 1.0):  # the first call of a model is often slow
        pacing.measured("instance", seconds)
    assert pacing.cost("instance") == pytest.approx(3.0)


def test_checks_that_fail_have_no_time_of_their_own(watched, clock):
    def broken(columns):
        clock.now += 5.0
        raise RuntimeError("boom")

    core = watched(broken, budget=0.1, clock=clock)
    with pytest.warns(NidWarning) as caught:
        trained(core, clock, 40, 10.0)
    assert [str(w.message)[:14] for w in caught] == ["a check failed", "a check of 8 i"]
    assert core.share <= 0.11


@pytest.mark.filterwarnings("ignore:a check of 8 instances:nid_plugins.errors.NidWarning")
def test_a_check_that_was_put_off_is_made_as_soon_as_it_is_paid_for(paced, clock):
    core = paced(every=4)
    for epoch in range(20):
        clock.now += 10.0
        core.epoch_end(epoch)
    # Due after the epochs 7, 11 and 15, and paid for at 16, after 170 s.
    assert [check.epoch for check in core.history] == [3, 16]
    clock.now += 100.0
    core.epoch_end(20)
    assert [check.epoch for check in core.history] == [3, 16, 20]
