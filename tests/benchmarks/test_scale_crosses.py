"""What the benchmark of crossing is made of: a log that fits its schema, and loops that count what we count."""

from __future__ import annotations

import numpy as np
import pytest

import nid_plugins as nid
from benchmarks.dictionary_loop import cross_by_lists, cross_by_rows
from benchmarks.scale_log import CARDINALITIES, SCHEMA, frame, sets, write_log


def test_the_log_fits_its_schema_and_has_a_long_tail():
    rows = frame(20_000, 0)
    assert list(rows) == list(SCHEMA.names)
    for name, size in zip(rows, CARDINALITIES, strict=False):
        assert rows[name].min() >= 0
        assert rows[name].max() < size
    counts = np.sort(np.bincount(np.unique(rows["c26"], return_inverse=True)[1]))
    assert counts[-1] > 500
    assert (counts == 1).sum() > 5000


def test_the_log_is_the_same_whatever_its_length(tmp_path):
    size = write_log(tmp_path / "log", 3000)
    assert size == sum(path.stat().st_size for path in (tmp_path / "log").iterdir())
    crosses = nid.fit_crosses([("c1", "i1")], tmp_path / "log", SCHEMA)
    assert np.array_equal(crosses.transform(tmp_path / "log"), crosses.transform(frame(3000, 0)))


def test_sets_are_distinct_and_a_tenth_are_triples():
    listed = sets(60)
    assert len({frozenset(one) for one in listed}) == 60
    assert sum(len(one) == 3 for one in listed) == 6


@pytest.mark.parametrize("loop", [cross_by_rows, cross_by_lists])
def test_loops_tell_apart_what_crosses_tell_apart(loop):
    schema = nid.FeatureSchema([nid.SparseField(name, 7) for name in "abc"])
    rng = np.random.default_rng(0)
    columns = {name: np.minimum(rng.zipf(1.5, 2000), 7) - 1 for name in "abc"}
    members = [(0, 1), (0, 1, 2)]
    ids = loop(np.column_stack(list(columns.values())).astype(float), members, 9.0)
    crosses = nid.fit_crosses([("a", "b"), ("a", "b", "c")], columns, schema, min_count=9)
    ours = crosses.transform(columns)
    for k, size in enumerate(crosses.vocabulary_sizes):
        pairs = {(int(x), int(y)) for x, y in zip(ids[:, k], ours[:, k], strict=True)}
        assert len(pairs) == size + 1
        assert (0, 0) in pairs
