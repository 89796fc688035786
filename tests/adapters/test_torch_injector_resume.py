"""CrossInjector in a PyTorch loop, stopped in the middle and gone on with in another process from a file: the same bits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nid_torch.growing import Grown
from nid_torch.injector import CrossInjector
from torch import nn
from torch.optim import lr_scheduler

import nid_plugins as nid
from nid_plugins.errors import NidWarning

EPOCHS, AFTER = 5, 2
OPTIMISERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=1e-4),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9),
}


def made(nets, optimiser):
    model = nets.Matrix()
    optimiser = OPTIMISERS[optimiser](model.parameters())
    return model, optimiser, lr_scheduler.CosineAnnealingLR(optimiser, 2 * EPOCHS)


def injector_of(log, **options):
    small = {"instances": 8, "perturbations": 100}
    rows = (log.schema, log.frame, log.label, log.frame, log.label)
    return CrossInjector(*rows, after=AFTER, max_crosses=2, detect=small, rate=1.5, **options)


def train(log, model, optimiser, scheduler, injector, epochs, folder=None):
    """Train with dropout, batch norm and shuffling, and write a checkpoint after each epoch."""
    x, y = torch.from_numpy(log.rows[:600]).float(), torch.from_numpy(log.label[:600])
    losses, rates = [], []
    for epoch in epochs:
        model.train()
        for index in torch.randperm(len(y)).split(100):
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy(model(x[index]).reshape(-1), y[index])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        scheduler.step()
        rates.append(optimiser.param_groups[0]["lr"])
        injector.epoch_end(epoch)
        if folder is not None:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "scheduler": scheduler.state_dict(),
                "injector": injector.state_dict(),
                "random": torch.get_rng_state(),
            }
            torch.save(state, folder / f"{epoch}.pt")
    return losses, rates


def resumed(nets, log, path, epoch, optimiser, frozen):
    """Go on from a file with objects made anew, and return what is compared."""
    torch.manual_seed(99)
    state = torch.load(path, weights_only=True)
    model, optimiser, scheduler = made(nets, optimiser)
    injector = injector_of(log, frozen=frozen).restore(model, optimiser, state["injector"], scheduler)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    scheduler.load_state_dict(state["scheduler"])
    torch.set_rng_state(state["random"])
    losses, rates = train(log, model, optimiser, scheduler, injector, range(epoch + 1, EPOCHS))
    return {
        "losses": losses,
        "rates": rates,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "crosses": list(injector.core.crosses.names),
        "status": injector.core.status,
    }


def assert_same(one, two):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert_same(value, two[name])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for own, other in zip(one, two, strict=True):
            assert_same(own, other)
    else:
        assert one == two


@pytest.fixture(scope="module")
def uninterrupted(nets, log, tmp_path_factory):
    """Make a run from start to end with a checkpoint after each epoch; each kind once."""
    runs = {}

    def run(optimiser, *, frozen=False):
        if (optimiser, frozen) not in runs:
            folder = tmp_path_factory.mktemp("run")
            torch.manual_seed(4)
            model, used, scheduler = made(nets, optimiser)
            injector = injector_of(log, frozen=frozen).begin(model, used, scheduler)
            losses, rates = train(log, model, used, scheduler, injector, range(EPOCHS), folder)
            assert injector.core.status == "injected"
            assert isinstance(model, Grown)
            assert all(table.any() for table in nid.cross_embeddings(model).values())
            whole = {
                "losses": losses,
                "rates": rates,
                "model": model.state_dict(),
                "optimiser": used.state_dict(),
                "crosses": list(injector.core.crosses.names),
                "status": "injected",
            }
            runs[optimiser, frozen] = whole, folder
        return runs[optimiser, frozen]

    return run


def rest_of(whole, epoch):
    return {**whole, "losses": whole["losses"][6 * (epoch + 1) :], "rates": whole["rates"][epoch + 1 :]}


@pytest.mark.parametrize("epoch", range(EPOCHS - 1))
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_from_a_file_with_fresh_objects_before_and_after_the_injection(
    nets, log, uninterrupted, optimiser, epoch
):
    whole, folder = uninterrupted(optimiser)
    found = resumed(nets, log, folder / f"{epoch}.pt", epoch, optimiser, frozen=False)
    assert_same(found, rest_of(whole, epoch))


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_frozen_base_stays_frozen(nets, log, uninterrupted, epoch):
    whole, folder = uninterrupted("Adam", frozen=True)
    found = resumed(nets, log, folder / f"{epoch}.pt", epoch, "Adam", frozen=True)
    assert_same(found, rest_of(whole, epoch))


def test_in_another_process(uninterrupted, tmp_path):
    whole, folder = uninterrupted("Adam")
    out = tmp_path / "out.pt"
    done = subprocess.run(
        [sys.executable, __file__, str(folder / "2.pt"), "2", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_same(torch.load(out, weights_only=True), rest_of(whole, 2))


def test_an_optimiser_that_takes_no_crosses_is_said_once_and_the_run_is_the_one_without(nets, log):
    x, y = torch.from_numpy(log.rows[:600]).float(), torch.from_numpy(log.label[:600])

    def run(injector=None):
        torch.manual_seed(4)
        model = nets.Matrix()
        optimiser = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
        if injector is not None:
            injector.begin(model, optimiser)
        losses = []

        def closure():
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy(model(x).reshape(-1), y)
            loss.backward()
            return loss

        for epoch in range(4):
            losses.append(optimiser.step(closure).item())
            if injector is not None:
                assert not injector.epoch_end(epoch)
        return losses, model

    losses, model = run()
    injector = injector_of(log, tower={"dim": 1, "train_projection": False})  # one parameter alone
    with pytest.warns(NidWarning, match="could not be injected.*LBFGS takes no further parameters") as caught:
        with_losses, with_model = run(injector)
    assert len(caught) == 1
    assert injector.core.status == "failed"
    assert type(with_model) is nets.Matrix
    assert with_losses == losses
    assert_same(dict(with_model.state_dict()), dict(model.state_dict()))


def main(path, epoch, out):
    """Go on in this process; what pytest's fixtures are made by is loaded by path."""
    spec = importlib.util.spec_from_file_location("shared", Path(__file__).with_name("conftest.py"))
    shared = importlib.util.module_from_spec(spec)
    sys.modules["shared"] = shared
    spec.loader.exec_module(shared)
    log, nets = shared.log.__wrapped__(), shared.nets.__wrapped__()
    torch.save(resumed(nets, log, path, int(epoch), "Adam", frozen=False), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
