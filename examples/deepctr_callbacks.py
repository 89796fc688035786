"""DeepCTR's fit with two callbacks: one watches the model's interactions, one makes the best of them crosses.

DeepCTR needs TF_USE_LEGACY_KERAS=1 before TensorFlow is imported.
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tf_keras
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import DeepFM
from nid_deepctr.callbacks import CrossInjector
from nid_deepctr.reserved import reserve

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.simulate import simulate

log = simulate(25_000, seed=0)
train, valid = log.rows(slice(0, 20_000)), log.rows(slice(20_000, None))
tf_keras.utils.set_random_seed(0)
columns = [
    SparseFeat(
        f.name, f.cardinality, 8, embeddings_initializer=tf_keras.initializers.RandomNormal(0, 0.05, i)
    )
    if isinstance(f, nid.SparseField)
    else DenseFeat(f.name)
    for i, f in enumerate(log.schema)
]
base = DeepFM(columns, columns, dnn_hidden_units=(64, 32), l2_reg_embedding=4e-3)

# A training step of Keras is compiled, so the crosses get their room before it, and are filled in on the way.
model = reserve(base, crosses=5, size=2000, dim=4, bins=10)
model.compile(tf_keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["AUC"])

monitor = nid.monitor(
    model, valid=valid.frame, label=valid.label, budget=0.25, sinks=[JsonLinesSink("checks.jsonl")]
)
injector = CrossInjector(None, train.frame, train.label, valid.frame, valid.label, after=4, bins=10)
model.fit(
    dict(train.frame),
    train.label,
    batch_size=256,
    epochs=8,
    verbose=2,
    validation_data=(dict(valid.frame), valid.label),
    callbacks=[monitor, injector],
)

for check in monitor.history:
    print(f"epoch {check.epoch}: {check.instances} rows explained, first:", *check.ranking[:2])
print("planted:", *("__x__".join(planted.fields) for planted in log.planted))
print(f"watching took {monitor.share:.0%} of the training time")
print("injected:", *(injector.core.crosses.names if injector.core.crosses else ()))
