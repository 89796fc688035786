"""Injected models leave the process: as a ``.keras`` file and as a SavedModel of the original raw inputs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import keras_nets
import numpy as np
import pytest
import tensorflow as tf
from keras_nets import KINDS, SCHEMA, call_of

import nid_plugins as nid

SERVED = [kind for kind in KINDS if kind != "columnwise"]
"""Keras exports no model that takes one argument a field."""

NAMED = ("mapping", "listed", "subclassed")
"""Kinds whose inputs are named like the fields."""

DECLARED = [kind for kind in SERVED if kind != "subclassed"]
"""Kinds whose models declare what they take; what the other was first called with, Keras 3 exports as float32."""


def injected(K: Any, kind: str) -> tuple[Any, Any]:
    """Return a base and a target that has learned something in its crosses, batch statistics and all."""
    base = KINDS[kind](K)
    inputs = "positional" if kind == "positional" else "auto"
    output = "probability" if keras_nets.PROBABILITY[kind] else "logit"
    target = nid.inject(base, keras_nets.crosses(), inputs=inputs, output=output, dim=4)
    optimiser = K.optimizers.Adam(0.05)
    for seed in range(4):
        columns = keras_nets.frame(200, seed)
        label = tf.constant(keras_nets.labels(columns))
        with tf.GradientTape() as tape:
            out = target(*call_of(kind, columns), training=True)
            loss = tf.reduce_mean(K.losses.binary_crossentropy(label, out, from_logits=output == "logit"))
        gradients = tape.gradient(loss, target.trainable_variables)
        optimiser.apply_gradients(
            [(g, v) for g, v in zip(gradients, target.trainable_variables, strict=True) if g is not None]
        )
    assert all(values.any() for values in nid.cross_embeddings(target).values())
    return base, target


@pytest.fixture(scope="module")
def models(K, tmp_path_factory):
    """Kind to target, its ``.keras`` file and its folder of a SavedModel, and the base's folder."""
    place = tmp_path_factory.mktemp("serving")
    made = {}
    for kind in SERVED:
        base, target = injected(K, kind)
        target.save(str(place / f"{kind}.keras"))
        for name, one in (("base", base), ("target", target)):
            one.export(str(place / f"{name}_{kind}"))
        made[kind] = (target, place / f"{kind}.keras", place / f"target_{kind}", place / f"base_{kind}")
    return made


def signature(folder):
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


def graph(target, kind, columns):
    """Return the target's output as a graph of any number of rows computes it.

    One traced for a fixed number of rows is optimised otherwise, and may differ in the last bit.
    """
    args = call_of(kind, columns)
    specs = tf.nest.map_structure(lambda own: tf.TensorSpec([None, *own.shape[1:]], own.dtype), args)
    return tf.function(lambda *own: target(*own, training=False), input_signature=specs)(*args).numpy()


@pytest.mark.parametrize("kind", DECLARED)
def test_the_signature_is_that_of_the_base(models, kind):
    _, _, folder, base = models[kind]
    specs, expected = (
        {
            name: (spec.dtype, spec.shape)
            for name, spec in signature(one).structured_input_signature[1].items()
        }
        for one in (folder, base)
    )
    if kind in NAMED:
        assert specs == expected
        assert set(specs) == set(SCHEMA.names)
    else:
        assert sorted(map(str, specs.values())) == sorted(map(str, expected.values()))


def test_nothing_of_ours_nor_keras_is_needed_to_serve(models, tmp_path):
    columns = keras_nets.frame(50, seed=9)
    np.savez(tmp_path / "rows.npz", **columns)
    script = """
import sys
for name in ("keras", "tf_keras", "nid_keras", "nid_plugins"):
    sys.modules[name] = None  # cannot be imported
import numpy as np
import tensorflow as tf

rows = np.load(sys.argv[1])
out = {}
for folder in sys.argv[3:]:
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    specs = serve.structured_input_signature[1]
    feeds = {n: tf.constant(rows[n].reshape([-1, *s.shape[1:]]), s.dtype) for n, s in specs.items()}
    out[folder.rsplit("_", 1)[1]] = next(iter(serve(**feeds).values())).numpy()
np.savez(sys.argv[2], **out)
"""
    folders = [str(models[kind][2]) for kind in NAMED]
    files = [str(tmp_path / "rows.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(
        [sys.executable, "-c", script, *files, *folders], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    served = np.load(tmp_path / "out.npz")
    for kind in NAMED:
        np.testing.assert_array_equal(served[kind], graph(models[kind][0], kind, columns))


def test_a_keras_file_is_loaded_where_only_the_layers_are(K, models, tmp_path):
    columns = keras_nets.frame(50, seed=9)
    np.savez(tmp_path / "rows.npz", **columns)
    layers = "nid_keras.tf_keras2" if K.__name__ == "tf_keras" else "nid_keras.keras3"
    script = f"""
import sys
import numpy as np
import tensorflow as tf
import {K.__name__} as keras
import {layers}

model = keras.saving.load_model(sys.argv[1])
rows = np.load(sys.argv[2])
feeds = {{name: tf.constant(rows[name][:, None], tensor.dtype) for name, tensor in model.input.items()}}
np.save(sys.argv[3], model(feeds, training=False).numpy())
"""
    arguments = [str(models["mapping"][1]), str(tmp_path / "rows.npz"), str(tmp_path / "out.npy")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), models["mapping"][0](*call_of("mapping", columns), training=False)
    )


@pytest.mark.parametrize("kind", SERVED)
def test_the_saved_model_is_a_source_again(models, kind):
    target, _, folder, _ = models[kind]
    inputs = "positional" if kind == "positional" else "auto"
    output = "probability" if keras_nets.PROBABILITY[kind] else "logit"
    box = nid.wrap(folder, SCHEMA, inputs=inputs, output=output, batch_size=50)
    assert box.adapter == "saved_model"
    columns = keras_nets.frame(50, seed=9)
    raw = graph(target, kind, columns)[:, 0].astype(np.float64)
    # Which kernels are fused differs from graph to graph, and with it the last bit.
    expected = np.log(raw) - np.log1p(-raw) if output == "probability" else raw
    np.testing.assert_allclose(box.logits(columns), expected, rtol=1e-5)


def test_what_the_crosses_brought_is_detected_in_the_saved_model(models):
    columns = keras_nets.frame(200, seed=9)
    box = nid.wrap(models["subclassed"][2], SCHEMA, output="probability")
    rows = {name: values[:10] for name, values in columns.items()}
    report = nid.detect(box, rows, background=columns, perturbations=200, detector="least_squares", seed=0)
    # The base adds up a and x: what involves b can only come from the cross of a and b.
    assert {"a", "b"} in [set(found.fields) for found in report.interactions]
