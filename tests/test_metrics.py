"""Measures of click prediction, against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from nid_plugins.errors import FrameError
from nid_plugins.metrics import auc, calibration, log_loss, row_losses, sigmoid

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-6, 6)), min_size=2, max_size=60)


@given(rows)
def test_auc_equals_scikit_learns_with_ties(pairs):
    label = np.array([label for label, _ in pairs])
    score = np.array([score / 3 for _, score in pairs])
    if len(set(label)) == 2:
        assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    else:
        with pytest.raises(FrameError, match="both clicks and non-clicks"):
            auc(label, score)


@given(rows)
def test_log_loss_equals_scikit_learns(pairs):
    label = np.array([label for label, _ in pairs])
    logit = np.array([float(score) for _, score in pairs])
    expected = sklearn_log_loss(label, sigmoid(logit), labels=[0, 1])
    assert log_loss(label, logit) == pytest.approx(expected, rel=1e-9)


def test_values_worked_out_by_hand():
    assert auc([0, 1, 1, 0], [0.1, 0.1, 0.9, 0.0]) == 3.5 / 4
    assert log_loss([1, 0], [0.0, 0.0]) == pytest.approx(math.log(2))
    assert calibration([1, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]) == pytest.approx(2.0)
    assert row_losses([1, 0], [math.log(3), math.log(3)]) == pytest.approx([-math.log(0.75), -math.log(0.25)])


def test_extreme_logits_stay_finite_and_exact():
    assert log_loss([1, 0], [1000.0, -1000.0]) == 0.0
    assert log_loss([0, 1], [1000.0, -1000.0]) == 1000.0
    assert log_loss([1], [np.inf]) == 0.0
    assert sigmoid([-1000.0, 0.0, 1000.0]).tolist() == [0.0, 0.5, 1.0]
    assert auc([0, 1], [-np.inf, np.inf]) == 1.0


def test_constant_scores_are_worth_a_half():
    assert auc([0, 1, 1, 0, 1], np.zeros(5)) == 0.5


@pytest.mark.parametrize("measure", [auc, log_loss, calibration])
@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([0, 1], [0.1, np.nan]),
        ([0, 2], [0.1, 0.2]),
        ([0, np.nan], [0.1, 0.2]),
        ([0, 1, 1], [0.1, 0.2]),
        ([], []),
        ([0, 1], [[0.1], [0.2]]),
        (["a", "b"], [0.1, 0.2]),
    ],
)
def test_bad_input_is_refused(measure, label, score):
    with pytest.raises(FrameError):
        measure(label, score)


def test_calibration_needs_a_click():
    with pytest.raises(FrameError, match="needs clicks"):
        calibration([0, 0], [0.1, 0.2])
