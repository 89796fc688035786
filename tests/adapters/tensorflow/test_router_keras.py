"""An experiment across frameworks: a Keras model against a PyTorch one, from eight threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import nid_plugins as nid
from nid_plugins.experiment import Design, ParquetSink, Router, assign, read_exposures

SCHEMA = nid.FeatureSchema([nid.SparseField("site", 50), nid.DenseField("price")])
DESIGN = Design("exp")


@pytest.fixture
def keras_model(K):
    K.utils.set_random_seed(0)
    site, price = K.Input((1,), name="site", dtype="int64"), K.Input((1,), name="price")
    embedded = K.layers.Flatten()(K.layers.Embedding(50, 4)(site))
    hidden = K.layers.Dropout(0.5)(K.layers.Concatenate()([embedded, price]))
    return K.Model({"site": site, "price": price}, K.layers.Dense(1, activation="sigmoid")(hidden))


def frame_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "user_id": rng.integers(0, 10_000, 60),
        "site": rng.integers(0, 50, 60),
        "price": rng.random(60).astype(np.float32),
    }


@pytest.mark.parametrize("limit_ms", [None, 60_000])
def test_keras_and_torch_answer_side_by_side(keras_model, tmp_path, limit_ms):
    torch.manual_seed(0)
    control = nn.Sequential(
        nn.Linear(2, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid()
    ).train()
    weights = [np.array(weight) for weight in keras_model.get_weights()]
    frames = [frame_of(seed) for seed in range(40)]
    boxes = [nid.wrap(control, SCHEMA), nid.wrap(keras_model, SCHEMA)]
    models = {"control": control, "treatment": keras_model}
    with (
        Router(DESIGN, models, SCHEMA, sinks=[ParquetSink(tmp_path)], limit_ms=limit_ms) as router,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = [job.result() for job in [pool.submit(router.predict, frame) for frame in frames]]
    for frame, answer in zip(frames, answers, strict=True):
        both = np.stack([box.probabilities(frame) for box in boxes])
        variants = assign(DESIGN, frame["user_id"])
        np.testing.assert_allclose(answer.predictions, both[variants, np.arange(60)], atol=1e-6)
        assert not answer.fallback.any()
    assert read_exposures(tmp_path).num_rows == 40 * 60
    assert all(module.training for module in control.modules())
    for before, after in zip(weights, keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
