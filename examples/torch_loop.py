"""A PyTorch loop of one's own: its interactions are watched while it trains, and the best become crosses on the way."""

from __future__ import annotations

import numpy as np
import torch
from nid_torch.callbacks import InteractionMonitor
from nid_torch.injector import CrossInjector
from torch import Tensor, nn

import nid_plugins as nid
from nid_plugins.simulate import simulate

log = simulate(25_000, seed=0)
train, valid, names = log.rows(slice(0, 20_000)), log.rows(slice(20_000, None)), log.schema.names


class Net(nn.Module):
    """Embeddings and an MLP on the columns of a matrix."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {i: f.cardinality for i, f in enumerate(log.schema) if isinstance(f, nid.SparseField)}
        self.tables = nn.ModuleDict({str(i): nn.Embedding(size, 8) for i, size in sizes.items()})
        width = 8 * len(sizes) + len(names) - len(sizes)
        self.layers = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 1) of rows (n, p), columns in schema order."""
        columns = x.split(1, dim=1)
        known = self.tables
        parts = [known[str(i)](c[:, 0].long()) if str(i) in known else c for i, c in enumerate(columns)]
        return self.layers(torch.cat(parts, dim=1))


torch.manual_seed(0)
model = Net()
groups = [{"params": model.layers.parameters()}, {"params": model.tables.parameters(), "weight_decay": 4e-3}]
optimiser = torch.optim.Adam(groups, lr=3e-3)
schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=4, gamma=0.5)
x = torch.from_numpy(np.stack([train.frame[name] for name in names], axis=1).astype(np.float32))
y = torch.from_numpy(train.label.astype(np.float32))[:, None]

held, logit = (valid.frame, valid.label), {"output": "logit"}
injector = CrossInjector(log.schema, train.frame, train.label, *held, after=4, bins=10, wrap=logit)
injector.begin(model, optimiser, schedule)
with InteractionMonitor(model, log.schema, *held, budget=0.25, wrap=logit) as monitor:
    for epoch in range(8):
        for rows in torch.randperm(len(x)).split(256):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        monitor.epoch_end(epoch, {"loss": loss.item()})
        injector.epoch_end(epoch)  # puts crosses into the model, and into its optimiser, when it is time

for check in monitor.history:
    print(f"epoch {check.epoch}: {check.instances} rows explained, first:", *check.ranking[:2])
print("planted:", *("__x__".join(planted.fields) for planted in log.planted))
print(f"watching took {monitor.share:.0%} of the training time")
print("injected:", *(injector.core.crosses.names if injector.core.crosses else ()))
