"""Crosses for a running PyTorch model: the same object, the same output at first, and everything that holds it goes on."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import warnings

import pytest
import torch
from nid_torch.growing import Grown, Growth, grown_class, inner
from nid_torch.inject import inject
from nid_torch.plugin import TorchAdapter
from torch import nn

import nid_plugins as nid
from nid_plugins.errors import ModelError, SettingError, UnsupportedError

KINDS = ("matrix", "mapping", "positional")


def trained(model, args, log, optimiser, steps=10):
    """Take steps of an optimiser that exists."""
    label = torch.from_numpy(log.label[:200])
    for _ in range(steps):
        model.train()
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy(model(*args).reshape(-1), label).backward()
        optimiser.step()


def running(nets, log, kind="matrix", **options):
    torch.manual_seed(2)
    model, args = nets.KINDS[kind](**options), nets.arguments(kind, log)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    trained(model, args, log, optimiser)
    return model, args, optimiser


def outputs(model, args):
    """Return what a model returns in eval mode, and in train mode with the same masks of dropout."""
    found = [model.eval()(*args).detach()]
    buffers = copy.deepcopy(dict(model.named_buffers()))
    torch.manual_seed(7)
    found.append(model.train()(*args).detach())
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return found


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_stays_the_same_object_and_returns_the_same_bits(nets, log, kind, flat):
    model, args, optimiser = running(nets, log, kind, flat=flat)
    before, parameters, kind_before = outputs(model, args), dict(model.named_parameters()), type(model)
    tower = Growth(model, log.crosses, optimiser=optimiser, rate=2.0).attach()
    for was, now in zip(before, outputs(model, args), strict=True):
        assert torch.equal(was, now)
    assert isinstance(model, kind_before)
    assert model.cross_tower is tower
    assert all(parameter is dict(model.named_parameters())[name] for name, parameter in parameters.items())
    assert inspect.signature(model.forward) == inspect.signature(kind_before().forward)
    assert [group["lr"] for group in optimiser.param_groups] == [0.02, 0.04]
    trained(model, args, log, optimiser)
    assert tower.embedding.weight[1:].abs().sum() > 0
    assert not torch.equal(before[0], model.eval()(*args))
    assert nid.cross_embeddings(model).keys() == set(log.crosses.names)


def test_an_unsqueezed_logit_is_corrected_too(nets, log):
    torch.manual_seed(0)
    model, args = nets.Matrix(sigmoid=False), nets.arguments("matrix", log)
    before = model.eval()(*args)
    tower = Growth(model, log.crosses, output="logit").attach()
    assert torch.equal(model(*args), before)
    with torch.no_grad():
        tower.embedding.weight[1:] = 0.5
    torch.testing.assert_close(model(*args), before + tower(args[0]))


def test_it_becomes_what_injection_into_a_copy_gives(nets, log):
    model, args, _ = running(nets, log)
    target = inject(model, log.crosses, seed=3)
    Growth(model, log.crosses, seed=3).attach()
    rows = torch.randn(target.tower.embedding.weight.shape, generator=torch.Generator().manual_seed(1))
    for tower in (target.tower, model.cross_tower):
        tower.embedding.weight.data.copy_(rows)
    assert torch.equal(model.eval()(*args), target.eval()(*args))


def test_a_running_model_is_saved_and_read_back(nets, log):
    model, args, optimiser = running(nets, log)
    Growth(model, log.crosses, optimiser=optimiser, hidden=(4,)).attach()
    trained(model, args, log, optimiser)
    expected = model.eval()(*args)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh = nets.Matrix()
    Growth(fresh, log.crosses, hidden=(4,), seed=9).attach()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.eval()(*args), expected)

    whole = io.BytesIO()
    torch.save(model, whole)
    whole.seek(0)
    for other in (
        torch.load(whole, weights_only=False),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert type(other) is type(model)
        assert torch.equal(other(*args), expected)
        assert other.cross_tower is not model.cross_tower


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_from_before_gives_back_the_model_of_then(nets, log, assign):
    model, args, optimiser = running(nets, log)
    saved, before = copy.deepcopy(model.state_dict()), model.eval()(*args)
    Growth(model, log.crosses, optimiser=optimiser).attach()
    trained(model, args, log, optimiser)
    assert not torch.equal(model.eval()(*args), before)
    kept = dict(saved)
    model.load_state_dict(saved, assign=assign)
    assert torch.equal(model.eval()(*args), before)
    assert saved.keys() == kept.keys(), "what was given is not written to"


def test_a_state_from_before_also_loads_into_a_part_of_another_model(nets, log):
    model, args, optimiser = running(nets, log)
    whole = nn.ModuleDict({"ctr": model})
    saved, before = copy.deepcopy(whole.state_dict()), model.eval()(*args)
    Growth(model, log.crosses, optimiser=optimiser).attach()
    trained(model, args, log, optimiser)
    whole.load_state_dict(saved)
    assert torch.equal(model.eval()(*args), before)


def test_states_that_do_not_fit_are_refused_as_ever(nets, log):
    model, _, _ = running(nets, log)
    Growth(model, log.crosses.select([0])).attach()
    other = nets.Matrix()
    Growth(other, log.crosses.select([1])).attach()
    with pytest.raises(RuntimeError, match="other crosses"):
        model.load_state_dict(other.state_dict())
    part = {name: value for name, value in model.state_dict().items() if "projection" not in name}
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(part)
    base = {name: value for name, value in nets.Matrix().state_dict().items() if not name.startswith("site")}
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(base)


def test_frozen_everything_else_stays_as_it_is(nets, log):
    model, args, optimiser = running(nets, log)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    buffers = copy.deepcopy(dict(model.net.named_buffers()))
    tower = Growth(model, log.crosses, optimiser=optimiser, frozen=True).attach()
    assert all(parameter.grad is None for parameter in model.net.parameters())
    assert tower.training
    trained(model, args, log, optimiser)
    assert not model.net.training
    assert tower.training
    for name, value in before.items():
        assert torch.equal(dict(model.named_parameters())[name], value), name
    for name, value in buffers.items():
        assert torch.equal(dict(model.net.named_buffers())[name], value), name
    assert tower.embedding.weight.abs().sum() > 0


def test_its_penalty_is_that_of_the_embeddings(nets, log):
    model, _, _ = running(nets, log)
    tower = Growth(model, log.crosses, l2=0.5).attach()
    tower.embedding.weight.data[1:] = 1.0
    assert model.penalty().item() == pytest.approx(
        0.5 * (tower.embedding.weight.numel() - tower.embedding.dim)
    )


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_goes_on_with_crosses(nets, log, in_place):
    model, args, optimiser = running(nets, log)
    if in_place:
        model.compile(backend="eager")
    called = model if in_place else torch.compile(model, backend="eager")
    called.eval()
    before = called(*args).detach()
    Growth(inner(called), log.crosses, optimiser=optimiser).attach()
    assert torch.equal(called(*args), before)
    trained(called, args, log, optimiser)
    model.eval()
    torch.testing.assert_close(called(*args), model.forward(*args))
    assert (called(*args) - before).abs().max() > 0.01
    assert model.cross_tower.embedding.weight.abs().sum() > 0


def test_hooks_of_the_user_go_on(nets, log):
    model, args, _ = running(nets, log)
    seen = []
    model.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    tower = Growth(model, log.crosses).attach()
    tower.embedding.weight.data[1:] = 0.3
    out = model.eval()(*args)
    assert torch.equal(out, seen[-1])


def test_what_wraps_a_model_is_looked_into(nets, log):
    model, _, _ = running(nets, log)
    assert inner(model) is model
    assert inner(nn.DataParallel(model)) is model
    assert inner(torch.compile(nn.DataParallel(model), backend="eager")) is model
    with pytest.raises(SettingError, match="not a PyTorch model"):
        inner(lambda x: x)


def test_a_forward_that_was_lent_and_given_back_does_not_hide_the_crosses(nets, log):
    model, args, _ = running(nets, log)
    model.forward = model.forward
    tower = Growth(model, log.crosses).attach()
    tower.embedding.weight.data[1:] = 0.5
    assert "forward" not in vars(model)
    assert not torch.equal(model.eval()(*args), nets.Matrix.forward(model, *args))


def test_it_can_be_undone(nets, log):
    model, args, _ = running(nets, log)
    before = model.eval()(*args)
    growth = Growth(model, log.crosses, frozen=True)
    tower = growth.attach()
    tower.embedding.weight.data[1:] = 0.5
    assert growth.detach() is tower
    assert type(model) is nets.Matrix
    assert not hasattr(model, "nid_inputs")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model.eval()(*args), before)


def test_the_same_class_each_time(nets):
    assert grown_class(nets.Matrix) is grown_class(nets.Matrix)
    assert issubclass(grown_class(nets.Matrix), (Grown, nets.Matrix))
    assert TorchAdapter().claims(grown_class(nets.Matrix)())


def test_failures_leave_model_and_optimiser_as_they_are(nets, log, unchanged):
    model, _, optimiser = running(nets, log)
    state = copy.deepcopy(optimiser.state_dict()["param_groups"])
    with unchanged(model):
        for options in ({}, {"dim": 1, "train_projection": False}):  # the latter has one parameter alone
            with pytest.raises(UnsupportedError, match="no further parameters"):
                Growth(model, log.crosses, optimiser=torch.optim.LBFGS(model.parameters()), **options)
        with pytest.raises(SettingError, match="not a scheduler"):
            Growth(model, log.crosses, optimiser=optimiser, schedulers=[3])
        with pytest.raises(SettingError, match="dim"):
            Growth(model, log.crosses, optimiser=optimiser, dim=0)
        with pytest.raises(SettingError, match="wide"):
            Growth(model, log.crosses, optimiser=optimiser, wide=3)
        with pytest.raises(SettingError, match="frozen"):
            Growth(model, log.crosses, optimiser=optimiser, frozen=1)
        with pytest.raises(SettingError, match="extract"):
            Growth(model, log.crosses, optimiser=optimiser, inputs=lambda columns: ((), {}))
        Growth(model, log.crosses, optimiser=optimiser)  # not attached
    assert optimiser.state_dict()["param_groups"] == state


class Closed(torch.optim.Adam):
    """Takes no group once it is at work."""

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        if self.state:
            raise ValueError("closed")


@pytest.mark.parametrize("frozen", [False, True])
def test_an_optimiser_that_refuses_in_the_end_leaves_everything_as_it_is(nets, log, unchanged, frozen):
    model, args = nets.Matrix(), nets.arguments("matrix", log)
    optimiser = Closed(model.parameters(), lr=0.02)
    trained(model, args, log, optimiser)
    state = copy.deepcopy(optimiser.state_dict())
    growth = Growth(model, log.crosses, optimiser=optimiser, frozen=frozen)
    with unchanged(model), pytest.raises(UnsupportedError, match="Closed takes no further parameters"):
        growth.attach()
    assert type(model) is nets.Matrix
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert optimiser.state_dict()["param_groups"] == state["param_groups"]
    trained(model, args, log, optimiser)


def test_models_that_cannot_take_crosses_are_named(nets, log):
    with pytest.raises(ModelError, match="one score a row"):
        Growth(nets.Two(), log.crosses, output="probability")
    grown = nets.Matrix()
    Growth(grown, log.crosses.select([0])).attach()
    with pytest.raises(UnsupportedError, match="injected crosses already"):
        Growth(grown, log.crosses.select([1]))
    with pytest.raises(UnsupportedError, match="injected crosses already"):
        Growth(inject(nets.Matrix(), log.crosses.select([0]), output="probability"), log.crosses.select([1]))
    replaced = nets.Matrix()
    replaced.forward = lambda x: x[:, 0]
    with pytest.raises(UnsupportedError, match="forward was replaced"):
        Growth(replaced, log.crosses)
    taken = nets.Matrix()
    taken.cross_tower = nn.Linear(1, 1)
    with pytest.raises(UnsupportedError, match="attributes of these names"):
        Growth(taken, log.crosses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.trace(nets.Matrix().eval(), nets.arguments("matrix", log))
    with pytest.raises(UnsupportedError, match="scripted"):
        Growth(scripted, log.crosses)
