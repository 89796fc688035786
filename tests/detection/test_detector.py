"""What a detector returns is checked set by set, and what cannot interact is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.detection.detector import Explanation, checked
from nid_plugins.errors import PluginError

FREE = np.zeros(6, dtype=bool)


def sets_of(*sets, unswitched=FREE, pairs=None):
    found = Explanation(list(sets), np.arange(len(sets), 0, -1.0), 0.5, pairs)
    return checked("d", found, unswitched)


@pytest.mark.parametrize(
    "sets",
    [
        [(0, 1), (3,)],
        [()],
        [(), ()],
        [(0, 1), (), (2, 3)],
        [(1, 0)],
        [(0, 1), (2, 2)],
        [(0, 1), (1, 5, 4)],
        [(-1, 2)],
        [(0, 6)],
        [(0, 10**30)],
        [(4, 5), (0, 1, 2, 2)],
    ],
)
def test_sets_that_are_none_are_refused_among_good_ones(sets):
    with pytest.raises(PluginError, match="unusable sets.*two or more ascending positions below 6"):
        sets_of(*sets)


def test_sets_of_any_sequence_of_integers_become_tuples_of_int():
    found = sets_of([0, 1], (np.int64(2), np.int8(5)), np.array([1, 3, 4]), (0, 5))
    assert found.sets == [(0, 1), (2, 5), (1, 3, 4), (0, 5)]
    assert all(type(m) is tuple and all(type(i) is int for i in m) for m in found.sets)
    with pytest.raises(PluginError, match="each set once"):
        sets_of((0, 1), np.array([0, 1]))
    assert sets_of().sets == []


def test_what_holds_an_unswitched_field_is_dropped_with_its_strengths():
    stuck = np.array([False, True, False, False, False, True])
    pairs = np.ones((6, 6))
    found = sets_of((0, 1), (0, 2), (2, 3, 5), (2, 3, 4), (3, 4), unswitched=stuck, pairs=pairs)
    assert found.sets == [(0, 2), (2, 3, 4), (3, 4)]
    assert found.strengths.tolist() == [4.0, 2.0, 1.0]
    assert found.r2 == 0.5
    assert not found.pairs[1].any()
    assert not found.pairs[:, 5].any()
    assert found.pairs[0, 2] == 1.0
    assert pairs.all(), "the detector's own matrix is left alone"
    nothing = sets_of(unswitched=stuck, pairs=pairs)
    assert nothing.sets == []
    assert not nothing.pairs[1].any()
    assert sets_of((0, 1), unswitched=np.ones(6, dtype=bool)).sets == []
