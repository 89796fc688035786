"""The cost benchmark: taking turns, the table, and its PyTorch models. Those of TensorFlow: tests/adapters/tensorflow."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from benchmarks import injected_cost
from benchmarks.injected_models import FRAMEWORKS


def test_names_take_turns_in_going_first(monkeypatch):
    monkeypatch.setattr(injected_cost, "SAMPLE", 0.0)  # one call a round
    called = []
    found = injected_cost.interleaved({n: lambda n=n: called.append(n) for n in ("0", "10", "40")}, rounds=3)
    assert "".join(called[-9:]) == "01040" + "10400" + "40010"
    assert {name: len(times) for name, times in found.items()} == {"0": 3, "10": 3, "40": 3}


def test_the_ratio_is_the_median_over_rounds_of_ratios_within_them():
    times = {"0": [0.001, 0.002, 0.004], "10": [0.002, 0.003, 0.004], "40": [0.003, 0.006, 0.012]}
    ten, forty = injected_cost.entry("torch", "predict", 256, times)
    assert (ten["ratio"], forty["ratio"]) == (pytest.approx(1.5), pytest.approx(3.0))
    assert ten["base_ms"] == pytest.approx(2.0)
    assert forty["injected_ms"] == pytest.approx(6.0)
    line = injected_cost.table({"runs": [ten, forty]}).splitlines()[-1]
    assert line == "| torch | predict | 256 | 128,000 | 1.50 | 3.00 |"


def test_fields_and_crosses_are_of_the_sizes_that_are_told():
    schema = injected_cost.schema_of()
    assert (len(schema.dense), len(schema.sparse)) == (13, 26)
    crosses = injected_cost.crosses_of(schema, 10)
    assert len(crosses) == 10
    assert sorted({len(cross.fields) for cross in crosses.crosses}) == [2, 3]
    assert sum(crosses.vocabulary_sizes) > 5000


@pytest.mark.parametrize("framework", ["torch", "deepctr-torch"])
def test_an_injected_model_starts_as_its_base_and_a_step_moves_it(framework):
    pytest.importorskip("torch")
    if framework == "deepctr-torch":
        pytest.importorskip("deepctr_torch", reason="this base is a model of DeepCTR-Torch")
    schema = nid.FeatureSchema([nid.DenseField("I1"), nid.SparseField("C1", 5), nid.SparseField("C2", 7)])
    frame = injected_cost.draw(schema, 64, 0)
    crosses = nid.fit_crosses([("C1", "C2"), ("I1", "C1")], frame, schema, min_count=1)
    bench = FRAMEWORKS[framework](schema)
    model = nid.inject(bench.model, crosses, mode="residual", **bench.options)
    labels = np.arange(64) % 2
    base, _ = bench.calls(bench.model, frame, labels)
    predict, step = bench.calls(model, frame, labels)
    before = np.asarray(predict())
    np.testing.assert_array_equal(before, np.asarray(base()))
    first = step().item()
    for _ in range(30):
        last = step().item()
    assert last < first
    assert np.abs(nid.cross_embeddings(model)[crosses.names[0]]).sum() > 0
