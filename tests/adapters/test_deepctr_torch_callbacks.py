"""InteractionMonitor in DeepCTR-Torch's fit: the run with it is the run without it, to the last bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from deepctr_torch.callbacks import Callback
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM
from nid_deepctr_torch.callbacks import InteractionMonitor

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.errors import NidWarning, SettingError

SMALL = {"instances": 8, "perturbations": 100}


def fitted(log, callback=None, *, validated=False, verbose=0, epochs=3):
    """Fit a model with dropout, batch norm and shuffling; return losses, weights, optimiser and random states."""
    columns = [
        SparseFeat("site", 6, 4),
        DenseFeat("price"),
        SparseFeat("item", 12, 4),
        SparseFeat("hour", 4, 4),
    ]
    model = DeepFM(columns, columns, dnn_hidden_units=(8,), dnn_dropout=0.3, dnn_use_bn=True, seed=3)
    model.compile(torch.optim.Adam(model.parameters(), lr=0.02), "binary_crossentropy", metrics=["auc"])
    torch.manual_seed(4)
    np.random.seed(4)
    random.seed(4)
    watching = [] if callback is None else [callback(model)]
    x = {name: values[:600].copy() for name, values in log.frame.items()}
    valid = {name: values[600:800].copy() for name, values in log.frame.items()}
    history = model.fit(
        x,
        log.label[:600],
        batch_size=128,
        epochs=epochs,
        verbose=verbose,
        validation_data=(valid, log.label[600:800]) if validated else None,
        callbacks=watching,
    )
    optimiser = {f"adam{i}": s["exp_avg"] for i, s in model.optim.state_dict()["state"].items()}
    rng = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()
    modes = [module.training for module in model.modules()]
    return history.history, {**model.state_dict(), **optimiser}, rng, modes, watching


@pytest.mark.parametrize(("validated", "verbose"), [(False, 0), (True, 2)])
def test_a_watched_fit_is_the_fit_without(log, validated, verbose, capsys):
    plain = fitted(log, validated=validated, verbose=verbose)
    watched = fitted(
        log,
        lambda model: nid.monitor(model, None, log.frame, log.label, budget=None, detect=SMALL),
        validated=validated,
        verbose=verbose,
    )
    assert watched[0] == plain[0]
    assert watched[1].keys() == plain[1].keys()
    for name, tensor in watched[1].items():
        assert torch.equal(tensor, plain[1][name]), name
    assert watched[2:4] == plain[2:4]
    (monitor,) = watched[4]
    assert isinstance(monitor, InteractionMonitor)
    assert isinstance(monitor, Callback)
    assert [check.epoch for check in monitor.history] == [0, 1, 2]
    assert [check.logs["loss"] for check in monitor.history] == plain[0]["loss"]
    assert monitor.history[-1].gains


def test_made_without_a_model_it_takes_the_schema_of_the_one_that_is_fitted(log, tmp_path, capsys):
    monitor = InteractionMonitor(
        rows=log.frame, budget=None, detect=SMALL, sinks=[JsonLinesSink(tmp_path / "checks.jsonl")]
    )
    fitted(log, lambda model: monitor, epochs=2)
    assert monitor.history[0].report.schema == log.schema
    assert len((tmp_path / "checks.jsonl").read_text("utf-8").splitlines()) == 2


def test_a_frame_that_does_not_fit_is_said_once_and_the_fit_is_finished(log, capsys):
    monitor = InteractionMonitor(rows={"site": log.frame["site"]}, budget=None, detect=SMALL)
    with pytest.warns(NidWarning, match="a check failed.*FrameError.*'price'") as caught:
        history, *_ = fitted(log, lambda model: monitor)
    assert len([w for w in caught if w.category is NidWarning]) == 1
    assert len(history["loss"]) == 3
    assert monitor.history == []


def test_steps_are_not_told_to_deepctr_torch_s_callbacks(log):
    with pytest.raises(SettingError, match="epochs only"):
        InteractionMonitor(rows=log.frame, unit="step")
