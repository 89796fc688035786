"""Several threads ask one model at once: the answers are right, and the model is left as it was."""

from __future__ import annotations

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import nid_plugins as nid
from nid_plugins.turns import Turn, turn_of

SCHEMA = nid.FeatureSchema([nid.SparseField("a", 20), nid.SparseField("b", 20), nid.DenseField("x")])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return self.layers(x)


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return [
        {"a": rng.integers(0, 20, 40), "b": rng.integers(0, 20, 40), "x": rng.random(40).astype(np.float32)}
        for _ in range(64)
    ]


@pytest.fixture
def eager_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change places often, so that a race would show
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_eight_threads_get_the_answers_of_one_and_leave_the_model_in_train_mode(frames):
    torch.manual_seed(0)
    model = Net().train()
    boxes = [nid.wrap(model, SCHEMA) for _ in range(2)]  # as in two experiments with one control
    expected = [boxes[0].logits(frame) for frame in frames]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    jobs = [(i, boxes[i % 2]) for i in range(len(frames))] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: (job[0], job[1].logits(frames[job[0]])), jobs))
    for i, answer in answers:
        np.testing.assert_allclose(answer, expected[i], rtol=0, atol=1e-6)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_black_boxes_of_one_model_share_a_lock_and_those_of_others_do_not():
    one, other = Net(), Net()
    first, second, third = (nid.wrap(model, SCHEMA) for model in (one, one, other))
    assert first.turn is second.turn
    assert first.turn is not third.turn


def test_a_plain_callable_is_asked_by_several_threads_at_once():
    meeting = threading.Barrier(4, timeout=20)

    def ask(columns):
        meeting.wait()  # passes only when four threads are inside
        return np.full(len(columns["a"]), 0.5)

    box = nid.wrap(ask, SCHEMA, output="probability")
    frame = {"a": np.zeros(3, int), "b": np.zeros(3, int), "x": np.zeros(3)}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: box.probabilities(frame), range(4)))
    assert all((answer == 0.5).all() for answer in answers)


def test_a_black_box_of_a_module_can_be_pickled(frames):
    box = nid.wrap(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), SCHEMA)
    copied = pickle.loads(pickle.dumps(box))
    np.testing.assert_array_equal(copied.logits(frames[0]), box.logits(frames[0]))


def test_the_lock_goes_with_its_last_holder():
    model = Net()
    held = turn_of(model)
    assert turn_of(model) is held
    with held, held:  # the same thread may take it twice
        pass
    assert isinstance(pickle.loads(pickle.dumps(held)), Turn)
