"""Lightning: watch a model's interactions while a trainer trains it, and give it crosses on the way; simulated clicks."""

from __future__ import annotations

import logging

import lightning.pytorch as pl
import numpy as np
import torch
from nid_lightning.callbacks import CrossInjector
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nid_plugins as nid
from nid_plugins.metrics import auc
from nid_plugins.simulate import simulate


class Model(pl.LightningModule):
    """Embeddings and an MLP over one matrix of ids and values, its columns in the schema's order."""

    def __init__(self, schema: nid.FeatureSchema) -> None:
        super().__init__()
        self.sparse = [schema.index_of(field.name) for field in schema.sparse]
        self.dense = [schema.index_of(field.name) for field in schema.dense]
        self.tables = nn.ModuleList(nn.Embedding(field.cardinality, 8) for field in schema.sparse)
        width = 8 * len(self.sparse) + len(self.dense)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return click probabilities."""
        wide = [table(x[:, at].long()) for table, at in zip(self.tables, self.sparse, strict=True)]
        return torch.sigmoid(self.mlp(torch.cat([*wide, x[:, self.dense]], dim=1))).squeeze(1)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss. It calls the module, so that crosses take part in it once they are there."""
        x, y = batch
        loss = nn.functional.binary_cross_entropy(self(x), y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3, weight_decay=1e-5)


log = simulate(24_000, seed=0)
train, valid, test = (log.rows(slice(*ends)) for ends in ((0, 16_000), (16_000, 20_000), (20_000, 24_000)))
matrix = np.column_stack([train.frame[name] for name in log.schema.names]).astype(np.float32)
clicks = torch.from_numpy(train.label.astype(np.float32))
loader = DataLoader(TensorDataset(torch.from_numpy(matrix), clicks), batch_size=256, shuffle=True)

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
pl.seed_everything(0)
model = Model(log.schema)

# Looks after every epoch, without changing anything.
monitor = nid.monitor(
    model,
    log.schema,
    valid.frame,
    valid.label,
    budget=None,  # by default a tenth of the training time, which here is over in seconds
    detect={"instances": 40, "perturbations": 1000},
    wrap={"output": "probability"},
)
# Trains the base for three epochs, then puts the best crosses in; optimiser and schedule go on as they were.
injector = CrossInjector(
    log.schema,
    train.frame,
    train.label,
    valid.frame,
    valid.label,
    after=3,
    max_crosses=5,
    detect={"instances": 100, "perturbations": 1000},
    wrap={"output": "probability"},
)
trainer = pl.Trainer(
    max_epochs=6,
    accelerator="cpu",
    callbacks=[monitor, injector],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, loader)

print("planted:", [" x ".join(sorted(s)) for s in log.planted_sets])
for check in monitor.history:
    drift = "" if check.drift is None else f"rank correlation {check.drift.rank_correlation:.2f}"
    top = [" x ".join(fields) for fields in check.ranking[:3]]
    print(f"epoch {check.epoch}: loss {check.logs['loss']:.4f}", top, drift)
print(f"injected after epoch {injector.core.epoch}:", injector.core.crosses.names)

scores = nid.wrap(model, log.schema, output="probability").logits(test.frame)
print("AUC on test rows:", round(auc(test.label, scores), 4))
assert set(nid.cross_embeddings(model)) == set(injector.core.crosses.names)
