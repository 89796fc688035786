"""The benchmark of fewer queries: its tables follow from its runs, a small one runs, and the last results say what docs do."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="this benchmark trains PyTorch models")
pytest.importorskip("deepctr_torch", reason="this benchmark trains models of DeepCTR-Torch")

import nid_plugins as nid
from benchmarks import scale_queries, scale_queries_kinds, scale_queries_tables
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
    assert scale_queries_tables.common(full, full, "count", same=True) == 2.0, "the sample's and x"
    assert scale_queries_tables.common(full, full, "count", same=False) == pytest.approx(
        np.mean(
            [
                len({f"{s}", f"{m}", "x"} & {f"{t}", f"{n}", "x"})
                for s, m, t, n in pairs_of(3)
                if s != t and m != n
            ]
        )
    )
    assert np.isnan(scale_queries_tables.common(full[:1], full[:1], "count", same=None)), "never with itself"


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
        "FULL": (64, 150),
        "REDRAW": 32,
        "QUARTER": (40, 60),
        "FEWER": ((40, 60, None), (40, 60, 32), (10, 60, None)),
        "MORE": (80, 60),
        "ALL_MASKS": 60,
        "AUTO_MASKS": 60,
        "PLACES": 3,
    }
    for name, value in {**sizes, "TOP": 2, "trained": lambda name: (box, rows, rows)}.items():
        patch.setattr(scale_queries, name, value)
    patch.setattr(scale_queries_kinds, "MASKS", 100)
    patch.setattr(scale_queries_kinds, "ROWS", 10)
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
    assert {r["redraw"] for r in one["redrawn"]} == {32}
    quarter = [r for r in one["fewer"] if (r["instances"], r["masks"], r["redraw"]) == (40, 60, None)]
    assert {(r["sample"], r["seed"]) for r in quarter} == {(s, m) for s in range(3) for m in (3, 4, 5)}


def test_parts_that_are_not_run_again_are_kept(small):
    one = small["logs"]["small"]
    again = scale_queries.log("small", ["redrawn"], one)
    assert all(again[key] is one[key] for key in ("full", "fewer", "auto", "all", "places"))
    assert [r["top"] for r in again["redrawn"]] == [r["top"] for r in one["redrawn"]]


def test_the_table_has_a_line_a_kind_of_run(small):
    lines = scale_queries_tables.table(small).splitlines()
    assert len(lines) == 2 + 2 * (2 + 3 + 1 + 1)
    assert lines[2].startswith("| small | `count` | 64 x 150 | 1.00 | ")
    assert lines[3].startswith("| small | `count` | 64 x 150, `redraw=32` | 1.00 | ")
    assert "| small | `strength` | 10 x 60 | 0.06 | " in "\n".join(lines)
    assert "nan" not in "\n".join(lines)
    assert "absent" not in "\n".join(lines)


def test_places_have_a_gap_and_an_error_over_rows_and_masks(small):
    for rank, found in small["logs"]["small"]["places"].items():
        assert [p["place"] for p in found] == [1, 2, 3], rank
        assert [p["score"] for p in found] == sorted((p["score"] for p in found), reverse=True)
        assert all(0 <= p["gap"] <= 1 and p["over_rows"] >= 0 <= p["over_masks"] for p in found)
    assert scale_queries_tables.why(small).count("| small |") == 2


@pytest.mark.parametrize("kind", scale_queries_kinds.KINDS)
def test_masks_of_a_kind(kind):
    masks = scale_queries_kinds.KINDS[kind](6, 200, np.random.default_rng(0))
    assert masks.shape == (200, 6)
    assert masks.dtype == bool
    assert masks[0].all()
    on = masks[1:].sum(axis=1)
    assert (masks[1:].mean(axis=0) > 0.3).all()
    assert (masks[1:].mean(axis=0) < 0.7).all()
    if "complement" in kind:
        assert (masks[0::2] != masks[1::2]).all()
    elif "half" not in kind:
        assert on.max() == 5, "something is off"
        assert (np.bincount(on)[:6] > 15).all(), "as many fields are off as not"


def test_kinds_of_masks_are_compared_with_the_usual_ones(small):
    one = small["logs"]["small"]["kinds"]
    assert [each["masks"] for each in one] == list(scale_queries_kinds.KINDS)
    assert one[0]["usual"] == 15, "all pairs"
    assert all(each["strength"] > 0 < each["score"] for each in one)
    assert scale_queries_tables.kinds(small).count("| small |") == 4


def test_the_last_results_say_what_the_page_says():
    result = json.loads((RESULTS / "scale_queries.json").read_text("utf-8"))
    for one in filter(None, result["logs"].values()):
        for rank in scale_queries.RANKS:
            found = {
                redraw: scale_queries_tables.common(
                    [
                        r
                        for r in one["fewer"]
                        if (r["instances"], r["masks"], r["redraw"]) == (1000, 1500, redraw)
                    ],
                    one["full"],
                    rank,
                    same=True,
                )
                for redraw in (None, 128)
            }
            again = scale_queries_tables.common(one["full"], one["full"], rank, same=True)
            assert found[128] > again - 0.3, "as much of a full run as another one has"
            assert found[128] > found[None]
            if rank == "strength":
                assert found[128] > 19.5, "all but less than half a set"
    for make in (
        scale_queries_tables.table,
        scale_queries_tables.why,
        scale_queries_tables.kinds,
        scale_queries_tables.cost,
    ):
        assert make(result).count("\n") >= 3, make.__name__
