"""The benchmark of detection at scale: its tables follow from its results, and one width of it runs."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="this benchmark times a PyTorch model")
pytest.importorskip("deepctr_torch", reason="this benchmark times a model of DeepCTR-Torch")

from benchmarks import scale_detection
from benchmarks.common import RESULTS


def test_costs_are_medians_of_ratios_round_by_round():
    def one(clock, floor):
        return {"clock": clock, "floor_clock": floor, "processor": 2 * clock, "floor_processor": floor}

    rounds = [{"threads": one(c, f), "serial": one(2 * c, f)} for c, f in ((11, 10), (24, 20), (13, 10))]
    lines = scale_detection.table({"cost": rounds}).splitlines()
    assert lines[2] == "| `threads` | 10.0 | 13.0 | 1.20 | 2.40 |"
    assert lines[3] == "| `serial` | 10.0 | 26.0 | 2.40 | 4.80 |"


def test_steps_are_differences_block_by_block():
    blocks = [
        {"alone": a, "query": a + 0.002, "explain": 0.003, "regression": 0.001} for a in (0.010, 0.030, 0.020)
    ]
    lines = scale_detection.steps({"shares": {"blocks": blocks, "once": 0.5}}).splitlines()
    assert [line.split(" | ")[1:] for line in lines[2:]] == [
        ["20.00", "100.0% |"],
        ["2.00", "10.0% |"],
        ["1.00", "5.0% |"],
        ["2.00", "10.0% |"],
        ["0.50", "2.5% |"],
    ]


def test_a_narrow_world_is_measured():
    one = scale_detection.one_width("matching_pursuit", 40, 2)
    assert one["found"] > scale_detection.PLANTED // 2
    assert one["queries"] == scale_detection.MASKS
    assert one["seconds"] > 0 <= one["megabytes"]
    line = scale_detection.wide({"fields": [one]}).splitlines()[2]
    assert line.startswith("| 40 | `matching_pursuit` | 6,000 |")


def test_the_last_results_are_complete():
    result = json.loads((RESULTS / "scale_detection.json").read_text("utf-8"))
    assert all(r["identical"] == 1.0 for r in result["ray"]), "workers change nothing"
    by_width = {(r["detector"], r["fields"]): r for r in result["fields"]}
    widest = by_width["matching_pursuit", 1000]
    assert widest["found"] >= 0.9 * scale_detection.PLANTED
    assert widest["megabytes"] < by_width["least_squares", 300]["megabytes"]
    for make in (scale_detection.table, scale_detection.steps, scale_detection.wide, scale_detection.workers):
        assert make(result).count("\n") > 2
