"""What of fitted crosses there is room for: the most frequent combinations, and a warning for what is left out."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.crosses.room import Room
from nid_plugins.errors import NidWarning, SchemaError, SettingError

SCHEMA = nid.FeatureSchema(
    [nid.SparseField("a", 6), nid.SparseField("b", 9), nid.DenseField("x"), nid.SparseField("huge", 2**40)]
)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 400
    return {
        "a": rng.integers(0, 6, n),
        "b": np.minimum(rng.geometric(0.3, n) - 1, 8),
        "x": rng.normal(size=n),
        "huge": rng.integers(0, 3, n),
    }


def fit(sets, frame, **options):
    return nid.fit_crosses(sets, frame, SCHEMA, min_count=0, **options)


def test_crosses_that_fit_are_left_as_they_are(frame):
    crosses = fit([("a", "b"), ("a", "x")], frame, bins=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = Room(SCHEMA, size=100).fitting(crosses, frame)
    assert kept.crosses == crosses.crosses


def test_a_large_cross_keeps_its_most_frequent_combinations(frame):
    crosses = fit([("a", "b")], frame)
    with pytest.warns(NidWarning, match=r"a__x__b cut to its 7 most frequent of \d+ combinations"):
        kept = Room(SCHEMA, size=7).fitting(crosses, frame)
    keys, counts = np.unique(frame["a"] * 9 + frame["b"], return_counts=True)
    own = counts[np.isin(keys, kept.crosses[0].keys)]
    others = counts[~np.isin(keys, kept.crosses[0].keys)]
    assert len(own) == 7
    assert own.min() >= others.max()


def test_what_no_cut_makes_fit_is_left_out(frame):
    mixed = ("a", "huge", "x"), ("a", "b", "x"), ("a", "b"), ("a", "x"), ("b", "huge")
    crosses = fit(mixed, frame, bins=20)
    with pytest.warns(NidWarning) as caught:
        kept = Room(SCHEMA, crosses=1, order=2, bins=10, size=1000).fitting(crosses, frame)
    assert [cross.fields for cross in kept.crosses] == [("a", "b")]
    text = str(caught[0].message)
    assert "a__x__b__x__x left out (3 members, room for 2" in text
    assert "20 bins of 'x', room for 10" in text
    assert "room for 1 crosses" in text
    assert caught[0].filename == __file__


def test_keys_that_are_hashes_are_left_out():
    schema = nid.FeatureSchema([nid.SparseField("p", 2**32), nid.SparseField("q", 2**32)])
    frame = {"p": np.array([1, 1, 2, 2]), "q": np.array([3, 3, 4, 4])}
    crosses = nid.fit_crosses([("p", "q")], frame, schema, min_count=1)
    with pytest.warns(NidWarning, match="64 bits"):
        assert Room(schema).fitting(crosses, frame) is None


def test_most_says_how_many_are_wanted(frame):
    crosses = fit([("a", "b"), ("a", "x"), ("b", "x")], frame, bins=4)
    with pytest.warns(NidWarning, match=r"b__x__x left out \(room for 2"):
        assert len(Room(SCHEMA).fitting(crosses, frame, most=2)) == 2


@pytest.mark.parametrize(
    "bad", [{"crosses": 0}, {"size": 1.5}, {"order": 1}, {"bins": 0}, {"crosses": 1000, "size": 10**7}]
)
def test_room_out_of_its_domain(bad):
    with pytest.raises(SettingError):
        Room(SCHEMA, **bad)
    with pytest.raises(SettingError, match="not a schema"):
        Room([("a", "b")])


def test_fields_are_checked():
    Room(SCHEMA).check_field(nid.SparseField("a", 6, oov=0))
    for field in (nid.SparseField("a", 7), nid.DenseField("a"), nid.DenseField("y")):
        with pytest.raises(SchemaError, match="another field"):
            Room(SCHEMA).check_field(field)


def test_a_room_is_written_as_json():
    room = Room(SCHEMA, crosses=3, size=50, order=4, bins=7)
    assert Room.from_dict(json.loads(json.dumps(room.to_dict()))) == room
