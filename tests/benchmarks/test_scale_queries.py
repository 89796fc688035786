"""The benchmark of fewer queries: its tables follow from its runs, a small one runs, and the last results say what docs do."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="this benchmark trains PyTorch models")
pytest.importorskip("deepctr_torch", reason="this benchmark trains models of DeepCTR-Torch")

import nid_plugins as nid
from benchmarks import scale_queries
from benchmarks.common import RESULTS
from benchmarks.planted_worlds import World
from nid_plugins.frames import read_matrix


def run(sample, seed, top, **told):
    queries = told.get("instances", 1000) * told.get("masks", 6000)
    return {
        "sample": sample,
        "seed": seed,
        "queries": queries,
        "top": dict.fromkeys(("count", "strength"), top),
        **told,
    }


def test_runs_are_compared_with_those_of_other_masks_by_rows():
    full = [run(s, m, [f"{s}", f"{m}", "x"]) for s in range(3) for m in range(3)]
    assert scale_queries.common(full, full, "count", same=True) == 2.0, "the sample's and x"
    assert scale_queries.common(full, full, "count", same=False) == pytest.approx(
        np.mean(
            [
                len({f"{s}", f"{m}", "x"} & {f"{t}", f"{n}", "x"})
                for s, m, t, n in pairs_of(3)
                if s != t and m != n
            ]
        )
    )
    assert np.isnan(scale_queries.common(full[:1], full[:1], "count", same=None)), "never with itself"


def pairs_of(n):
    return [(s, m, t, o) for s in range(n) for m in range(n) for t in range(n) for o in range(n)]


@pytest.fixture(scope="module")
def small():
    """All runs on a world of few fields, far smaller than the benchmark's."""
    world = World(3, fields=6, pairs=3, triples=0)
    box = nid.wrap(world.function(), world.schema, output="logit")
    rows = read_matrix(world.rows(300), world.schema)
    patch = pytest.MonkeyPatch()
    sizes = {
        "FULL": (20, 150),
        "FEWER": ((10, 60),),
        "MORE": (80, 60),
        "ALL_MASKS": 60,
        "AUTO_MASKS": 60,
        "PLACES": 3,
    }
    for name, value in {**sizes, "TOP": 2, "trained": lambda name: (box, rows, rows)}.items():
        patch.setattr(scale_queries, name, value)
    yield {"logs": {"small": json.loads(json.dumps(scale_queries.log("small"))), "absent": None}}
    patch.undo()


def test_samples_are_disjoint_and_runs_begin_with_the_same_rows(small):
    box, rows, _ = scale_queries.trained("small")
    bench = scale_queries.Bench((box, rows, rows))
    samples = [bench.sample(number, 10**6) for number in range(3)]
    assert [len(s) for s in samples] == [80] * 3
    assert len(np.unique(np.concatenate(samples), axis=0)) == len(np.unique(bench.rows[:240], axis=0))
    np.testing.assert_array_equal(bench.sample(1, 10), samples[1][:10])


def test_all_runs_are_told_in_the_table(small):
    one = small["logs"]["small"]
    assert len(one["full"]) == 9
    assert all(len(r["top"][rank]) == 2 for r in one["full"] for rank in scale_queries.RANKS)
    assert {(r["sample"], r["seed"]) for r in one["full"]} == {(s, m) for s in range(3) for m in range(3)}
    assert one["all"]["instances"] == 300
    lines = scale_queries.table(small).splitlines()
    assert len(lines) == 2 + 2 * (1 + 1 + 1 + 1)
    assert lines[2].startswith("| small | `count` | 20 x 150 | 1.00 | ")
    assert "| small | `strength` | 10 x 60 | 0.20 | " in "\n".join(lines)
    assert "absent" not in "\n".join(lines)


def test_places_have_a_gap_and_an_error_over_rows_and_masks(small):
    for rank, found in small["logs"]["small"]["places"].items():
        assert [p["place"] for p in found] == [1, 2, 3], rank
        assert [p["score"] for p in found] == sorted((p["score"] for p in found), reverse=True)
        assert all(0 <= p["gap"] <= 1 and p["over_rows"] >= 0 <= p["over_masks"] for p in found)
    assert scale_queries.why(small).count("| small |") == 2


def test_the_last_results_say_what_the_page_says():
    result = json.loads((RESULTS / "scale_queries.json").read_text("utf-8"))
    for one in filter(None, result["logs"].values()):
        quarter = [r for r in one["fewer"] if (r["instances"], r["masks"]) == (1000, 1500)]
        by_strength = scale_queries.common(quarter, one["full"], "strength", same=True)
        assert by_strength > 18.5, "a quarter of the queries has the top 20 but for about one set"
        assert by_strength > scale_queries.common(quarter, one["full"], "count", same=True) + 1
    for make in (scale_queries.table, scale_queries.why):
        assert make(result).count("\n") > 4
