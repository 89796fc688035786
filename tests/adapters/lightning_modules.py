"""A LightningModule of each of Lightning's packages, loaders and trainers; for the tests beside it."""

from __future__ import annotations

import warnings

import lightning.pytorch
import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PACKAGES = {"lightning": lightning.pytorch, "pytorch_lightning": pytorch_lightning}


class Part:
    """What the modules of both packages share: a small network over the columns (site, price, item, hour)."""

    def build(self, scheduler=None, lr=0.02, *, plain=False, seeded=False):
        self.site, self.item, self.hour = nn.Embedding(6, 4), nn.Embedding(12, 4), nn.Embedding(4, 4)
        first, drop = (nn.Identity(), 0.0) if plain else (nn.BatchNorm1d(13), 0.2)
        self.net = nn.Sequential(first, nn.Linear(13, 8), nn.ReLU(), nn.Dropout(drop), nn.Linear(8, 1))
        self.losses, self.rates = [], []
        self.scheduler, self.lr, self.seeded = scheduler, lr, seeded

    def forward(self, x):
        site, price, item, hour = x.unbind(1)
        wide = [self.site(site.long()), self.item(item.long()), self.hour(hour.long()), price[:, None]]
        return torch.sigmoid(self.net(torch.cat(wide, dim=1))).squeeze(1)

    def training_step(self, batch, _index):
        x, y = batch
        loss = nn.functional.binary_cross_entropy(self(x), y)
        self.losses.append(loss.item())
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, _index):
        x, y = batch
        self.log("valid", nn.functional.binary_cross_entropy(self(x), y), sync_dist=True)

    def test_step(self, batch, index):
        self.validation_step(batch, index)

    def predict_step(self, x, _index):
        return self(x)

    def on_train_batch_start(self, _batch, _index):
        if self.seeded:  # a resumed run then draws what the uninterrupted one did
            torch.manual_seed(1000 * self.global_rank + self.trainer.global_step)
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self):
        optimiser = torch.optim.Adam(self.parameters(), lr=self.lr)
        if self.scheduler is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": self.scheduler(optimiser)}


class Lit(Part, lightning.pytorch.LightningModule):
    def __init__(self, **options):
        super().__init__()
        self.build(**options)


class OldLit(Part, pytorch_lightning.LightningModule):
    def __init__(self, **options):
        super().__init__()
        self.build(**options)


MODULES = {"lightning": Lit, "pytorch_lightning": OldLit}


def made(package="lightning", seed=1, **options):
    torch.manual_seed(seed)
    return MODULES[package](**options)


def loader(rows, label, *, size=100, **options):
    data = TensorDataset(torch.from_numpy(rows).float(), torch.from_numpy(label))
    return DataLoader(data, batch_size=size, **options)


def trainer(package="lightning", *, epochs=3, callbacks=(), devices=1, strategy="auto", root=None, **options):
    return PACKAGES[package].Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        default_root_dir=root,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **options},
    )


def loader_of_rows(rows, size=100):
    return DataLoader(torch.from_numpy(rows).float(), batch_size=size)


def silent(verb):
    """Return what keeps evaluation from printing its table."""
    return {} if verb == "predict" else {"verbose": False}


def quiet(call, *args, **options):
    """Call a trainer without Lightning's advice on workers, loaders and folders."""
    advice = (
        "does not have many workers",
        "isinstance.treespec",
        "val_dataloader",
        "is not empty",
        "need to be provided",
    )
    with warnings.catch_warnings():
        for text in advice:
            warnings.filterwarnings("ignore", f".*{text}.*")
        return call(*args, **options)


def fit(used, module, *loaders, **options):
    """Train, and return the module."""
    quiet(used.fit, module, *loaders, **options)
    return module
