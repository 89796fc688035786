"""The conformance suite on plain PyTorch modules, in the three forms their inputs come in."""

from __future__ import annotations

from typing import ClassVar

import torch
from deepctr_torch.inputs import SparseFeat
from deepctr_torch.models import WDL
from nid_torch.ids import CrossIds
from torch import Tensor, nn

from nid_plugins.schema import SparseField
from nid_plugins.testing import AdapterConformance, IdInput

COLUMNS = (IdInput("columns of int64", "int64", "float32"), IdInput("columns of int32", "int32", "float32"))
MATRICES = (
    IdInput("matrix of float32", "float32", "float32"),
    IdInput("matrix of float64", "float64", "float64"),
)


class Net(nn.Module):
    """Embeddings, batch norm and dropout."""

    def __init__(self, schema, scores=1, head=nn.Sigmoid):
        super().__init__()
        self.fields = tuple(schema)
        self.tables = nn.ModuleDict(
            {field.name: nn.Embedding(field.cardinality, 4) for field in schema.sparse}
        )
        width = 4 * len(schema.sparse) + len(schema.dense)
        self.net = nn.Sequential(
            nn.BatchNorm1d(width), nn.Linear(width, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, scores)
        )
        self.head = head()

    def score(self, columns):
        parts = [
            self.tables[field.name](column.long()) if isinstance(field, SparseField) else column[:, None]
            for field, column in zip(self.fields, columns, strict=True)
        ]
        return self.head(self.net(torch.cat(parts, dim=1)))


class Matrix(Net):
    def forward(self, x):
        return self.score(x.unbind(1))


class Dictionary(Net):
    def forward(self, features: dict[str, Tensor]):
        return self.score([features[field.name] for field in self.fields])


class Positional(Net):
    def forward(self, site, price, item, age, hour):
        return self.score([site, price, item, age, hour]).squeeze(1)


class TorchConformance(AdapterConformance):
    adapter = "torch"
    plugin = "nid_torch.plugin"
    frameworks = ("torch", "deepctr_torch")
    kind = Matrix

    def model(self, schema, seed, **options):
        torch.manual_seed(seed)
        return self.kind(schema, **options)

    def inputs(self, frame):
        columns = {name: torch.from_numpy(column) for name, column in frame.items()}
        if self.kind is Matrix:
            return (torch.stack([column.float() for column in columns.values()], dim=1),)
        return (columns,) if self.kind is Dictionary else tuple(columns.values())

    def predict(self, model, frame):
        modes = [(module, module.training) for module in model.modules()]
        with torch.no_grad():
            out = model.eval()(*self.inputs(frame)).numpy()
        for module, training in modes:
            module.training = training
        return out

    def train(self, model, frame, label):
        model.train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
        out = model(*self.inputs(frame)).reshape(-1)
        loss = nn.functional.binary_cross_entropy_with_logits
        if self.output == "probability":
            loss = nn.functional.binary_cross_entropy
        loss(out, torch.from_numpy(label)).backward()
        optimiser.step()
        optimiser.zero_grad()

    def state(self, model):
        return {
            "tensors": {name: tensor.detach() for name, tensor in model.state_dict().items()},
            "buffers": dict(model.named_buffers()),
            "training": {name: module.training for name, module in model.named_modules()},
            "gradients": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
            "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
            "class": type(model),
        }

    def random_state(self):
        return torch.get_rng_state()

    def save(self, model, directory):
        torch.save(model, directory / "model.pt")

    def load(self, directory):
        return torch.load(directory / "model.pt", weights_only=False)

    def two_scores(self, schema):
        return self.model(schema, 1, scores=2)

    def cross_ids(self, crosses, columns, way):
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        if way.startswith("columns"):
            return CrossIds(crosses)(tensors).numpy()
        return CrossIds(crosses)(torch.stack(list(tensors.values()), dim=1)).numpy()

    def strangers(self):
        columns = [SparseFeat("site", 6, 4), SparseFeat("item", 12, 4)]
        yield WDL(columns, columns, dnn_hidden_units=(4,))  # its own adapter names a nearer class
        yield nn.functional.relu
        yield torch.zeros(3)


class TestMatrix(TorchConformance):
    id_inputs = MATRICES
    not_carried: ClassVar = {}


class TestMapping(TorchConformance):
    kind = Dictionary
    ignores_unknown_fields = True
    id_inputs = COLUMNS
    # The annotation of forward says that it takes a mapping; nothing says that it returns logits.
    output = "logit"
    wrap_options: ClassVar = {"output": "logit"}
    residual_options: ClassVar = {"output": "logit"}

    def model(self, schema, seed, **options):
        return super().model(schema, seed, head=nn.Identity, **options)


class TestPositional(TorchConformance):
    kind = Positional
    id_inputs = COLUMNS
