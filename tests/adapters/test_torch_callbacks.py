"""InteractionMonitor in a PyTorch loop: a run with it is the run without it, to the last bit."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from nid_torch.callbacks import InteractionMonitor
from torch import nn

import nid_plugins as nid
from nid_plugins import callbacks
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.errors import NidWarning, SettingError

SMALL = {"instances": 8, "perturbations": 100}


class Rows(torch.utils.data.Dataset):
    """The log as a data set that adds noise of its own, from NumPy's and Python's random state."""

    def __init__(self, log):
        self.rows, self.label = torch.from_numpy(log.rows[:600]).float(), torch.from_numpy(log.label[:600])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        row = self.rows[i].clone()
        row[1] += 0.01 * np.random.normal() + 0.01 * random.gauss(0.0, 1.0)
        return row, self.label[i]


def run(log, nets, watch=None, epochs=3):
    """Train with dropout, batch norm, shuffling, a scheduler, and noise; return everything that was random on the way."""
    torch.manual_seed(4)
    np.random.seed(4)
    random.seed(4)
    model = nets.Matrix()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 5, 0.5)
    loader = torch.utils.data.DataLoader(Rows(log), batch_size=100, shuffle=True)
    monitor = None if watch is None else watch(model)
    losses = []
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy(model(x).reshape(-1), y)
            loss.backward()
            optimiser.step()
            scheduler.step()
            losses.append(loss.item())
            if monitor is not None:
                monitor.step_end({"loss": loss})
                assert model.training
        if monitor is not None:
            monitor.epoch_end(epoch, {"loss": loss})
    if monitor is not None:
        monitor.end()
    state = {
        **model.state_dict(),
        **{f"adam{i}": s["exp_avg"] for i, s in optimiser.state_dict()["state"].items()},
    }
    rng = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()
    return losses, state, rng, monitor


@pytest.fixture(scope="module")
def plain(log, nets):
    return run(log, nets)


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("budget", [None, 0.1])
def test_a_watched_run_is_the_run_without(plain, log, nets, unit, budget, recwarn):
    losses, state, rng, monitor = run(
        log,
        nets,
        lambda model: nid.monitor(
            model, log.schema, log.frame, log.label, unit=unit, budget=budget, detect=SMALL
        ),
    )
    assert losses == plain[0]
    assert state.keys() == plain[1].keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, plain[1][name]), name
    assert rng == plain[2]
    assert isinstance(monitor, InteractionMonitor)
    assert len(monitor.history) == {"epoch": 3, "step": 18}[unit] or budget is not None
    assert monitor.history
    assert all(check.gains for check in monitor.history) or budget is not None
    # The log plants site and item.
    assert ("site", "item") in monitor.history[-1].ranking


def test_a_run_with_checks_that_fail_is_the_run_without(plain, log, nets):
    """The model's own failure in the middle of a check leaves no trace either."""

    def watch(model):
        def broken(columns):
            raise RuntimeError("no inputs")

        return nid.monitor(model, log.schema, log.frame, detect=SMALL, budget=None, wrap={"inputs": broken})

    with pytest.warns(NidWarning, match="a check failed") as caught:
        losses, state, rng, monitor = run(log, nets, watch)
    assert len(caught) == 1
    assert monitor.history == []
    assert losses == plain[0]
    assert all(torch.equal(tensor, plain[1][name]) for name, tensor in state.items())
    assert rng == plain[2]


def test_in_a_with_block(log, nets, tmp_path):
    model = nets.Matrix()
    path = tmp_path / "checks.jsonl"
    with InteractionMonitor(
        model,
        log.schema,
        log.frame,
        log.label,
        detect=SMALL,
        budget=None,
        top_k=4,
        sinks=[JsonLinesSink(path)],
    ) as monitor:
        monitor.step_end()
        monitor.epoch_end(0, {"loss": torch.tensor(0.5)})
    (line,) = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    assert line["logs"] == {"loss": 0.5}
    assert (line["epoch"], line["step"]) == (0, 1)
    assert monitor.core.trained > 0
    assert monitor.to_frame()["step"].tolist() == [1] * len(monitor.history[0].report)
    assert not monitor.stable
    assert monitor.share == monitor.core.share
    before = monitor.core.trained
    assert monitor.core.trained == before  # the clock stands


def test_a_core_or_its_options(log, nets):
    core = callbacks.InteractionMonitor(rows=log.frame, schema=log.schema)
    assert InteractionMonitor(nets.Matrix(), core=core).core is core
    with pytest.raises(SettingError, match="a core, or the options of one"):
        InteractionMonitor(nets.Matrix(), log.schema, core=core)
    with pytest.raises(SettingError, match="a core, or the options of one"):
        InteractionMonitor(nets.Matrix(), core="monitor")
    with pytest.raises(SettingError, match="needs rows"):
        InteractionMonitor(nets.Matrix(), log.schema)


def test_a_model_that_grows_crosses_on_the_way_is_watched_on(log, nets):
    from nid_torch.injector import CrossInjector

    torch.manual_seed(4)
    model = nets.Matrix()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    monitor = nid.monitor(model, log.schema, log.frame, log.label, detect=SMALL, budget=None)
    injector = CrossInjector(
        log.schema, log.frame, log.label, log.frame, log.label, after=1, detect=SMALL, max_crosses=1
    ).begin(model, optimiser)
    x, y = torch.from_numpy(log.rows).float(), torch.from_numpy(log.label)
    for epoch in range(3):
        for _ in range(5 if epoch == 0 else 30):
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy(model(x).reshape(-1), y).backward()
            optimiser.step()
        monitor.epoch_end(epoch)
        injector.epoch_end(epoch)
    assert injector.core.status == "injected"
    assert [check.epoch for check in monitor.history] == [0, 1, 2]
    assert ("site", "item") in monitor.history[-1].ranking
