"""Callbacks, the loops of PyTorch: a small module, its optimiser and schedule, and batches of clicks."""

from __future__ import annotations

import docs_clicks
import torch

import nid_plugins as nid

BLOCKS = ("from nid_torch.callbacks", "from nid_torch.injector", "weights_only=True")
SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
TRAIN, VALID = docs_clicks.clicks(SCHEMA, 1500), docs_clicks.clicks(SCHEMA, 600, seed=1)
LOADER = docs_clicks.torch_loader(SCHEMA, TRAIN)


def step(model, optimiser, batch):
    x, y = batch
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss)


def train_one_epoch(model, optimiser):
    for batch in LOADER:
        step(model, optimiser, batch)


def started():
    """Return a model, its optimiser and schedule, as for a first run."""
    model = docs_clicks.torch_model(SCHEMA)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    return {
        "model": model,
        "optimiser": optimiser,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.95),
    }


def given():
    names = started()
    return {
        **names,
        "torch": torch,
        "schema": SCHEMA,
        "train": TRAIN,
        "valid": VALID,
        "loader": LOADER,
        "train_on": lambda batch: step(names["model"], names["optimiser"], batch),
        "train_one_epoch": train_one_epoch,
    }


def start_again(page):
    page["trained"] = page["model"]
    page.update(started())


def is_watched(page, printed):
    assert page["monitor"].history[0].epoch == 0  # the first check is made whatever the budget


def is_injected(page, printed):
    assert page["injector"].core.crosses is not None
    assert set(nid.cross_embeddings(page["model"])) == set(page["injector"].core.crosses.names)


def goes_on_bit_for_bit(page, printed):
    """The rest of the run is the uninterrupted one's to the last bit, the page says."""
    for epoch in range(4, 10):
        train_one_epoch(page["model"], page["optimiser"])
        page["scheduler"].step()
        page["injector"].epoch_end(epoch)
    first, again = page["trained"].state_dict(), page["model"].state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


WARNS = ("longer than the budget",)  # training is over in a second
BEFORE = {"from nid_torch.injector": lambda page: page.update(started()), "weights_only=True": start_again}
AFTER = {
    "from nid_torch.callbacks": is_watched,
    "from nid_torch.injector": is_injected,
    "weights_only=True": goes_on_bit_for_bit,
}
