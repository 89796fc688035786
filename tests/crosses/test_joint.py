"""Forward selection of crosses: finds what is planted, fits what scikit-learn fits, stops in noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nid_plugins.crosses.joint import ForwardSelection, Weights, fit_ridge, one_hot


def planted(n: int = 1500) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return ids of three fields, clicks driven by the first two together, and the crosses (0,1), (0,2), (1,2)."""
    rng = np.random.default_rng(1)
    fields = rng.integers(1, 4, size=(n, 3))
    logit = 2.0 * np.where(fields[:, 0] == fields[:, 1], 1.0, -1.0)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    crosses = [fields[:, i] * 4 + fields[:, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    return fields, label, crosses


def test_ridge_agrees_with_scikit_learn() -> None:
    _fields, label, crosses = planted()
    x = one_hot(crosses[0], with_zero=True)
    found = fit_ridge(
        x, label, np.full(x.shape[1], 2.0), Weights(np.zeros(x.shape[1]), 0.0), steps=20, inner=50
    )
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, label)
    np.testing.assert_allclose(found.weights, reference.coef_[0], atol=1e-4)
    assert found.bias == pytest.approx(reference.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("only_last", [False, True])
def test_the_planted_cross_is_picked_and_noise_is_not(only_last: bool) -> None:
    fields, label, crosses = planted()
    search = ForwardSelection(
        fields, label, np.arange(len(label)) % 3, penalty_fields=1.0, penalty_crosses=1.0, only_last=only_last
    )
    before = search.loss
    picked = search.pick(crosses, 1)
    assert [position for position, _ in picked] == [0]
    assert picked[0][1] == pytest.approx(before - search.loss)
    assert picked[0][1] > 0.05


def test_picking_stops_when_nothing_helps() -> None:
    rng = np.random.default_rng(2)
    label = (rng.random(400) < 0.5).astype(np.float64)
    noise = [rng.integers(1, 200, size=400) for _ in range(2)]
    search = ForwardSelection(
        rng.integers(3, size=(400, 2)), label, np.arange(400) % 2, penalty_fields=1.0, penalty_crosses=0.1
    )
    assert search.pick(noise, 2) == []


def test_id_zero_of_a_cross_counts_for_nothing() -> None:
    assert one_hot(np.array([0, 2, 1]), with_zero=False).toarray().tolist() == [[0, 0], [0, 1], [1, 0]]
