"""Small PyTorch models in the forms inputs come in, their inputs, and a few steps of training; for the tests beside it."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from nid_plugins.schema import SparseField


class Net(nn.Module):
    """Embeddings, batch norm and dropout; ``sigmoid`` makes it return probabilities."""

    def __init__(self, sigmoid=True, flat=False):
        super().__init__()
        self.site, self.item, self.hour = nn.Embedding(6, 4), nn.Embedding(12, 4), nn.Embedding(4, 4)
        self.net = nn.Sequential(
            nn.BatchNorm1d(13), nn.Linear(13, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.last = nn.Sigmoid() if sigmoid else nn.Identity()
        self.flat = flat

    def score(self, site, price, item, hour):
        wide = [self.site(site.long()), self.item(item.long()), self.hour(hour.long())]
        out = self.last(self.net(torch.cat([*wide, price.to(wide[0].dtype)[:, None]], dim=1)))
        return out.squeeze(1) if self.flat else out


class Matrix(Net):
    def forward(self, x):
        return self.score(*x.unbind(1))


class Dictionary(Net):
    def forward(self, features: dict[str, Tensor]):
        return self.score(**{name: features[name] for name in ("site", "price", "item", "hour")})


class Positional(Net):
    def forward(self, site, price, item, hour):
        return self.score(site, price, item, hour)


class Two(Matrix):
    def forward(self, x):
        return super().forward(x).repeat(1, 2)


class Classes(Matrix):
    """Returns 0 or 1, not a score."""

    def forward(self, x):
        return (super().forward(x) > 0.5).long()


class Complex(Matrix):
    def forward(self, x):
        return super().forward(x).to(torch.complex64)


class Broken(Matrix):
    def forward(self, x):
        return super().forward(x) * torch.nan


class Uncopyable(Matrix):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Narrow(nn.Linear):
    """Takes three columns where the log has four."""

    def __init__(self):
        super().__init__(3, 1)


KINDS = {"matrix": Matrix, "mapping": Dictionary, "positional": Positional}


def arguments(kind, log, n=200, dtype=torch.float32):
    rows = torch.from_numpy(log.rows[:n])
    columns = {
        name: rows[:, j].to(torch.int64 if isinstance(field, SparseField) else dtype)
        for j, (name, field) in enumerate(zip(log.schema.names, log.schema, strict=True))
    }
    return {"matrix": (rows.to(dtype),), "mapping": (columns,), "positional": tuple(columns.values())}[kind]


def trained(model, args, log, steps=20, loss="probability", lr=0.02):
    """Train a few steps and return the losses."""
    model.train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    label = torch.from_numpy(log.label[: len(args[0] if isinstance(args[0], Tensor) else args[0]["site"])])
    function = nn.functional.binary_cross_entropy
    if loss == "logit":
        function = nn.functional.binary_cross_entropy_with_logits
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        out = model(*args).reshape(-1)
        value = function(out, label.to(out.dtype))
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return losses
