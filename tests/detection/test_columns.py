"""Candidates as columns: looked up where all pairs have been worked out, multiplied out elsewhere, and the same either way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nid_plugins.detection import masks as masks_module
from nid_plugins.detection.columns import Columns
from nid_plugins.detection.masks import MaskDesign, random_masks

SETS = [*itertools.combinations(range(6), 2), (0, 1, 2), (1, 3, 5), (0, 2, 3, 4)]
PARTS = ("gram", "whole", "inner", "valid", "test")


@pytest.fixture(params=["looked up", "multiplied out"])
def design(request, monkeypatch):
    if request.param == "multiplied out":
        monkeypatch.setattr(masks_module, "FEW", 0)
    design = MaskDesign(random_masks(6, 900, np.random.default_rng(0)))
    assert (design.pairs is None) == (request.param == "multiplied out")
    return design


@pytest.fixture
def residuals(design):
    return design.residuals(np.random.default_rng(1).normal(size=(3, 900)))


def test_columns_have_no_main_effects_and_are_exact(design, residuals):
    made = Columns(design).candidates([SETS, SETS[::-1], SETS[:1] * len(SETS)], residuals)
    for b, sets in enumerate((SETS, SETS[::-1], SETS[:1] * len(SETS))):
        expected = np.array([design.orthogonal(design.product(s)[None])[0] for s in sets])
        train = expected[:, design.train]
        assert made.gram[b] == pytest.approx(train @ train.T, abs=1e-9)
        assert made.inner[b] == pytest.approx(train @ residuals[b, design.train], abs=1e-4)
        assert made.whole[b] == pytest.approx(
            [(design.product(s)[design.train] ** 2).sum() for s in sets], abs=1e-9
        )
        assert made.valid[b] == pytest.approx(expected[:, design.valid], abs=1e-6)
        assert made.test[b] == pytest.approx(expected[:, design.test], abs=1e-6)


def test_which_sets_were_asked_for_before_does_not_matter(design, residuals):
    used, fresh = Columns(design), Columns(design)
    for sets in (SETS[:1], SETS[3:9], SETS[-2:]):
        used.candidates([sets], residuals[:1])
    assert len(used) == (2 if design.pairs else 9), "pairs that are looked up need not be remembered"
    a, b = (each.candidates([SETS], residuals[:1]) for each in (used, fresh))
    assert len(used) == len(fresh) == (3 if design.pairs else len(SETS))
    for name in PARTS:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
