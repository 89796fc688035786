"""Callbacks, ``fit`` of Keras 3: a small model, its clicks, and a callback that saves it."""

from __future__ import annotations

from pathlib import Path

import docs_clicks
import keras

import nid_plugins as nid

BLOCKS = ("nid.monitor(", "from nid_keras.keras3")
SCHEMA = docs_clicks.schema_of(site=6, item=12, hour=4, price=None)
TRAIN, VALID = docs_clicks.clicks(SCHEMA, 3000), docs_clicks.clicks(SCHEMA, 600, seed=1)


def given():
    keras.utils.set_random_seed(0)
    return {
        "model": docs_clicks.keras_model(keras, SCHEMA),
        "schema": SCHEMA,
        "train": TRAIN,
        "valid": VALID,
        "x": docs_clicks.columns(TRAIN, SCHEMA),
        "y": TRAIN["click"].to_numpy(),
        "optimizer": keras.optimizers.Adam(1e-2),
        "checkpoint": keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True),
    }


def is_watched(page, printed):
    assert page["monitor"].history
    assert "of the training time" in printed
    lines = Path("checks.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == len(page["monitor"].history)


def is_injected(page, printed):
    assert page["injector"].core.crosses is not None
    assert set(nid.cross_embeddings(page["model"])) == set(page["injector"].core.crosses.names)


WARNS = ("longer than the budget",)  # training is over in a second
BEFORE = {"from nid_keras.keras3": lambda page: page.update(model=docs_clicks.keras_model(keras, SCHEMA))}
AFTER = {"nid.monitor(": is_watched, "from nid_keras.keras3": is_injected}
