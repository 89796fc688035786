"""Quantile bins: edges are values that occur, bins are of about equal mass, heavy values stand alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_plugins import NidWarning, SettingError
from nid_plugins.crosses.bins import check_bins, quantile_edges
from nid_plugins.crosses.keys import dense_ids


def edges_of(values, bins):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NidWarning)
        return quantile_edges(np.asarray(values, dtype=np.float64), bins, field="x")


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=60), st.integers(1, 20))
def test_edges_are_ascending_values_that_occur(values, bins):
    edges = edges_of(values, bins)
    assert edges.dtype == np.float32
    assert len(edges) < bins
    assert (edges[1:] > edges[:-1]).all()
    assert np.isin(edges, np.array(values, dtype=np.float32)).all()
    counts = np.bincount(dense_ids(np.array(values), edges), minlength=len(edges) + 1)
    assert (counts > 0).all(), "no bin is empty on the training values"


@given(st.integers(1, 300), st.integers(1, 20))
def test_distinct_values_are_cut_into_equal_parts(n, bins):
    values = np.random.default_rng(n).permutation(n) * 1.5 - 7
    counts = np.bincount(dense_ids(values, edges_of(values, bins)))
    assert len(counts) == min(n, bins)
    assert counts.max() - counts.min() <= 1


def test_heavy_values_have_bins_of_their_own():
    # Counts as in click logs: most are 0, the smallest value, and many are 3.
    values = np.repeat([0.0, 1, 2, 3, 4, 5, 6, 7], [60, 2, 2, 20, 4, 4, 4, 4])
    ids = dense_ids(values, edges_of(values, 10))
    assert set(ids[values == 0]) == {0}
    assert not (ids[values > 0] == 0).any()
    three = ids[values == 3][0]
    assert (values[ids == three] == 3).all()


def test_two_bins_of_a_mostly_zero_field_split_zero_from_the_rest():
    values = np.repeat([0.0, 1, 2], [80, 10, 10])
    assert edges_of(values, 2).tolist() == [1.0]


def test_edges_live_in_float32():
    # Two float64 values that are one float32 value must not be separated: a model could not.
    values = np.array([0.1, 0.1 + 1e-12, 0.1 + 2e-12, 0.5, 0.6])
    edges = edges_of(values, 5)
    assert len(set(dense_ids(values, edges)[:3])) == 1
    assert edges.tolist() == np.array([0.5, 0.6], dtype=np.float32).tolist()


def test_values_beyond_float32_are_in_the_outer_bins():
    edges = edges_of([-1e300, 0.0, 1.0, 1e300], 4)
    assert dense_ids(np.array([-1e300, 0.0, 1.0, 1e300]), edges).tolist() == [0, 1, 2, 3]


def test_missing_values_are_left_out():
    assert edges_of([np.nan, 1, 2, np.nan, 3, 4], 2).tolist() == edges_of([1, 2, 3, 4], 2).tolist() == [3.0]


@pytest.mark.parametrize(("values", "what"), [([2.0, 2.0], "constant"), ([np.nan], "always missing")])
def test_a_field_with_nothing_to_cut_has_one_bin_and_a_warning(values, what):
    with pytest.warns(NidWarning, match=f"'price' is {what}"):
        edges = quantile_edges(np.array(values), 10, field="price")
    assert edges.shape == (0,)


def test_one_bin_is_allowed():
    assert edges_of([1, 2, 3], 1).shape == (0,)


@pytest.mark.parametrize("bins", [0, -1, 2.0, True, None, "10"])
def test_bins_must_be_a_positive_integer(bins):
    with pytest.raises(SettingError, match="bins"):
        check_bins(bins)
