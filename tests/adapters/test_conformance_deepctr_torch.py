"""The conformance suite on DeepCTR-Torch models."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from deepctr_torch import models as zoo
from deepctr_torch.inputs import DenseFeat, SparseFeat
from nid_torch.ids import CrossIds
from torch import nn

from nid_plugins.schema import SparseField
from nid_plugins.testing import AdapterConformance, IdInput


class Double(zoo.WDL):
    def forward(self, x):
        return super().forward(x).repeat(1, 2)


class DeepCTRTorchConformance(AdapterConformance):
    adapter = "deepctr_torch"
    plugin = "nid_deepctr_torch.plugin"
    frameworks = ("torch", "deepctr_torch")
    modes = frozenset({"residual", "rebuild"})
    declares_schema = True
    zeroes_embeddings = True
    # Its models take one matrix: of float32, or of float64 once they are .double().
    loss = "binary_crossentropy"
    id_inputs = (
        IdInput("matrix of float32", "float32", "float32"),
        IdInput("matrix of float64", "float64", "float64"),
    )
    not_carried: ClassVar = {}
    # Else the penalty of the embeddings would move those of every combination.
    residual_options: ClassVar = {"l2": 0.0}

    def make(self, linear, deep, **options):
        raise NotImplementedError

    def columns(self, schema):
        return [
            SparseFeat(field.name, field.cardinality, 4)
            if isinstance(field, SparseField)
            else DenseFeat(field.name, 1)
            for field in schema
        ]

    def model(self, schema, seed, **options):
        columns = self.columns(schema)
        model = self.make(columns, columns, seed=seed, **options)
        model.compile(torch.optim.Adagrad(model.parameters(), lr=0.1), self.loss)
        return model

    def predict(self, model, frame):
        training = {module: module.training for module in model.modules()}
        out = model.predict(dict(frame), batch_size=64)  # leaves the model in eval mode
        for module, before in training.items():
            module.training = before
        return out

    def train(self, model, frame, label):
        if not hasattr(model, "optim"):
            model.compile(torch.optim.Adagrad(model.parameters(), lr=0.1), self.loss)
        model.fit(dict(frame), label, batch_size=len(label), epochs=1, verbose=0, shuffle=False)

    def state(self, model):
        return {
            "tensors": {name: tensor.detach() for name, tensor in model.state_dict().items()},
            "buffers": dict(model.named_buffers()),
            "training": {name: module.training for name, module in model.named_modules()},
            "gradients": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
            "penalised": [(len(weights), l1, l2) for weights, l1, l2 in model.regularization_weight],
            "optimiser": model.optim.state_dict() if hasattr(model, "optim") else None,
            "class": type(model),
        }

    def random_state(self):
        return torch.get_rng_state()

    def save(self, model, directory):
        torch.save(model, directory / "model.pt")

    def load(self, directory):
        return torch.load(directory / "model.pt", weights_only=False)

    def two_scores(self, schema):
        return Double(self.columns(schema), self.columns(schema))

    def cross_ids(self, crosses, columns, way):
        return CrossIds(crosses)(torch.from_numpy(np.column_stack(list(columns.values())))).numpy()

    def strangers(self):
        yield nn.Linear(3, 1)
        yield nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
        yield zoo.DeepFM
        yield SparseFeat("site", 6, 4)

    def builder(self, schema):
        return self.make, self.columns(schema)


class TestDeepFM(DeepCTRTorchConformance):
    def make(self, linear, deep, **options):
        free = {"l2_reg_linear": 0, "l2_reg_embedding": 0}
        return zoo.DeepFM(linear, deep, dnn_hidden_units=(8,), dnn_use_bn=True, **free, **options)


class TestAutoInt(DeepCTRTorchConformance):
    output = "logit"
    loss = "mse"

    def make(self, linear, deep, **options):
        free = {"l2_reg_embedding": 0, "init_std": 0.1, "task": "regression"}
        return zoo.AutoInt(linear, deep, dnn_hidden_units=(8,), att_layer_num=1, **free, **options)


class TestAFM(DeepCTRTorchConformance):
    """Takes no dense columns."""

    dense = False

    def make(self, linear, deep, **options):
        free = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_att": 0}
        return zoo.AFM(linear, deep, attention_factor=3, **free, **options)
