"""TensorFlow's event writer: the curves of a monitor, written without the package tensorboard."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.callbacks import InteractionMonitor, TensorBoardSink

tf = pytest.importorskip("tensorflow")


def test_curves_and_the_ranking_as_text(tmp_path):
    frame = {name: np.random.default_rng(1).integers(0, 4, 60) for name in "abc"}
    schema = nid.FeatureSchema([nid.SparseField(name, 4) for name in "abc"])
    weight = [1.0]
    core = InteractionMonitor(
        lambda c: weight[0] * (c["a"] > 1) * (c["b"] > 1) + 0.1 * c["c"],
        schema,
        frame,
        budget=None,
        wrap={"output": "logit"},
        detect={"instances": 8, "perturbations": 80},
        sinks=[TensorBoardSink(tmp_path, writer="tensorflow")],
    )
    core.begin()
    for epoch in range(2):
        weight[0] = 1.0 + epoch
        core.epoch_end(epoch)
    core.end()
    (path,) = tmp_path.iterdir()
    values = {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            values[value.tag, event.step] = (
                tf.make_ndarray(value.tensor),
                value.metadata.plugin_data.plugin_name,
            )
    for epoch, check in enumerate(core.history):
        strength, plugin = values["interactions/strength/a__x__b", epoch]
        assert strength == pytest.approx(check.report.interactions[0].strength)
        assert plugin in {"scalars", ""}  # a tag's later values leave the metadata out
        (text,), _ = values["interactions/ranking", epoch]
        assert b"| 1 | a x b |" in text
