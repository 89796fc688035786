"""From a trained DeepCTR-Torch model to the same model with cross features, on simulated clicks."""

from __future__ import annotations

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM

import nid_plugins as nid
from nid_plugins.simulate import simulate

log = simulate(30_000, seed=0)  # any log will do: a dict of arrays, or a pandas, Polars or Arrow table
train, valid, test = (
    log.rows(slice(0, 20_000)),
    log.rows(slice(20_000, 25_000)),
    log.rows(slice(25_000, None)),
)
columns = [
    SparseFeat(f.name, f.cardinality, 8) if isinstance(f, nid.SparseField) else DenseFeat(f.name)
    for f in log.schema
]
model = DeepFM(columns, columns, dnn_hidden_units=(64, 32), l2_reg_embedding=1.0, init_std=0.05)
model.compile(torch.optim.Adam(model.parameters(), lr=3e-3), "binary_crossentropy")
model.fit(dict(train.frame), train.label.astype(np.float32), batch_size=256, epochs=8, verbose=0)

# 1. Which fields does the model make interact?
box = nid.wrap(model)  # DeepCTR-Torch declares its fields; other models: nid.wrap(model, schema)
report = nid.detect(box, valid.frame, background=train.frame, instances=200, perturbations=2000, seed=0)
print(report.to_frame()[["interaction", "share", "strength", "stability"]].head(8))
print("planted:", [" x ".join(sorted(s)) for s in log.planted_sets])

# 2. Turn them into cross features, and keep those that predict clicks the model gets wrong.
crosses = nid.fit_crosses(report, train.frame, log.schema, max_crosses=10)
scores = nid.screen(crosses, valid.frame, valid.label, box.logits(valid.frame))
crosses = crosses.select(scores.select(5) or [scores[0].name])
crosses.save("crosses")  # JSON and safetensors; nid.CrossFeatures.load("crosses") reads it back

# 3. Give them back. Same inputs, same first output, a model of the same class that trains on.
target = nid.inject(model, crosses, mode="residual")
assert np.array_equal(target.predict(dict(test.frame)), model.predict(dict(test.frame)))
target.fit(dict(train.frame), train.label.astype(np.float32), batch_size=256, epochs=1, verbose=0)
before, after = (nid.wrap(one, log.schema).logits(test.frame) for one in (model, target))
print(nid.compare(test.label, before, after))  # AUC, log-loss, RIG, calibration, and how sure each change is
