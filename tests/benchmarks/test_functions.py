"""The ten functions have the interactions they are said to have, by second differences of the formulas themselves."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.functions import FUNCTIONS
from benchmarks.planted_worlds import World
from benchmarks.ten_functions import on_samples, pair_auc, through_detect


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_pairs_interact_exactly_where_said(function):
    rng = np.random.default_rng(0)
    x, other = function.sample(4000, rng), function.sample(4000, rng)
    found = np.zeros((10, 10), dtype=bool)
    for a in range(10):
        for b in range(a):
            corners = []
            for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)):
                at = x.copy()
                at[:, a] = (x, other)[i][:, a]
                at[:, b] = (x, other)[j][:, b]
                corners.append(function(at))
            difference = corners[0] - corners[1] - corners[2] + corners[3]
            found[a, b] = found[b, a] = np.abs(difference).max() > 1e-9
    assert (found == function.true_pairs()).all()


def test_auc_is_one_for_the_truth_and_half_for_a_constant():
    function = FUNCTIONS[4]
    assert pair_auc(function, function.true_pairs().astype(float)) == 1.0
    assert pair_auc(function, np.zeros((10, 10))) == 0.5


def test_both_settings_run(monkeypatch):
    monkeypatch.setattr("benchmarks.ten_functions.INSTANCES", 8)
    monkeypatch.setattr("benchmarks.ten_functions.PERTURBATIONS", 300)
    assert through_detect(FUNCTIONS[4], 0, "archdetect", "sample")["auc"] > 0.95
    assert through_detect(FUNCTIONS[4], 0, "least_squares", "sample")["auc"] > 0.8


def test_a_network_fitted_on_samples_is_read(monkeypatch):
    from dataclasses import replace

    from benchmarks import ten_functions

    monkeypatch.setattr(ten_functions, "NETWORK", replace(ten_functions.NETWORK, hidden=(32, 16), epochs=6))
    record = on_samples(FUNCTIONS[9], 0, linear=False)
    assert record["r2"] > 0.9
    assert record["auc"] > 0.7


def test_worlds_hold_what_they_plant():
    world = World(3, fields=12, pairs=3, triples=1, bend=0.0)
    logit, rows = world.function(), world.rows(50)
    for members in world.planted():
        terms = []
        for on in range(2 ** len(members)):
            at = {name: values.copy() for name, values in rows.items()}
            off = [j for k, j in enumerate(members) if not on >> k & 1]
            for j in off:
                at[f"f{j}"][:] = 0
            terms.append((-1) ** len(off) * logit(at))
        assert (np.abs(np.sum(terms, axis=0)) > 1e-6).all()
    assert len(world.relevant()) == 3 + 1 + 3
