"""Lightning: a small module that returns probabilities, and its loader."""

from __future__ import annotations

import logging

import docs_clicks
import torch
from lightning import pytorch as pl

import nid_plugins as nid

SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
TRAIN, VALID = docs_clicks.clicks(SCHEMA, 1500), docs_clicks.clicks(SCHEMA, 600, seed=1)


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.base = docs_clicks.torch_model(SCHEMA)

    def forward(self, x):
        return torch.sigmoid(self.base(x))

    def training_step(self, batch, index):
        x, y = batch
        return torch.nn.functional.binary_cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def given():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return {
        "schema": SCHEMA,
        "train": TRAIN,
        "valid": VALID,
        "module": Module(),
        "loader": docs_clicks.torch_loader(SCHEMA, TRAIN),
    }


def is_watched_and_injected(page, printed):
    assert page["monitor"].core.history
    assert page["trainer"].current_epoch == 10
    assert set(nid.cross_embeddings(page["module"])) == set(page["injector"].core.crosses.names)


WARNS = ("longer than the budget",)  # training is over in a second
AFTER = {"Trainer(": is_watched_and_injected}
