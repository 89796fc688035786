"""CrossInjector in DeepCTR-Torch's fit: found and learned, gone on with from a file, and beside the library's callbacks."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from deepctr_torch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM
from nid_deepctr_torch.injector import CrossInjector
from torch.optim import lr_scheduler

import nid_plugins as nid
from nid_plugins.errors import NidWarning, UnsupportedError

EPOCHS, AFTER = 5, 2
OPTIMISERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


def compiled(optimiser="Adam"):
    """A model with dropout, batch norm and penalties."""
    columns = [
        SparseFeat("site", 6, 4),
        DenseFeat("price"),
        SparseFeat("item", 12, 4),
        SparseFeat("hour", 4, 4),
    ]
    model = DeepFM(columns, columns, dnn_hidden_units=(8,), dnn_dropout=0.3, dnn_use_bn=True, seed=3)
    model.compile(
        OPTIMISERS[optimiser](model.parameters()), "binary_crossentropy", metrics=["binary_crossentropy"]
    )
    return model


def injector_of(log, **options):
    small = {"instances": 8, "perturbations": 100}
    rows = (None, log.frame, log.label, log.frame, log.label)
    return CrossInjector(*rows, **{"after": AFTER, "max_crosses": 2, "detect": small, **options})


def fit(log, model, callbacks, *, validated=True, **options):
    """Fit with shuffling; return the history.

    Validation ends DeepCTR-Torch's train mode for the rest of a fit, so that a resumed one has dropout where the
    uninterrupted one had none any more, with and without crosses.
    """
    x = {name: values[:600].copy() for name, values in log.frame.items()}
    valid = {name: values[600:].copy() for name, values in log.frame.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        done = model.fit(
            x,
            log.label[:600],
            **{"batch_size": 100, "epochs": EPOCHS, "verbose": 0, **options},
            validation_data=(valid, log.label[600:]) if validated else None,
            callbacks=callbacks,
        )
    return done.history


def rows_of(model, log):
    return np.column_stack([log.frame[name] for name in model.feature_index]).astype(np.float32)


def predicted(model, log):
    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(rows_of(model, log)))


class Keeper(Callback):
    """Writes what a run needs to go on after each epoch; put it after the injector."""

    def __init__(self, injector, folder, scheduler=None):
        super().__init__()
        self.injector, self.folder, self.scheduler = injector, folder, scheduler

    def on_epoch_end(self, epoch, logs=None):
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.model.optim.state_dict(),
            "injector": self.injector.state_dict(),
            "random": torch.get_rng_state(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
        }
        torch.save(state, self.folder / f"{epoch}.pt")


class Scheduled(Callback):
    """Steps a scheduler at the end of each epoch."""

    def __init__(self, scheduler):
        super().__init__()
        self.scheduler, self.rates = scheduler, []

    def on_epoch_end(self, epoch, logs=None):
        self.scheduler.step()
        self.rates.append(self.scheduler.get_last_lr()[0])


@pytest.fixture(scope="module")
def uninterrupted(log, tmp_path_factory):
    """Make a run from start to end with a checkpoint after each epoch; each kind once."""
    runs = {}

    def run(optimiser, *, frozen=False):
        if (optimiser, frozen) not in runs:
            folder = tmp_path_factory.mktemp("run")
            model = compiled(optimiser)
            scheduler = lr_scheduler.StepLR(model.optim, 2, 0.5)
            injector = injector_of(log, scheduler=scheduler, frozen=frozen)
            scheduled = Scheduled(scheduler)
            torch.manual_seed(4)
            history = fit(
                log, model, [scheduled, injector, Keeper(injector, folder, scheduler)], validated=False
            )
            assert injector.core.status == "injected"
            assert injector.core.epoch == AFTER - 1
            runs[optimiser, frozen] = model, injector, history, scheduled.rates, folder
        return runs[optimiser, frozen]

    return run


def test_the_crosses_are_found_and_learned_and_the_schedule_is_what_it_was(log, uninterrupted):
    model, injector, history, rates, _ = uninterrupted("Adam")
    assert "site__x__item" in injector.core.crosses.names
    assert all(table.any() for table in nid.cross_embeddings(model).values())
    base = compiled()
    scheduled = Scheduled(lr_scheduler.StepLR(base.optim, 2, 0.5))
    torch.manual_seed(4)
    plain = fit(log, base, [scheduled], validated=False)
    assert rates == scheduled.rates
    for name, values in plain.items():
        assert history[name][:AFTER] == values[:AFTER]
    assert history["loss"][-1] < plain["loss"][-1] - 0.01


@pytest.mark.parametrize("epoch", range(EPOCHS - 1))
@pytest.mark.parametrize(("optimiser", "frozen"), [("Adam", False), ("Adagrad", False), ("Adam", True)])
def test_a_resumed_run_ends_as_the_uninterrupted_one(log, uninterrupted, optimiser, frozen, epoch):
    whole, before, history, rates, folder = uninterrupted(optimiser, frozen=frozen)
    state = torch.load(folder / f"{epoch}.pt", weights_only=True)
    model = compiled(optimiser)
    scheduler = lr_scheduler.StepLR(model.optim, 2, 0.5)
    injector = injector_of(log, scheduler=scheduler, frozen=frozen).restore(model, state["injector"])
    model.load_state_dict(state["model"])
    model.optim.load_state_dict(state["optimiser"])
    scheduler.load_state_dict(state["scheduler"])
    scheduled = Scheduled(scheduler)
    torch.set_rng_state(state["random"])
    found = fit(log, model, [scheduled, injector], validated=False, initial_epoch=epoch + 1)
    assert injector.core.status == "injected"
    assert injector.core.crosses.names == before.core.crosses.names
    assert found == {name: values[epoch + 1 :] for name, values in history.items()}
    assert scheduled.rates == rates[epoch + 1 :]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    states = whole.optim.state_dict(), model.optim.state_dict()
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for place, own in states[0]["state"].items():
        for name, value in own.items():
            assert torch.equal(value, states[1]["state"][place][name]), (place, name)


@pytest.mark.parametrize("first", ["the injector", "early stopping"])
def test_early_stopping_may_go_back_to_weights_from_before_the_crosses(log, first):
    model, injector = compiled(), injector_of(log)
    # Nothing is as good as the first epoch is made out to be.
    stopping = EarlyStopping("worse", patience=AFTER, mode="min", restore_best_weights=True)
    weights, epochs = {}, []

    class Worse(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["worse"] = float(epoch)
            epochs.append(epoch)
            if epoch == 0:
                weights.update(before=predicted(self.model, log))
                self.model.train()

    last = [injector, stopping] if first == "the injector" else [stopping, injector]
    fit(log, model, [Worse(), *last])
    assert epochs == [0, 1, 2]
    assert injector.core.status == "injected"
    assert torch.equal(predicted(model, log), weights["before"])
    assert not any(table.any() for table in nid.cross_embeddings(model).values())


def test_a_training_that_is_stopped_is_not_given_crosses_any_more(log):
    model, injector = compiled(), injector_of(log, after=1)
    stopping = EarlyStopping("loss", patience=1, baseline=-1.0)
    fit(log, model, [stopping, injector])
    assert injector.core.status == "waiting"
    assert type(model) is DeepFM
    assert len(model.optim.param_groups) == 1


def test_early_stopping_keeps_the_best_weights_with_crosses(log):
    model, injector = compiled(), injector_of(log, after=1)
    stopping = EarlyStopping("val_binary_crossentropy", patience=2, restore_best_weights=True)
    history = fit(log, model, [injector, stopping], epochs=40)["val_binary_crossentropy"]
    assert len(history) < 40
    assert injector.core.status == "injected"
    assert all(table.any() for table in nid.cross_embeddings(model).values())
    x = {name: values[600:] for name, values in log.frame.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        found = model.evaluate([x[name] for name in model.feature_index], log.label[600:])
    assert found["binary_crossentropy"] == pytest.approx(min(history), abs=1e-7)


def test_checkpoints_of_the_library_hold_the_crosses(log, tmp_path):
    model, injector = compiled(), injector_of(log)
    whole = ModelCheckpoint(str(tmp_path / "whole-{epoch}.pt"))
    weights = ModelCheckpoint(str(tmp_path / "weights-{epoch}.pt"), save_weights_only=True)
    best = ModelCheckpoint(str(tmp_path / "best.pt"), "loss", save_best_only=True, save_weights_only=True)
    fit(log, model, [injector, whole, weights, best], epochs=4)
    expected = predicted(model, log)
    again = torch.load(tmp_path / "whole-4.pt", weights_only=False)
    assert torch.equal(predicted(again, log), expected)
    assert nid.cross_embeddings(again).keys() == set(injector.core.crosses.names)
    assert type(torch.load(tmp_path / "whole-1.pt", weights_only=False)) is DeepFM
    for name in ("weights-4.pt", "best.pt"):  # the loss falls all the time
        fresh = compiled()
        injector_of(log).restore(fresh, injector.state_dict())
        fresh.load_state_dict(torch.load(tmp_path / name, weights_only=True))
        assert torch.equal(predicted(fresh, log), expected)
    earlier = torch.load(tmp_path / "weights-1.pt", weights_only=True)
    model.load_state_dict(earlier)
    base = compiled()
    base.load_state_dict(earlier)
    assert torch.equal(predicted(model, log), predicted(base, log))


def test_a_whole_model_of_a_checkpoint_is_fitted_further(log, tmp_path):
    model, injector = compiled(), injector_of(log)
    fit(log, model, [injector, ModelCheckpoint(str(tmp_path / "{epoch}.pt"))], epochs=3)
    again = torch.load(tmp_path / "3.pt", weights_only=False)
    before = {name: table.copy() for name, table in nid.cross_embeddings(again).items()}
    loss = fit(log, again, [], epochs=2)["loss"]
    assert loss[1] < loss[0] + 0.05
    assert any((table != before[name]).any() for name, table in nid.cross_embeddings(again).items())


@pytest.mark.parametrize("first", ["the monitor", "the injector"])
def test_a_monitor_beside_it_goes_on_and_changes_nothing(log, first):
    runs = []
    for watched in (False, True):
        model, injector = compiled(), injector_of(log)
        callbacks = [injector]
        if watched:
            monitor = nid.monitor(
                model,
                None,
                log.frame,
                log.label,
                budget=None,
                detect={"instances": 8, "perturbations": 100},
            )
            callbacks.insert(0 if first == "the monitor" else 1, monitor)
        torch.manual_seed(4)
        runs.append((fit(log, model, callbacks), model.state_dict(), injector.core.crosses.names))
    assert runs[0][0] == runs[1][0]
    assert runs[0][2] == runs[1][2]
    assert all(torch.equal(tensor, runs[1][1][name]) for name, tensor in runs[0][1].items())
    assert [check.epoch for check in monitor.history] == list(range(EPOCHS))
    assert ("site", "item") in monitor.history[-1].ranking


def test_what_cannot_be_done_is_said_once_and_the_fit_is_the_one_without(log):
    expected, plain = [], compiled()
    torch.manual_seed(4)
    expected = fit(log, plain, [])["loss"]
    model = compiled()
    model.cross_tower = torch.nn.Identity()  # the name is taken
    torch.manual_seed(4)
    with pytest.warns(NidWarning, match="could not be injected") as caught:
        assert fit(log, model, [injector := injector_of(log)])["loss"] == expected
    assert len([w for w in caught if w.category is NidWarning]) == 1
    assert injector.core.status == "failed"
    assert len(model.optim.param_groups) == 1


def test_a_schedule_that_is_not_told_of_is_refused_at_the_start(log):
    model = compiled()
    lr_scheduler.StepLR(model.optim, 2)
    with pytest.raises(UnsupportedError, match="Pass scheduler="):
        fit(log, model, [injector_of(log)])
