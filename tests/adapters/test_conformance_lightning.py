"""The conformance suite on modules of both of Lightning's packages."""

from __future__ import annotations

from typing import ClassVar

import lightning.pytorch
import pytorch_lightning
import torch
from nid_torch.ids import CrossIds
from torch import nn

from nid_plugins.testing import AdapterConformance, IdInput

MATRICES = (
    IdInput("matrix of float32", "float32", "float32"),
    IdInput("matrix of float64", "float64", "float64"),
)


class Net:
    """Embeddings, batch norm and dropout; over a matrix whose columns are in the schema's order."""

    def build(self, schema, scores):
        self.fields = tuple(schema)
        self.tables = nn.ModuleDict(
            {field.name: nn.Embedding(field.cardinality, 4) for field in schema.sparse}
        )
        width = 4 * len(schema.sparse) + len(schema.dense)
        self.net = nn.Sequential(
            nn.BatchNorm1d(width), nn.Linear(width, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, scores)
        )
        self.head = nn.Sigmoid()

    def forward(self, x):
        parts = [
            self.tables[field.name](column.long()) if field.name in self.tables else column[:, None]
            for field, column in zip(self.fields, x.unbind(1), strict=True)
        ]
        return self.head(self.net(torch.cat(parts, dim=1)))

    def training_step(self, batch, _index):
        x, y = batch
        return nn.functional.binary_cross_entropy(self(x).reshape(-1), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Lit(Net, lightning.pytorch.LightningModule):
    def __init__(self, schema, scores):
        super().__init__()
        self.build(schema, scores)


class OldLit(Net, pytorch_lightning.LightningModule):
    def __init__(self, schema, scores):
        super().__init__()
        self.build(schema, scores)


class LightningConformance(AdapterConformance):
    adapter = "lightning"
    plugin = "nid_lightning.plugin"
    frameworks = ("torch", "lightning", "pytorch_lightning")
    id_inputs = MATRICES
    not_carried: ClassVar = {}
    kind = Lit

    def model(self, schema, seed):
        torch.manual_seed(seed)
        return self.kind(schema, 1)

    def inputs(self, frame):
        return torch.stack([torch.from_numpy(column).float() for column in frame.values()], dim=1)

    def predict(self, model, frame):
        modes = [(module, module.training) for module in model.modules()]
        with torch.no_grad():
            out = model.eval()(self.inputs(frame)).numpy()
        for module, training in modes:
            module.training = training
        return out

    def train(self, model, frame, label):
        # The module's own step and optimiser, as a trainer would use them.
        model.train()
        optimiser = model.configure_optimizers()
        model.training_step((self.inputs(frame), torch.from_numpy(label)), 0).backward()
        optimiser.step()
        optimiser.zero_grad()

    def state(self, model):
        return {
            "tensors": {name: tensor.detach() for name, tensor in model.state_dict().items()},
            "training": {name: module.training for name, module in model.named_modules()},
            "gradients": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
            "class": type(model),
        }

    def random_state(self):
        return torch.get_rng_state()

    def save(self, model, directory):
        torch.save(model, directory / "model.pt")

    def load(self, directory):
        return torch.load(directory / "model.pt", weights_only=False)

    def two_scores(self, schema):
        return self.kind(schema, 2)

    def cross_ids(self, crosses, columns, way):
        tensors = [torch.from_numpy(column) for column in columns.values()]
        return CrossIds(crosses)(torch.stack(tensors, dim=1)).numpy()

    def strangers(self):
        yield nn.Linear(3, 1)  # a plain module is the PyTorch adapter's
        yield lightning.pytorch.Trainer


class TestLightning(LightningConformance):
    pass


class TestPytorchLightning(LightningConformance):
    kind = OldLit
