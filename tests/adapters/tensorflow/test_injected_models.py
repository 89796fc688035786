"""The models of the cost benchmark: that of Keras 3, or in the process of tf_keras that of DeepCTR."""

from __future__ import annotations

import os

import numpy as np

import nid_plugins as nid
from benchmarks.injected_cost import draw
from benchmarks.injected_models import FRAMEWORKS

FRAMEWORK = "deepctr" if os.environ.get("TF_USE_LEGACY_KERAS") == "1" else "keras"


def test_an_injected_model_starts_as_its_base_and_a_step_moves_it():
    schema = nid.FeatureSchema([nid.DenseField("I1"), nid.SparseField("C1", 5), nid.SparseField("C2", 7)])
    frame = draw(schema, 64, 0)
    crosses = nid.fit_crosses([("C1", "C2"), ("I1", "C1")], frame, schema, min_count=1)
    bench = FRAMEWORKS[FRAMEWORK](schema)
    model = nid.inject(bench.model, crosses, mode="residual", **bench.options)
    labels = np.arange(64) % 2
    base, _ = bench.calls(bench.model, frame, labels)
    predict, step = bench.calls(model, frame, labels)
    np.testing.assert_array_equal(predict(), base())
    first = float(step())
    for _ in range(30):
        last = float(step())
    assert last < first
    assert np.abs(nid.cross_embeddings(model)[crosses.names[0]]).sum() > 0
