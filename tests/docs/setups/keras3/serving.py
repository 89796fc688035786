"""Serving: a Keras 3 model, crosses of its fields, and a PyTorch model that is given what was learned."""

from __future__ import annotations

import docs_clicks
import keras
import numpy as np
import tensorflow as tf

import nid_plugins as nid

SCHEMA = docs_clicks.schema_of(site=4737, item=7740, price=None)
TRAIN = docs_clicks.clicks(SCHEMA, 1000)


def given():
    keras.utils.set_random_seed(0)
    return {
        "model": docs_clicks.keras_model(keras, SCHEMA),
        "crosses": nid.fit_crosses([("site", "item"), ("site", "price")], TRAIN, SCHEMA),
        "rows": TRAIN[:20],  # all of them are explained
        "train": TRAIN,
        "source": docs_clicks.keras_model(keras, SCHEMA),
        "other_model": docs_clicks.torch_model(SCHEMA),
    }


def is_the_same(page, printed):
    rows = docs_clicks.columns(TRAIN, SCHEMA)
    assert np.array_equal(page["again"].predict(rows, verbose=0), page["target"].predict(rows, verbose=0))


def is_served(page, printed):
    rows = docs_clicks.columns(TRAIN, SCHEMA)
    tensors = {
        name: tf.constant(values[:, None], "float32" if name == "price" else "int32")
        for name, values in rows.items()
    }
    (served,) = tf.saved_model.load("served").signatures["serving_default"](**tensors).values()
    np.testing.assert_allclose(served.numpy(), page["target"].predict(rows, verbose=0), rtol=1e-5)


def is_detected(page, printed):
    assert page["report"].interactions


def export_signatures(page):
    """A folder with a signature ``predict`` beside the default one, and with two outputs."""
    target = page["target"]
    spec = {
        name: tf.TensorSpec((None, 1), "float32" if name == "price" else "int32", name)
        for name in SCHEMA.names
    }

    @tf.function(input_signature=[spec])
    def predict(rows):
        probabilities = target(rows)
        return {"probabilities": probabilities, "logits": tf.math.log(probabilities / (1 - probabilities))}

    archive = keras.export.ExportArchive()
    archive.track(target)
    archive.add_endpoint("serve", target, input_signature=[spec])
    archive.add_endpoint("predict", predict)
    archive.write_out("served", verbose=False)


def is_the_signature(page, printed):
    expected = nid.wrap(page["target"], SCHEMA).logits(TRAIN)
    np.testing.assert_allclose(page["box"].logits(TRAIN), expected, rtol=1e-4, atol=1e-4)


def learned(page, printed):
    """The embeddings are those of the page's other model, after no training at all."""
    held, given = nid.cross_embeddings(page["target"]), page["embeddings"]
    assert held.keys() == given.keys() == set(page["crosses"].names)
    assert all(np.array_equal(held[name], given[name]) for name in held)


WARNS = ("outputs on 256 rows",)  # the PyTorch model does not say what it returns
BEFORE = {"import Signature": export_signatures}
AFTER = {
    "keras.models.load_model": is_the_same,
    "target.export(": is_served,
    'nid.wrap("served", schema': is_detected,
    "import Signature": is_the_signature,
    "nid.load_embeddings(": learned,
}
