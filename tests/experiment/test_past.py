"""Past impressions: how traffic grows beyond the log."""

from __future__ import annotations

import numpy as np
import pytest

from nid_plugins.experiment.past import Traffic


def test_growth_of_traffic():
    curve = Traffic(np.array([100, 150, 180, 200]), None)
    assert [curve.units(day) for day in (1, 4)] == [100.0, 200.0]
    assert curve.units(8) == pytest.approx(200 * (200 / 150))
    assert curve.days(200 * (200 / 150)) == 8
    assert curve.days(151) == 3
    assert Traffic(np.array([100, 100]), None).days(101) == np.inf
    assert Traffic(None, 50.0).days(101) == 3
    assert Traffic(np.array([100, 150]), 10.0).units(2) == pytest.approx(15.0)
