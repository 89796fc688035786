"""What an AutoInt of DeepCTR-Torch has learned goes to a Keras 3 model, through a folder and nothing else."""

from __future__ import annotations

import sys

import numpy as np

import nid_plugins as nid
from nid_plugins.metrics import auc
from nid_plugins.simulate import simulate

log = simulate(30_000, seed=0)
train, valid, test = (
    log.rows(slice(0, 20_000)),
    log.rows(slice(20_000, 25_000)),
    log.rows(slice(25_000, None)),
)


def learn(folder: str) -> None:
    """Detect on the source, learn embeddings of the crosses there, save both."""
    import torch
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import AutoInt

    columns = [
        SparseFeat(f.name, f.cardinality, 8) if isinstance(f, nid.SparseField) else DenseFeat(f.name)
        for f in log.schema
    ]
    model = AutoInt(columns, columns, dnn_hidden_units=(64, 32), l2_reg_embedding=1.0, init_std=0.05)
    model.compile(torch.optim.Adam(model.parameters(), lr=3e-3), "binary_crossentropy")
    model.fit(dict(train.frame), train.label.astype(np.float32), batch_size=256, epochs=6, verbose=0)

    box = nid.wrap(model)
    report = nid.detect(box, valid.frame, background=train.frame, instances=200, perturbations=2000, seed=0)
    crosses = nid.fit_crosses(report, train.frame, log.schema, max_crosses=10)
    scores = nid.screen(crosses, valid.frame, valid.label, box.logits(valid.frame))
    crosses = crosses.select(scores.select(5) or [scores[0].name])
    crossed = nid.inject(model, crosses, dim=8)
    crossed.fit(dict(train.frame), train.label.astype(np.float32), batch_size=256, epochs=2, verbose=0)
    crosses.save(folder, embeddings=nid.cross_embeddings(crossed))  # JSON and safetensors


def use(folder: str) -> None:
    """Give them to a model of another framework. No PyTorch from here on."""
    import keras

    crosses = nid.CrossFeatures.load(folder)  # bins, vocabularies, the schema
    embeddings = nid.load_embeddings(folder)
    inputs, parts = {}, []
    for field in crosses.schema:
        sparse = isinstance(field, nid.SparseField)
        inputs[field.name] = keras.Input((1,), dtype="int32" if sparse else "float32", name=field.name)
        table = keras.layers.Embedding(field.cardinality, 8) if sparse else None
        parts.append(keras.layers.Flatten()(table(inputs[field.name])) if table else inputs[field.name])
    deep = keras.layers.Dense(32, "relu")(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(deep))
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    model.fit(dict(train.frame), train.label, batch_size=256, epochs=3, verbose=0)

    # Only what the embeddings weigh is learned here: five crosses of eight numbers each.
    target = nid.inject(model, crosses, dim=8, embeddings=embeddings, train_embeddings=False, frozen=True)
    assert np.array_equal(
        nid.wrap(target, log.schema).logits(test.frame), nid.wrap(model, log.schema).logits(test.frame)
    )
    target.fit(dict(train.frame), train.label, batch_size=256, epochs=3, verbose=0)
    target.export("served", verbose=False)  # takes the original fields, computes the crosses itself
    served = nid.wrap("served", log.schema, output="probability")
    for name, box in (
        ("Keras model", nid.wrap(model, log.schema)),
        ("with what was learned elsewhere", served),
    ):
        print(f"{name}: AUC {auc(test.label, box.logits(test.frame)):.4f}")


if __name__ == "__main__":
    steps = {"learn": learn, "use": use}  # python transfer.py learn crosses; python transfer.py use crosses
    steps[sys.argv[1]](sys.argv[2])
