"""DeepCTR-Torch's fit with two callbacks: one watches the model's interactions, one makes the best of them crosses."""

from __future__ import annotations

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM
from nid_deepctr_torch.injector import CrossInjector

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.simulate import simulate

log = simulate(25_000, seed=0)
train, valid = log.rows(slice(0, 20_000)), log.rows(slice(20_000, None))
columns = [
    SparseFeat(f.name, f.cardinality, 8) if isinstance(f, nid.SparseField) else DenseFeat(f.name)
    for f in log.schema
]
model = DeepFM(columns, columns, dnn_hidden_units=(64, 32), l2_reg_embedding=1.0, init_std=0.05)
model.compile(torch.optim.Adam(model.parameters(), lr=3e-3), "binary_crossentropy", metrics=["auc"])

monitor = nid.monitor(
    model, valid=valid.frame, label=valid.label, budget=0.25, sinks=[JsonLinesSink("checks.jsonl")]
)
injector = CrossInjector(
    train=train.frame, label=train.label, valid=valid.frame, valid_label=valid.label, after=4, bins=10
)
model.fit(
    dict(train.frame),
    train.label.astype(np.float32),
    batch_size=256,
    epochs=8,
    verbose=2,
    validation_data=(dict(valid.frame), valid.label.astype(np.float32)),
    callbacks=[monitor, injector],
)

for check in monitor.history:
    print(f"epoch {check.epoch}: {check.instances} rows explained, first:", *check.ranking[:2])
print("planted:", *("__x__".join(planted.fields) for planted in log.planted))
print(f"watching took {monitor.share:.0%} of the training time")
print("injected:", *(injector.core.crosses.names if injector.core.crosses else ()))
