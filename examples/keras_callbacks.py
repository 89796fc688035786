"""Keras's fit with two callbacks: one watches the model's interactions, one makes the best of them crosses."""

from __future__ import annotations

import keras
from nid_keras.keras3 import CrossInjector
from nid_keras.reserved import reserve

import nid_plugins as nid
from nid_plugins.callbacks import JsonLinesSink
from nid_plugins.simulate import simulate

log = simulate(25_000, seed=0)
train, valid = log.rows(slice(0, 20_000)), log.rows(slice(20_000, None))
keras.utils.set_random_seed(0)
inputs, parts, l2 = {}, [], keras.regularizers.L2(4e-3)
for field in log.schema:
    sparse = isinstance(field, nid.SparseField)
    inputs[field.name] = one = keras.Input((), name=field.name, dtype="int32" if sparse else "float32")
    if sparse:
        parts.append(keras.layers.Embedding(field.cardinality, 8, embeddings_regularizer=l2)(one))
    else:
        parts.append(keras.layers.Reshape((1,))(one))
hidden = keras.layers.Dense(64, "relu")(keras.layers.Concatenate()(parts))
base = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))

# A training step of Keras is compiled, so the crosses get their room before it, and are filled in on the way.
model = reserve(base, log.schema, crosses=5, size=2000, dim=4, bins=10)
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["AUC"])

monitor = nid.monitor(
    model, log.schema, valid.frame, valid.label, budget=0.25, sinks=[JsonLinesSink("checks.jsonl")]
)
injector = CrossInjector(log.schema, train.frame, train.label, valid.frame, valid.label, after=4, bins=10)

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
