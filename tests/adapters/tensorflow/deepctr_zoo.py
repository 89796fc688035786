"""Every DeepCTR model of ordinary feature columns, tiny, and a click log for them. Needs TF_USE_LEGACY_KERAS=1."""

from __future__ import annotations

import functools
import random

import numpy as np
import tensorflow as tf
import tf_keras
from deepctr import models as zoo
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.layers import custom_objects
from deepctr.models.fgcnn import unstack

from nid_plugins.crosses import fit_crosses
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

N = 200
SIZES = {"site": 6, "item": 12, "hour": 4, "device": 5}
SPARSE_ONLY = {"AFM", "CCPM", "EDCN"}
DEEP = {"dnn_hidden_units": (8,)}
# FGCNN's Lambda names its function; the others need no more than DeepCTR's own list.
OBJECTS = {**custom_objects, "unstack": unstack}


def two(make, **options):
    return lambda linear, deep: make(linear, deep, **options)


BUILDERS = {
    "AFM": two(zoo.AFM, attention_factor=3),
    "AutoInt": two(zoo.AutoInt, att_layer_num=1, att_embedding_size=3, **DEEP),
    "CCPM": two(zoo.CCPM, conv_kernel_width=(2,), conv_filters=(2,), **DEEP),
    "DCN": two(zoo.DCN, **DEEP),
    "DCNMix": two(zoo.DCNMix, low_rank=2, num_experts=2, **DEEP),
    "DeepFEFM": two(zoo.DeepFEFM, **DEEP),
    "DeepFM": two(zoo.DeepFM, **DEEP),
    "DIFM": two(zoo.DIFM, att_head_num=2, **DEEP),
    "EDCN": two(zoo.EDCN, cross_num=1, tau=3.0),
    "FGCNN": two(
        zoo.FGCNN, conv_kernel_width=(2,), conv_filters=(2,), new_maps=(1,), pooling_width=(2,), **DEEP
    ),
    "FiBiNET": two(zoo.FiBiNET, **DEEP),
    "FLEN": two(zoo.FLEN, **DEEP),
    "FNN": two(zoo.FNN, **DEEP),
    "FwFM": two(zoo.FwFM, **DEEP),
    "IFM": two(zoo.IFM, **DEEP),
    "MLR": lambda linear, deep: zoo.MLR(linear, region_num=2),
    "NFM": two(zoo.NFM, **DEEP),
    "ONN": two(zoo.ONN, **DEEP),
    "PNN": lambda linear, deep: zoo.PNN(deep, **DEEP),
    "WDL": two(zoo.WDL, **DEEP),
    "xDeepFM": two(zoo.xDeepFM, cin_layer_size=(4,), **DEEP),
}


def columns(name="", dim=4, **options):
    """Return the columns of a model; FLEN wants two groups of fields at least."""
    groups = {"group_name": "context"} if name == "FLEN" else {}
    sparse = [
        SparseFeat(field, size, dim, **(groups if field in {"hour", "device"} else {}), **options)
        for field, size in SIZES.items()
    ]
    return sparse if name in SPARSE_ONLY else [sparse[0], DenseFeat("price"), *sparse[1:]]


def _frame():
    rng = np.random.default_rng(11)
    ids = {field: rng.integers(0, size, N) for field, size in SIZES.items()}
    return {**ids, "price": rng.lognormal(size=N).astype(np.float32)}


FRAME = _frame()
LABEL = ((FRAME["site"] + FRAME["item"]) % 2).astype(np.float32)
SCHEMA = FeatureSchema(
    [SparseField("site", 6), DenseField("price")]
    + [SparseField(field, SIZES[field]) for field in ("item", "hour", "device")]
)


def frame_of(name=""):
    return {column.name: FRAME[column.name] for column in columns(name)}


def crosses_of(name=""):
    pairs = [("site", "item"), ("hour", "device")]
    if name not in SPARSE_ONLY:
        return fit_crosses([*pairs, ("price", "hour")], FRAME, SCHEMA, bins=4, min_count=1)
    return fit_crosses(pairs, FRAME, FeatureSchema(SCHEMA.sparse), min_count=1)


def tensors(model, frame):
    """Return a batch as a model takes it."""
    return {
        name: tf.constant(np.asarray(frame[name]).reshape(-1, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    }


@functools.cache
def built(name):
    """Return a trained model, the same for all tests of a process: they leave it as it is."""
    cols = columns(name)
    return trained(BUILDERS[name](cols, cols))


def trained(model, frame=None, steps=2, noise=0.3):
    """Train eagerly, which is faster than tracing, having moved every weight well away from where it started."""
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights if noise else ():
        moved = rng.normal(scale=noise, size=weight.shape).astype(np.float32)
        if weight.name.endswith("/table:0"):
            moved[0] = 0  # the row of the unknown, which is never anything else
        weight.assign_add(moved)
    batch = tensors(model, FRAME if frame is None else frame)
    optimiser = tf_keras.optimizers.legacy.SGD(0.1)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            out = model(batch, training=True)
            loss = tf.reduce_mean(tf_keras.losses.binary_crossentropy(LABEL[:, None], tf.sigmoid(out)))
        weights = model.trainable_weights
        # A column that DeepCTR leaves out of a part has weights without a gradient.
        pairs = [
            pair for pair in zip(tape.gradient(loss, weights), weights, strict=True) if pair[0] is not None
        ]
        optimiser.apply_gradients(pairs)
    return model


def scores(model, frame):
    return model(tensors(model, frame)).numpy()


def state_of(model):
    """Return copies of everything that looking at a model must leave alone."""
    return {
        "weights": [weight.numpy() for weight in model.weights],
        "flags": [layer.trainable for layer in model._flatten_layers()],
        "calls": [(len(layer.inbound_nodes), len(layer.outbound_nodes)) for layer in model._flatten_layers()],
        "random": (random.getstate(), np.random.get_state()[1].tolist()),
        "tensorflow": tf.random.get_global_generator().state.numpy().tolist(),
    }


def assert_same_state(before, after):
    for one, two_ in zip(before.pop("weights"), after.pop("weights"), strict=True):
        np.testing.assert_array_equal(one, two_)
    assert before == after
