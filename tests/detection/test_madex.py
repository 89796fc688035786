"""MADEX on one row, on exact functions and on a small trained network."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
import torch

import nid_plugins as nid
from nid_plugins.detection.baselines import Mode
from nid_plugins.detection.least_squares import LeastSquares
from nid_plugins.detection.madex import Madex
from nid_plugins.detection.settings import DetectSettings

DETECTORS = ["least_squares", "nid", "gradient_nid", "archdetect"]


@pytest.fixture
def dense():
    return nid.FeatureSchema([nid.DenseField(name) for name in "abcdef"])


@pytest.fixture
def background(dense):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=200) for name in dense.names}


ROW = {"a": 1.5, "b": -2.0, "c": 1.0, "d": 2.0, "e": -1.5, "f": 0.8}


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_finds_the_pairs_of_one_row(dense, background, detector):
    box = nid.wrap(
        lambda c: 2 * c["a"] * c["b"] - c["c"] * c["d"] + 3 * c["e"] + c["f"], dense, output="logit"
    )
    report = nid.explain(box, ROW, background=background, detector=detector, perturbations=1000)
    assert report.top(9) == [("a", "b"), ("c", "d")]
    assert report.r2[0] > 0.95
    assert report.r2_linear[0] < report.r2[0]


@pytest.mark.parametrize("detector", ["least_squares", "archdetect"])
def test_strength_is_the_mixed_difference_between_instance_and_baseline(dense, background, detector):
    box = nid.wrap(lambda c: 2 * c["a"] * c["b"] + 3 * c["e"], dense, output="logit")
    report = nid.explain(box, ROW, background=background, detector=detector, perturbations=400)
    (found,) = report
    expected = 2 * abs(ROW["a"] - background["a"].mean()) * abs(ROW["b"] - background["b"].mean())
    assert found.strength == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("detector", ["least_squares", "nid"])
def test_a_triple(dense, background, detector):
    box = nid.wrap(lambda c: 2.0 * c["a"] * c["d"] * c["e"] + c["b"], dense, output="logit")
    report = nid.explain(box, ROW, background=background, detector=detector, perturbations=1000)
    assert ("a", "d", "e") in report.top(9)
    assert all(set(fields) <= {"a", "d", "e"} for fields in report.top(9))


def test_an_additive_model_has_nothing_to_report(dense, background):
    box = nid.wrap(lambda c: c["a"] - 2 * c["b"] + np.sin(c["c"]), dense, output="logit")
    for prune in ("gain", "paper", "none"):
        report = nid.explain(box, ROW, background=background, perturbations=300, prune=prune)
        assert len(report) == 0
        assert report.r2_linear[0] == pytest.approx(1.0)
        assert "0 interactions" in str(report)


def test_a_row_may_be_a_mapping_of_scalars_or_a_one_row_frame(box, frame):
    whole = pd.DataFrame(frame)
    settings = {"background": frame, "perturbations": 200}
    expected = nid.explain(box, {name: column[2] for name, column in frame.items()}, **settings)
    assert nid.explain(box, whole.iloc[2:3], **settings) == expected
    assert nid.explain(box, whole.iloc[2], **settings) == expected
    assert nid.explain(box, {name: column[2:3] for name, column in frame.items()}, **settings) == expected
    with pytest.raises(nid.FrameError, match="explain takes one row.*2 rows.*nid.detect"):
        nid.explain(box, whole.iloc[2:4], **settings)


def test_a_field_at_its_baseline_cannot_interact(dense, background):
    box = nid.wrap(lambda c: 2 * c["a"] * c["b"] + c["c"] * c["d"], dense, output="logit")
    row = {**ROW, "a": float(background["a"].mean())}
    for prune in ("gain", "none"):
        report = nid.explain(box, row, background=background, perturbations=300, prune=prune)
        assert report.unswitched["a"] == 1.0
        assert report.unswitched["b"] == 0.0
        assert not any("a" in fields for fields in report.top(99))
        assert report.top(1) == [("c", "d")]
        assert report.pair_strength("a", "b") == 0.0
        assert report.pair_strength("c", "d") > 1.0


def test_the_first_query_is_the_instance_and_clips_are_counted(dense, background):
    rows = np.array([[ROW[name] for name in dense.names]])
    matrix = np.column_stack([background[name] for name in dense.names])
    box = nid.wrap(lambda c: 1.0 * (c["a"] > 0.5), dense, output="probability", epsilon=1e-3)
    settings = DetectSettings("least_squares", {}, "mode", 1, 100, 40, 0, "gain", "count", 1e-3, 40)
    madex = Madex(box, matrix, settings, LeastSquares(), Mode())
    logits, clipped = madex.query(rows[0], madex.off_values(0))
    assert logits.shape == (100,)
    assert logits[0] == box.logits_of(rows)[0] == pytest.approx(np.log(999))
    assert clipped == 100
    assert np.array_equal(logits > 0, madex.masks[:, 0])


def test_pair_strengths_are_left_out_for_very_many_fields():
    schema = nid.FeatureSchema([nid.DenseField(f"x{i}") for i in range(201)])
    rng = np.random.default_rng(1)
    frame = {name: rng.normal(size=4) for name in schema.names}
    box = nid.wrap(lambda m: 4 * m[:, 0] * m[:, 1], schema, output="logit", inputs="matrix")
    with pytest.warns(nid.NidWarning, match="fit poorly"):
        wide = nid.detect(box, frame, instances=2, perturbations=200, prune="none", progress=False)
    assert wide.pair_strengths is None


class Recommender(torch.nn.Module):
    """Two embedded ids whose product counts, a number, dropout and batch norm: all that a mode could change."""

    def __init__(self):
        super().__init__()
        self.user = torch.nn.Embedding(6, 4)
        self.item = torch.nn.Embedding(5, 4)
        self.norm = torch.nn.BatchNorm1d(9)
        self.deep = torch.nn.Sequential(
            torch.nn.Linear(9, 32), torch.nn.ReLU(), torch.nn.Dropout(0.05), torch.nn.Linear(32, 1)
        )

    def forward(self, columns: dict[str, torch.Tensor]) -> torch.Tensor:
        user, item = self.user(columns["user"].long()), self.item(columns["item"].long())
        deep = self.deep(self.norm(torch.cat([user, item, columns["price"].float()[:, None]], dim=1)))
        return torch.sigmoid(deep[:, 0] + (user * item).sum(dim=1))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frame = {
        "user": rng.integers(0, 6, 3000),
        "item": rng.integers(0, 5, 3000),
        "price": rng.normal(size=3000).astype(np.float32),
    }
    logit = 3.0 * (frame["user"] % 2 == frame["item"] % 2) - 1.5 + 0.5 * frame["price"]
    clicks = torch.tensor((rng.random(3000) < 1 / (1 + np.exp(-logit))).astype(np.float32))
    model = Recommender()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    columns = {name: torch.tensor(values) for name, values in frame.items()}
    for step in range(60):
        part = slice(step % 6 * 500, step % 6 * 500 + 500)
        optimiser.zero_grad()
        out = model({name: values[part] for name, values in columns.items()})
        torch.nn.functional.binary_cross_entropy(out, clicks[part]).backward()
        optimiser.step()
    return model, frame


def test_a_trained_network_shows_what_was_planted_and_is_left_as_it_was(trained):
    model, frame = trained
    schema = nid.FeatureSchema(
        [nid.SparseField("user", 6), nid.SparseField("item", 5), nid.DenseField("price")]
    )
    model.train()
    model.norm.eval()  # a mixture of modes
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    torch_state, numpy_state, python_state = (
        torch.get_rng_state().clone(),
        np.random.get_state()[1].copy(),
        random.getstate(),
    )
    box = nid.wrap(model, schema, output="probability", inputs="mapping")
    report = nid.detect(box, frame, instances=20, perturbations=300, progress=False)
    assert report.top(1) == [("user", "item")]
    assert report.settings["adapter"] == "torch"
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert random.getstate() == python_state
    assert all(
        torch.equal(parameter.grad, grad) for parameter, grad in zip(model.parameters(), grads, strict=True)
    )
    assert nid.detect(box, frame, instances=20, perturbations=300, progress=False) == report
