"""Random state that is not a framework's is left as it was found."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nid_plugins.adapting import python_random_kept


@python_random_kept()
def seed_and_fail() -> None:
    random.seed(1)
    np.random.seed(1)
    raise KeyError


def test_the_state_is_what_it_was_even_after_an_error():
    before = (random.getstate(), np.random.get_state()[1].copy())
    with pytest.raises(KeyError):
        seed_and_fail()
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
