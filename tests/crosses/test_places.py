"""Crosses in the arrays of a room say all there is to know about them: they come back as they went in."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.crosses.places import empty_places
from nid_plugins.crosses.room import Room
from nid_plugins.errors import SchemaError, SettingError, UnsupportedError
from nid_plugins.testing.golden import golden

SCHEMA = nid.FeatureSchema([nid.SparseField("a", 6), nid.DenseField("x"), nid.SparseField("b", 9)])


def frame(seed=0):
    rng = np.random.default_rng(seed)
    return {"a": rng.integers(0, 6, 300), "b": rng.integers(0, 9, 300), "x": rng.normal(size=300)}


def fitted(sets, seed=0, bins=5):
    return nid.fit_crosses(sets, frame(seed), SCHEMA, min_count=0, bins=bins)


def same(one, two):
    assert [cross.fields for cross in one.crosses] == [cross.fields for cross in two.crosses]
    assert [cross.sizes for cross in one.crosses] == [cross.sizes for cross in two.crosses]
    for own, other in zip(one.crosses, two.crosses, strict=True):
        np.testing.assert_array_equal(own.keys, other.keys)
    assert one.edges.keys() == two.edges.keys()
    for name, edges in one.edges.items():
        np.testing.assert_array_equal(edges, two.edges[name])


def test_crosses_come_back():
    room = Room(SCHEMA, crosses=4, size=60)
    crosses = fitted([("a", "b"), ("b", "x")])
    places = empty_places(room)
    assert places.crosses(room) is None
    assert places.fill(room, crosses) == [0, 1]
    same(places.crosses(room), crosses)
    assert places.crosses(room).names == crosses.names
    assert places.sizes(room) == [*crosses.vocabulary_sizes, 0, 0]
    more = fitted([("a", "x")])
    assert places.fill(room, more) == [2]
    np.testing.assert_array_equal(
        places.crosses(room).transform(frame(3)),
        np.concatenate([crosses.transform(frame(3)), more.transform(frame(3))], axis=1),
    )


def test_the_golden_crosses_come_back():
    crosses = golden().crosses
    room = Room(crosses.schema, crosses=20, size=5000, order=7, bins=200)
    fitting = crosses.select([c.name for c in crosses.crosses if room.misfit(c, crosses.edges) is None])
    assert len(fitting) >= 3
    assert max(cross.space for cross in fitting.crosses) > 2**32
    places = empty_places(room)
    places.fill(room, fitting)
    same(places.crosses(room), fitting)


def refused(error, match, places, room, crosses):
    before = copy.deepcopy(places)
    with pytest.raises(error, match=match):
        places.fill(room, crosses)
    for field in dataclasses.fields(places):
        np.testing.assert_array_equal(getattr(places, field.name), getattr(before, field.name))


def test_what_does_not_fit_changes_nothing():
    room = Room(SCHEMA, crosses=2, size=40, order=2, bins=6)
    places = empty_places(room)
    places.fill(room, fitted([("a", "x")]))
    refused(UnsupportedError, "already", places, room, fitted([("x", "a")]))
    refused(SettingError, "no room for so many", places, room, fitted([("a", "b"), ("b", "x")]))
    refused(SettingError, r"54 combinations, room for 40", places, room, fitted([("a", "b")]))
    refused(SettingError, "room for 2", places, room, fitted([("a", "b", "x")]))
    refused(SettingError, "other bins", places, room, fitted([("b", "x")], bins=4))
    other = nid.FeatureSchema([nid.SparseField("a", 7), nid.SparseField("b", 9)])
    wrong = nid.fit_crosses([("a", "b")], frame(), other, min_count=0)
    refused(SchemaError, "another field", places, room, wrong)


def test_a_dense_field_nothing_uses_may_have_other_bins_later():
    room = Room(SCHEMA, crosses=3, size=100)
    places = empty_places(room)
    places.fill(room, fitted([("a", "b")]))
    places.fill(room, fitted([("b", "x")], bins=9))
    same(
        places.crosses(room), nid.fit_crosses([("a", "b"), ("b", "x")], frame(), SCHEMA, min_count=0, bins=9)
    )
