"""DeepCTR models with crosses are served: SavedModels that need neither DeepCTR nor us, and are sources again."""

from __future__ import annotations

import subprocess
import sys

import deepctr_zoo as dz
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from deepctr.models import DeepFM

import nid_plugins as nid


def residual():
    return nid.inject(dz.built("DeepFM"), dz.crosses_of(), dim=4)


def rebuilt():
    return nid.inject(
        lambda linear, deep: DeepFM(linear, deep, dnn_hidden_units=(8,)),
        dz.crosses_of(),
        mode="rebuild",
        columns=dz.columns(),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Name to trained target and the folder of its SavedModel."""
    place = tmp_path_factory.mktemp("deepctr")
    made = {}
    tf_keras.utils.set_random_seed(1)  # no score of exactly 0 or 1
    for make in (residual, rebuilt):
        target = dz.trained(make(), dz.FRAME)
        target.export(str(place / make.__name__))
        made[make.__name__] = target, place / make.__name__
    # Its other way to write a SavedModel.
    made["residual"][0].save(str(place / "saved"), save_format="tf")
    made["saved"] = made["residual"][0], place / "saved"
    return made


def in_graph(model):
    """Return the model's output on the frame, as a graph of any number of rows computes it."""
    batch = dz.tensors(model, dz.FRAME)
    specs = {name: tf.TensorSpec([None, *own.shape[1:]], own.dtype) for name, own in batch.items()}
    return tf.function(lambda own: model(own, training=False), input_signature=[specs])(batch).numpy()


NAMES = ("residual", "rebuilt", "saved")


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_that_of_the_base(served, name, tmp_path):
    dz.built("DeepFM").export(str(tmp_path / "base"))
    ours, base = (
        tf.saved_model.load(str(folder)).signatures["serving_default"].structured_input_signature[1]
        for folder in (served[name][1], tmp_path / "base")
    )
    assert ours == base


def test_neither_deepctr_nor_keras_nor_ours_is_needed(served, tmp_path):
    np.savez(tmp_path / "rows.npz", **dz.FRAME)
    script = """
import sys
for name in ("keras", "tf_keras", "deepctr", "nid_keras", "nid_deepctr", "nid_plugins"):
    sys.modules[name] = None  # cannot be imported
import numpy as np
import tensorflow as tf

rows = np.load(sys.argv[1])
out = []
for folder in sys.argv[3:]:
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    specs = serve.structured_input_signature[1]
    feeds = {name: tf.constant(rows[name][:, None], spec.dtype) for name, spec in specs.items()}
    out.append(next(iter(serve(**feeds).values())).numpy())
np.save(sys.argv[2], out)
"""
    files = [str(tmp_path / "rows.npz"), str(tmp_path / "out.npy")]
    command = [sys.executable, "-c", script, *files, *(str(served[name][1]) for name in NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, out in zip(NAMES, np.load(tmp_path / "out.npy"), strict=True):
        np.testing.assert_array_equal(out, in_graph(served[name][0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_saved_model_is_a_source_again(served, name):
    target, folder = served[name]
    box = nid.wrap(folder, dz.SCHEMA, output="probability")
    raw = in_graph(target)[:, 0].astype(np.float64)
    np.testing.assert_allclose(box.logits(dz.FRAME), np.log(raw) - np.log1p(-raw), rtol=0, atol=1e-12)
    rows = {field: values[:6] for field, values in dz.FRAME.items()}
    settings = {"background": dz.FRAME, "perturbations": 200, "detector": "least_squares", "seed": 0}
    ours = nid.detect(box, rows, **settings)
    theirs = nid.detect(nid.wrap(target, dz.SCHEMA), rows, **settings)
    assert [found.fields for found in ours.interactions] == [found.fields for found in theirs.interactions]
    assert len(ours.interactions) > 0
