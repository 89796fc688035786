"""How a model takes a batch, and what finds the members of crosses in it."""

from __future__ import annotations

import pytest

from nid_plugins.adapting import check_extract, check_inputs
from nid_plugins.errors import SettingError


def test_ways_of_passing_inputs():
    for inputs in ("positional", "matrix", "mapping", dict):
        assert check_inputs(inputs) is inputs
    for inputs in ("auto", "dict", None, 3, ["matrix"]):
        with pytest.raises(SettingError, match="unknown way of passing inputs"):
            check_inputs(inputs)


def test_a_callable_needs_extract():
    check_extract("matrix", None)
    check_extract("matrix", dict)
    check_extract(dict, dict)
    with pytest.raises(SettingError, match="extract= is needed"):
        check_extract(dict, None)
    with pytest.raises(SettingError, match="extract is not callable; received: 3"):
        check_extract("matrix", 3)
