"""DeepCTR: a trained DeepFM of the page's columns, crosses of them, and rows to train on."""

from __future__ import annotations

import docs_clicks
import numpy as np
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import DeepFM

import nid_plugins as nid

BLOCKS = ("nid.FeatureSchema.of(columns)", "import nid_deepctr.layers")
SCHEMA = docs_clicks.schema_of(site=4737, item=7740, price=None)
TRAIN = docs_clicks.clicks(SCHEMA, 2000)


def given():
    columns = [SparseFeat("site", 4737, 8), SparseFeat("item", 7740, 8), DenseFeat("price")]
    model = DeepFM(columns, columns, dnn_hidden_units=(8,))
    model.compile("adam", "binary_crossentropy")
    train = docs_clicks.columns(TRAIN, SCHEMA)
    label = TRAIN["click"].to_numpy()
    model.fit(train, label, batch_size=256, verbose=0)
    return {
        "model": model,
        "crosses": nid.fit_crosses([("site", "item"), ("site", "price")], TRAIN, SCHEMA),
        "train": train,
        "label": label,
    }


def is_rebuilt(page, printed):
    assert page["schema"] == SCHEMA
    assert page["target"].loss == "binary_crossentropy"
    assert set(nid.cross_embeddings(page["target"])) == set(page["crosses"].names)


def is_the_same(page, printed):
    rows = page["train"]
    assert np.array_equal(page["again"].predict(rows, verbose=0), page["target"].predict(rows, verbose=0))


AFTER = {"nid.FeatureSchema.of(columns)": is_rebuilt, "import nid_deepctr.layers": is_the_same}
