"""InteractionMonitor in Lightning's trainer: it sees what there is to see, and training is as it was without it."""

from __future__ import annotations

import warnings

import lightning.pytorch
import numpy as np
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from nid_lightning import callbacks, pl_callbacks

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.errors import NidWarning, SettingError

DETECT = {"instances": 12, "perturbations": 120}
WRAP = {"output": "probability"}


def watched(lit, log, monitor, package="lightning", epochs=3, module=None, **options):
    """Train with a monitor, or without one, from the same seed; return module, trainer and the random state after."""
    module = module or lit.made(package, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.7))
    used = lit.trainer(package, epochs=epochs, callbacks=[] if monitor is None else [monitor], **options)
    torch.manual_seed(3)
    np.random.seed(3)
    loaders = (
        lit.loader(log.rows[:800], log.label[:800], shuffle=True),
        lit.loader(log.rows[800:], log.label[800:]),
    )
    lit.fit(used, module, *loaders)
    return module, used, (torch.get_rng_state(), np.random.get_state()[1].copy())


def monitor_of(log, kind=callbacks.InteractionMonitor, **options):
    options = {"budget": None, "detect": DETECT, "wrap": WRAP, **options}
    return kind(log.schema, log.frame, log.label, **options)


@pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])
def test_a_monitored_run_is_the_same_to_the_last_bit(lit, log, package):
    kind = {"lightning": callbacks, "pytorch_lightning": pl_callbacks}[package].InteractionMonitor
    monitor = monitor_of(log, kind, every=2, unit="step")
    plain, used, random = watched(lit, log, None, package)
    module, seen, random_seen = watched(lit, log, monitor, package)
    assert len(monitor.history) == 12
    assert module.losses == plain.losses
    assert module.rates == plain.rates
    assert {k: v.item() for k, v in seen.callback_metrics.items()} == {
        k: v.item() for k, v in used.callback_metrics.items()
    }
    assert module.state_dict().keys() == plain.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(module.state_dict()[name], tensor), name
    for a, b in zip(plain.parameters(), module.parameters(), strict=True):
        for name, value in used.optimizers[0].state[a].items():
            assert torch.equal(seen.optimizers[0].state[b][name], value), name
    assert [m.training for m in module.modules()] == [m.training for m in plain.modules()]
    assert torch.equal(random[0], random_seen[0])
    assert np.array_equal(random[1], random_seen[1])


def test_epochs_are_told_with_what_was_logged(lit, log):
    monitor = monitor_of(log)
    module, _, _ = watched(lit, log, monitor)
    assert [check.epoch for check in monitor.history] == [0, 1, 2]
    assert [check.step for check in monitor.history] == [8, 16, 24]
    for k, check in enumerate(monitor.history):
        assert check.logs["loss_epoch"] == pytest.approx(np.mean(module.losses[8 * k : 8 * k + 8]), rel=1e-5)
        assert "valid" in check.logs
        assert check.gains


def test_steps_are_the_optimisers(lit, log):
    monitor = monitor_of(log, unit="step")
    watched(lit, log, monitor, epochs=1, accumulate_grad_batches=4)
    assert [check.step for check in monitor.history] == [1, 2]
    assert all("loss" in check.logs for check in monitor.history)


@pytest.mark.parametrize(
    ("package", "base"),
    [("lightning", lightning.pytorch.Callback), ("pytorch_lightning", pytorch_lightning.Callback)],
)
def test_nid_monitor_gives_a_callback_of_the_modules_own_package(lit, log, package, base):
    module = lit.made(package)
    monitor = nid.monitor(module, log.schema, log.frame, log.label, budget=None, detect=DETECT, wrap=WRAP)
    assert isinstance(monitor, base)
    watched(lit, log, monitor, package, epochs=1, module=module)
    assert len(monitor.history) == 1


def test_a_resumed_run_has_the_whole_history(lit, log, tmp_path):
    def run(epochs, **options):
        monitor = monitor_of(log)
        used = lit.trainer(
            epochs=epochs,
            callbacks=[monitor, ModelCheckpoint(tmp_path, filename="last")],
            enable_checkpointing=True,
            root=tmp_path,
        )
        lit.fit(used, lit.made(seeded=True), lit.loader(log.rows, log.label), **options)
        return monitor

    whole = run(3)
    (tmp_path / "last.ckpt").unlink()
    run(2)
    resumed = run(3, ckpt_path=tmp_path / "last.ckpt")
    assert [check.epoch for check in resumed.history] == [0, 1, 2]
    assert [check.step for check in resumed.history] == [check.step for check in whole.history]
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert ours.ranking == theirs.ranking
        assert ours.gains == theirs.gains
        assert ours.drift == theirs.drift


def test_two_monitors_go_together_and_are_kept_apart(lit, log, tmp_path):
    def pair():
        return [monitor_of(log, every=2), monitor_of(log, unit="step", every=5)]

    def run(epochs, monitors, **options):
        last = ModelCheckpoint(tmp_path, filename="last")
        used = lit.trainer(
            epochs=epochs, callbacks=[*monitors, last], enable_checkpointing=True, root=tmp_path
        )
        lit.fit(used, lit.made(), lit.loader(log.rows, log.label), **options)

    first, again = pair(), pair()
    run(2, first)
    run(3, again, ckpt_path=tmp_path / "last.ckpt")
    assert [[check.step for check in one.history] for one in first] == [[24], [5, 10, 15, 20]]
    assert [[check.step for check in one.history] for one in again] == [[24], [5, 10, 15, 20, 25, 30, 35]]


def test_a_monitor_that_fails_says_so_once_and_training_goes_on(lit, log):
    monitor = monitor_of(log, detect={**DETECT, "baseline": "zero_embedding"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module, _, _ = watched(lit, log, monitor)
    ours = [str(w.message) for w in caught if issubclass(w.category, NidWarning)]
    assert len(ours) == 1
    assert "training goes on without" in ours[0]
    assert monitor.history == []
    assert len(module.losses) == 24


def test_sinks_are_closed_when_training_is_broken_off(lit, log, tmp_path):
    class Broken(lit.Lit):
        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                raise RuntimeError("broken off")

    class Sink(JsonLinesSink):
        closed = False

        def close(self):
            super().close()
            self.closed = True

    sink = Sink(tmp_path / "checks.jsonl")
    with pytest.raises(RuntimeError, match="broken off"):
        watched(lit, log, monitor_of(log, sinks=[sink]), module=Broken())
    assert sink.closed
    assert len((tmp_path / "checks.jsonl").read_text("utf-8").splitlines()) == 1


def test_checks_can_go_to_lightnings_logger(lit, log, tmp_path):
    logger = CSVLogger(tmp_path, version=0)
    watched(lit, log, monitor_of(log, sinks=[callbacks.LoggerSink(logger, top=3)]))
    lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text("utf-8").splitlines()
    names = lines[0].split(",")
    assert {"interactions/r2", "interactions/rank_correlation", "step"} <= set(names)
    assert sum(name.startswith("interactions/share/") for name in names) >= 3
    assert [line.split(",")[names.index("step")] for line in lines[1:]] == ["8", "16", "24"]


def test_a_core_and_options_do_not_go_together(log):
    core = monitor_of(log).core
    with pytest.raises(SettingError, match="a shell takes a core"):
        callbacks.InteractionMonitor(log.schema, core=core)
