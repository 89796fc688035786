"""CrossInjector in Lightning's trainer: one process. See ``test_lightning_ranks.py`` for several."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy
from nid_lightning import callbacks, pl_callbacks
from nid_lightning.ranks import Ranks
from nid_torch.growing import Grown

import nid_plugins as nid
from nid_plugins.errors import ArtefactError, NidWarning, SettingError, UnsupportedError

DETECT = {"instances": 30, "perturbations": 200}
SCHEDULERS = {
    "none": None,
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5),
    "one cycle": lambda o: {
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=60),
        "interval": "step",
    },
}


def injector_of(log, kind=callbacks.CrossInjector, **options):
    options = {"after": 2, "wrap": {"output": "probability"}, "detect": DETECT, **options}
    return kind(log.schema, log.frame, log.label, log.frame, log.label, **options)


def run(
    lit,
    log,
    *own,
    package="lightning",
    epochs=5,
    module=None,
    resume=None,
    root=None,
    schedule="step",
    **options,
):
    """Train on the log; return module and trainer."""
    module = module or lit.made(package, seeded=True, scheduler=SCHEDULERS[schedule])
    kept = any(isinstance(one, ModelCheckpoint) for one in own)
    used = lit.trainer(package, epochs=epochs, callbacks=own, root=root, enable_checkpointing=kept, **options)
    lit.fit(used, module, lit.loader(log.rows, log.label), ckpt_path=resume)
    return module, used


@pytest.fixture(scope="module")
def uninterrupted(lit, log, tmp_path_factory):
    """A run with an injection at the end of its second epoch, and its checkpoints."""
    root = tmp_path_factory.mktemp("run")
    own = injector_of(log, rate=0.5)
    module, used = run(lit, log, own, ModelCheckpoint(root, filename="{epoch}", save_top_k=-1), root=root)
    return own, module, used, root


@pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])
def test_the_running_module_gains_crosses_that_help(lit, log, package):
    kind = {"lightning": callbacks, "pytorch_lightning": pl_callbacks}[package].CrossInjector
    base, _ = run(lit, log, package=package)
    own = injector_of(log, kind)
    module, used = run(lit, log, own, package=package)
    assert own.core.status == "injected"
    assert own.core.epoch == 1
    assert "site__x__item" in own.core.crosses.names
    assert isinstance(module, (Grown, lit.MODULES[package]))
    assert [len(group["params"]) for group in used.optimizers[0].param_groups] == [9, 2]
    assert nid.cross_embeddings(module)["site__x__item"].any()
    # Until then, and at the step it comes in, the run is the base's to the last bit.
    assert module.losses[:25] == base.losses[:25]
    assert np.mean(module.losses[-12:]) < np.mean(base.losses[-12:]) - 0.02


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_the_schedule_is_not_disturbed(lit, log, schedule):
    base, _ = run(lit, log, schedule=schedule)
    own = injector_of(log, rate=0.5)
    module, used = run(lit, log, own, schedule=schedule)
    assert own.core.status == "injected"
    assert module.rates == base.rates
    first, second = (group["lr"] for group in used.optimizers[0].param_groups)
    assert second == pytest.approx(0.5 * first)


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_a_resumed_run_ends_as_the_uninterrupted_one(lit, log, uninterrupted, epoch):
    first, module, used, root = uninterrupted
    own = injector_of(log, rate=0.5)
    fresh = lit.made(seed=7, seeded=True, scheduler=SCHEDULERS["step"])
    resumed, again = run(lit, log, own, module=fresh, resume=root / f"epoch={epoch}.ckpt")
    assert own.core.epoch == first.core.epoch
    assert own.core.crosses.names == first.core.crosses.names
    assert resumed.losses == module.losses[12 * (epoch + 1) :]
    assert resumed.rates == module.rates[12 * (epoch + 1) :]
    for name, tensor in module.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    states = used.optimizers[0].state_dict(), again.optimizers[0].state_dict()
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for place, state in states[0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, states[1]["state"][place][name])


def test_the_same_module_goes_back_to_a_checkpoint(lit, log, uninterrupted):
    """From after the injection and from before, in one process, with optimisers that are made anew."""
    _, module, _, root = uninterrupted
    own = injector_of(log, rate=0.5)
    same = lit.made(seeded=True, scheduler=SCHEDULERS["step"])
    run(lit, log, own, module=same)
    for epoch in (2, 0):
        same.losses.clear()
        _, used = run(lit, log, own, module=same, resume=root / f"epoch={epoch}.ckpt")
        assert same.losses == module.losses[12 * (epoch + 1) :]
        assert [len(group["params"]) for group in used.optimizers[0].param_groups] == [9, 2]


def test_a_second_fit_goes_on_with_the_crosses_in_a_group_of_their_own(lit, log):
    own = injector_of(log, rate=0.5)
    module, _ = run(lit, log, own, epochs=3, schedule="none")
    before = nid.cross_embeddings(module)["site__x__item"].copy()
    _, used = run(lit, log, own, module=module, epochs=1)
    assert [len(group["params"]) for group in used.optimizers[0].param_groups] == [9, 2]
    assert [group["lr"] for group in used.optimizers[0].param_groups] == [0.02, 0.01]
    after = nid.cross_embeddings(module)["site__x__item"]
    assert (after != before).any()
    assert np.abs(after - before).max() < np.abs(before).max()  # it went on from what had been learned
    other, _ = run(lit, log, own, epochs=1)
    assert not isinstance(other, Grown)  # another module starts anew
    assert own.core.status == "waiting"


def test_evaluation_takes_the_crosses_from_the_checkpoint(lit, log, uninterrupted):
    _, module, _, root = uninterrupted
    loader = lit.loader(log.rows, log.label)
    expected = torch.cat(
        lit.quiet(lit.trainer().predict, module, lit.loader_of_rows(log.rows, len(log.rows)))
    )
    for verb in ("validate", "test", "predict"):
        fresh = lit.made(seed=7)
        used = lit.trainer(callbacks=[injector_of(log)])
        loaded = loader if verb != "predict" else lit.loader_of_rows(log.rows, len(log.rows))
        lit.quiet(getattr(used, verb), fresh, loaded, ckpt_path=root / "epoch=4.ckpt", **lit.silent(verb))
        assert isinstance(fresh, Grown)
        with torch.no_grad():
            found = fresh.eval()(torch.from_numpy(log.rows).float())
        assert torch.equal(found, expected)
        # Evaluation runs in inference mode; what was put in there can be trained.
        assert not any(parameter.is_inference() for parameter in fresh.parameters())


def test_a_checkpoint_of_weights_only_is_refused(lit, log, uninterrupted, tmp_path):
    saved = torch.load(uninterrupted[3] / "epoch=3.ckpt", weights_only=True)
    del saved["callbacks"]
    torch.save(saved, tmp_path / "weights.ckpt")
    with pytest.raises(ArtefactError, match="weights of crosses, but not the crosses"):
        run(lit, log, injector_of(log), resume=tmp_path / "weights.ckpt")


def test_without_the_callback_the_checkpoint_does_not_load_as_something_else(lit, log, uninterrupted):
    with pytest.raises(RuntimeError, match=r"cross_tower\.embedding\.weight"):
        run(lit, log, resume=uninterrupted[3] / "epoch=3.ckpt")


def test_what_fails_is_said_once_and_training_goes_on(lit, log):
    base, _ = run(lit, log)
    own = injector_of(log)
    own.core.chooser._valid = {**log.frame, "site": log.frame["site"] + 100}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module, _ = run(lit, log, own)
    ours = [str(w.message) for w in caught if issubclass(w.category, NidWarning)]
    assert len(ours) == 1
    assert "training goes on without" in ours[0]
    assert own.core.status == "failed"
    assert module.losses == base.losses


def test_crosses_outside_the_loss_are_told_of(lit, log):
    class Around(lit.Lit):
        """Trains a part of it, past its forward."""

        def training_step(self, batch, index):
            x, y = batch
            return torch.nn.functional.binary_cross_entropy(lit.Lit.forward(self, x), y)

    module = Around()
    module.build(plain=True)
    with pytest.warns(NidWarning, match="take no part in the loss"):
        run(lit, log, injector_of(log), module=module)


def test_a_frozen_base_stays_as_it_was(lit, log):
    own = injector_of(log, frozen=True)
    module = lit.made(seeded=True)

    class Look(lit.PACKAGES["lightning"].Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 24:
                self.base = copy.deepcopy({n: p for n, p in module.named_parameters() if "cross" not in n})

    look = Look()
    run(lit, log, own, look, module=module)
    assert own.core.status == "injected"
    for name, parameter in module.named_parameters():
        if "cross" not in name:
            assert torch.equal(parameter, look.base[name]), name
    run(lit, log, own, module=module, epochs=1)  # once more, with the base thawed and frozen again
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad == ("cross" in name)
        if "cross" not in name:
            assert torch.equal(parameter, look.base[name]), name


def test_the_optimiser_can_be_chosen(lit, log):
    class Two(lit.Lit):
        def __init__(self):
            super().__init__(plain=True)
            self.automatic_optimization = False

        def configure_optimizers(self):
            tables = [*self.site.parameters(), *self.item.parameters(), *self.hour.parameters()]
            return [torch.optim.SGD(tables, 0.1), torch.optim.Adam(self.net.parameters(), 0.02)]

        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            for optimiser in self.optimizers():
                optimiser.zero_grad()
            self.manual_backward(loss)
            for optimiser in self.optimizers():
                optimiser.step()

    own = injector_of(log, optimiser=1)
    module, used = run(lit, log, own, module=Two())
    assert [len(one.param_groups) for one in used.optimizers] == [1, 2]
    assert nid.cross_embeddings(module)["site__x__item"].any()
    with pytest.raises(SettingError, match="fewer optimisers"):
        run(lit, log, injector_of(log, optimiser=1))


def test_options_are_checked_before_training(log):
    for options, text in (
        ({"optimiser": -1}, "place in the trainer's list"),
        ({"tower": {"dims": 4}}, "unknown option"),
        ({"wrap": {"inputs": lambda columns: ((), columns)}}, "extract"),
    ):
        with pytest.raises(SettingError, match=text):
            injector_of(log, **options)


def test_sharded_training_is_refused(lit):
    class Sharded:
        strategy = FSDPStrategy()

    with pytest.raises(UnsupportedError, match="cannot be injected while this strategy trains"):
        Ranks.of(Sharded())


def test_an_injected_module_is_one_that_trains(lit, log):
    """``nid.inject`` gives a LightningModule back, which a trainer takes."""
    base, _ = run(lit, log, epochs=1)
    target = nid.inject(base, log.crosses, output="probability")
    assert isinstance(target, lit.Lit)
    target.losses.clear()
    run(lit, log, module=target, epochs=2)
    assert not isinstance(base, Grown)
    assert np.mean(target.losses[-12:]) < np.mean(target.losses[:12])
    assert all(table[1:].any() for table in nid.cross_embeddings(target).values())
    with pytest.raises(UnsupportedError, match="crosses already"):
        nid.inject(target, log.crosses)
    with pytest.raises(UnsupportedError, match="cannot be rebuilt"):
        nid.get_manager().adapter_for(base).inject(base, log.crosses, mode="rebuild")


class Judged(Callback):
    """Gives each epoch's end a number to be judged by."""

    def __init__(self, values):
        self.values = values

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("own", float(self.values[trainer.current_epoch]))


def test_lightning_s_early_stopping_and_checkpoint_of_the_best_go_with_it(lit, log, tmp_path):
    """The best epoch has crosses, and the run ends before its last one."""
    own = injector_of(log)
    judged = Judged([0.9, 0.8, 0.7, 0.1, 0.5, 0.6, 0.0])
    stopping = EarlyStopping("own", patience=2, mode="min", check_on_train_epoch_end=True)
    best = ModelCheckpoint(tmp_path, "{epoch}", monitor="own", mode="min", save_on_train_epoch_end=True)
    module, used = run(lit, log, own, judged, stopping, best, epochs=7, root=tmp_path)
    assert used.current_epoch == 6
    assert own.core.status == "injected"
    assert best.best_model_path.endswith("epoch=3.ckpt")
    state = torch.load(best.best_model_path, weights_only=False)["state_dict"]
    module.load_state_dict(state)
    assert all(table.any() for table in nid.cross_embeddings(module).values())
    fresh, again = lit.made(seeded=True), injector_of(log)
    validated = lit.trainer(callbacks=[again], root=tmp_path)
    (found,) = lit.quiet(
        validated.validate,
        fresh,
        lit.loader(log.rows, log.label),
        ckpt_path=best.best_model_path,
        verbose=False,
    )
    (expected,) = lit.quiet(
        lit.trainer(root=tmp_path).validate, module, lit.loader(log.rows, log.label), verbose=False
    )
    assert found == expected
    assert again.core.crosses.names == own.core.crosses.names


def test_the_best_checkpoint_may_be_from_before_the_crosses(lit, log, tmp_path):
    own = injector_of(log)
    best = ModelCheckpoint(
        tmp_path, "{epoch}", monitor="own", mode="min", save_top_k=1, save_on_train_epoch_end=True
    )
    module, _ = run(lit, log, own, Judged(range(5)), best, root=tmp_path)
    assert own.core.status == "injected"
    assert best.best_model_path.endswith("epoch=0.ckpt")
    state = torch.load(best.best_model_path, weights_only=False)["state_dict"]
    fresh = lit.made()
    fresh.load_state_dict(state)
    module.load_state_dict(state)
    x = torch.from_numpy(log.rows).float()
    assert torch.equal(module.eval()(x), fresh.eval()(x))
