"""Parameters joining an optimiser at work: what it knows of the others, and what schedulers make of them, stay as they were."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from nid_torch.optimising import Newcomers, decay_of, schedulers_of
from torch import nn
from torch.optim import lr_scheduler

from nid_plugins.errors import SettingError, UnsupportedError

OPTIMISERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99)),
    "fused Adam": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "a tensor's rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "two groups": lambda p: torch.optim.SGD(
        [{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1, momentum=0.9
    ),
}

SCHEDULERS = {
    "LambdaLR": lambda o, n: lr_scheduler.LambdaLR(o, [lambda e: 0.9**e] * n),
    "MultiplicativeLR": lambda o, n: lr_scheduler.MultiplicativeLR(o, lambda e: 0.9),
    "StepLR": lambda o, n: lr_scheduler.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o, n: lr_scheduler.MultiStepLR(o, [3, 6], 0.3),
    "ExponentialLR": lambda o, n: lr_scheduler.ExponentialLR(o, 0.8),
    "LinearLR": lambda o, n: lr_scheduler.LinearLR(o, 0.2, total_iters=6),
    "PolynomialLR": lambda o, n: lr_scheduler.PolynomialLR(o, 20, 2.0),
    "CosineAnnealingLR": lambda o, n: lr_scheduler.CosineAnnealingLR(o, 8, eta_min=1e-4),
    "warm restarts": lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o, n: lr_scheduler.OneCycleLR(o, 0.5, total_steps=12),
    "CyclicLR": lambda o, n: lr_scheduler.CyclicLR(o, 0.01, 0.2, step_size_up=3),
    "SequentialLR": lambda o, n: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o, 0.1, 4), lr_scheduler.LambdaLR(o, lambda e: 0.7**e)], [4]
    ),
    "ChainedScheduler": lambda o, n: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LambdaLR(o, lambda e: 0.7**e), lr_scheduler.StepLR(o, 2)]
    ),
    "ReduceLROnPlateau": lambda o, n: lr_scheduler.ReduceLROnPlateau(o, patience=0, min_lr=[1e-3] * n),
    "a schedule of one's own": lambda o, n: Own(o),
}


class Own(lr_scheduler.LRScheduler):
    def get_lr(self):
        return [base / (1 + self.last_epoch) for base in self.base_lrs]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def steps(optimiser, parameters, n=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()


def newcomer():
    return {"cross_tower.weight": nn.Parameter(torch.zeros(5, 2))}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_what_it_knows_of_its_other_parameters_is_kept_to_the_bit(name):
    model = net()
    optimiser = OPTIMISERS[name](list(model.parameters()))
    steps(optimiser, model.parameters())
    before = copy.deepcopy(optimiser.state_dict())
    objects = {id(p): id(optimiser.state[p]) for p in model.parameters()}
    added = newcomer()
    Newcomers(optimiser, added, rate=3.0).join()

    after = optimiser.state_dict()
    assert {id(p): id(optimiser.state[p]) for p in model.parameters()} == objects
    for place, state in before["state"].items():
        assert state.keys() == after["state"][place].keys()
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(after["state"][place][key])), (
                place,
                key,
            )
    assert after["param_groups"][: len(before["param_groups"])] == before["param_groups"]

    first, new = optimiser.param_groups[0], optimiser.param_groups[-1]
    assert float(new["lr"]) == pytest.approx(3.0 * float(first["lr"]))
    assert new["lr"] is not first["lr"]
    rest = {key: value for key, value in first.items() if key not in {"params", "lr", "initial_lr"}}
    assert {key: new[key] for key in rest} == rest
    parameter = added["cross_tower.weight"]
    steps(optimiser, [*model.parameters(), parameter])
    assert parameter.abs().min() > 0
    # As if the optimiser had had it alone, from the start.
    alone = nn.Parameter(torch.zeros(5, 2))
    accepted = set(inspect.signature(type(optimiser)).parameters) - {"params"}
    fresh = type(optimiser)([alone], **{key: value for key, value in new.items() if key in accepted})
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for other in model.parameters():
            torch.randn(other.shape, generator=generator)
        alone.grad = torch.randn(alone.shape, generator=generator)
        fresh.step()
    torch.testing.assert_close(parameter, alone)


def rates(name, joined_after=None, epochs=11):
    model = net()
    groups = [
        {"params": [p], "lr": lr} for p, lr in zip(model.parameters(), (0.1, 0.2, 0.1, 0.05), strict=True)
    ]
    optimiser = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    scheduler = SCHEDULERS[name](optimiser, 4)
    seen, momenta, new = [], [], []
    for epoch in range(epochs):
        steps(optimiser, model.parameters(), 1, seed=epoch)
        scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        if epoch == joined_after:
            Newcomers(optimiser, newcomer(), rate=2.0, schedulers=scheduler).join()
        seen.append([group["lr"] for group in optimiser.param_groups[:4]])
        momenta.append([group["momentum"] for group in optimiser.param_groups[:4]])
        new += [group["lr"] for group in optimiser.param_groups[4:]]
        assert scheduler.get_last_lr()[:4] == seen[-1]
        assert len(scheduler.get_last_lr()) == len(optimiser.param_groups)
    return seen, momenta, new


@pytest.mark.parametrize("after", [0, 4])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_learning_rates_of_the_old_groups_go_on_as_without(name, after):
    seen, momenta, _ = rates(name)
    with_seen, with_momenta, new = rates(name, joined_after=after)
    assert with_seen == seen
    assert with_momenta == momenta
    assert len(new) == 11 - after
    if name not in {"CosineAnnealingLR", "ReduceLROnPlateau"}:  # which have floors that are not scaled
        assert new == pytest.approx([2.0 * epoch[0] for epoch in seen[after:]])
    assert new[-1] > 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_state_of_an_extended_scheduler_can_be_loaded(name):
    def make():
        model = net()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, optimiser, SCHEDULERS[name](optimiser, 1)

    def run(model, optimiser, scheduler, epochs):
        seen = []
        for _ in range(epochs):
            steps(optimiser, model.parameters(), 1)
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            seen.append([group["lr"] for group in optimiser.param_groups])
        return seen

    model, optimiser, scheduler = make()
    run(model, optimiser, scheduler, 2)
    Newcomers(optimiser, newcomer(), schedulers=scheduler).join()
    run(model, optimiser, scheduler, 1)
    saved = copy.deepcopy((optimiser.state_dict(), scheduler.state_dict()))
    expected = run(model, optimiser, scheduler, 5)

    model, optimiser, scheduler = make()
    Newcomers(optimiser, newcomer(), schedulers=scheduler).join()
    optimiser.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert run(model, optimiser, scheduler, 5) == expected


def test_named_parameters_stay_named():
    model = net()
    optimiser = torch.optim.Adam(model.named_parameters())
    Newcomers(optimiser, newcomer()).join()
    assert optimiser.param_groups[1]["param_names"] == ["cross_tower.weight"]


def test_frozen_parameters_do_not_join():
    model = net()
    optimiser = torch.optim.Adam(model.parameters())
    added = {
        **newcomer(),
        "cross_tower.projection.weight": nn.Parameter(torch.ones(1, 2), requires_grad=False),
    }
    Newcomers(optimiser, added).join()
    assert [p.shape for p in optimiser.param_groups[1]["params"]] == [torch.Size([5, 2])]


def test_weight_decay_is_what_was_asked_for():
    optimiser = torch.optim.Adam(net().parameters(), weight_decay=0.5)
    Newcomers(optimiser, newcomer(), weight_decay=0.25).join()
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.5, 0.25]
    with pytest.raises(SettingError, match="no weight decay"):
        Newcomers(torch.optim.Rprop(net().parameters()), newcomer(), weight_decay=0.1)


def test_the_default_decay_is_where_it_is_a_part_of_the_gradient():
    parameters = list(net().parameters())
    assert decay_of(torch.optim.Adam(parameters), 0.5) == 1.0
    assert decay_of(torch.optim.Adagrad(parameters, weight_decay=0.1), None) == pytest.approx(5e-5)
    assert decay_of(torch.optim.AdamW(parameters), None) is None
    assert decay_of(torch.optim.Rprop(parameters), None) is None


def test_a_scheduler_that_was_not_given_is_missed():
    optimiser = torch.optim.SGD(net().parameters(), lr=0.1)
    assert schedulers_of(optimiser, None) == []
    scheduler = lr_scheduler.StepLR(optimiser, 2)
    assert schedulers_of(optimiser, [scheduler]) == [scheduler]
    with pytest.raises(UnsupportedError, match="Pass scheduler="):
        schedulers_of(optimiser, None)


def test_what_is_no_scheduler_of_it_is_refused():
    optimiser = torch.optim.SGD(net().parameters(), lr=0.1)
    other = lr_scheduler.StepLR(torch.optim.SGD(net().parameters(), lr=0.1), 2)
    for wrong in (other, [other], "StepLR", 3):
        with pytest.raises(SettingError, match="not a scheduler"):
            schedulers_of(optimiser, wrong)


class Odd(torch.optim.SGD):
    def __init__(self, params, secret, lr=0.1):
        super().__init__(params, lr=lr)


@pytest.mark.parametrize("make", [torch.optim.LBFGS, lambda p: Odd(p, secret=1)], ids=["LBFGS", "an odd one"])
def test_an_optimiser_that_takes_no_more_is_left_as_it_is(make):
    optimiser = make(net().parameters())
    before = copy.deepcopy(optimiser.state_dict())
    with pytest.raises(UnsupportedError, match="takes no further parameters"):
        Newcomers(optimiser, newcomer())
    assert optimiser.state_dict() == before
