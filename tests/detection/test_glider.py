"""GLIDER: same seed same report, drawing instances, counting sets over them, pruning."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import nid_plugins as nid
from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.detector import Detector, Explanation
from nid_plugins.detection.journal import InstanceResult
from nid_plugins.detection.settings import DetectSettings

DETECTORS = {
    "least_squares": {},
    "nid": {"hidden": (12,), "epochs": 8},
    "gradient_nid": {"hidden": (12,), "epochs": 8, "contexts": 4},
    "archdetect": {"probe": 100},
}


def saved(report, path):
    report.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("prune", ["gain", "paper", "none"])
def test_same_seed_same_report_to_the_last_bit_whatever_the_executor(box, frame, tmp_path, detector, prune):
    # 36 instances: two whole groups and a part of one.
    settings = {"detector": detector, "options": DETECTORS[detector], "prune": prune, "baseline": "sample"}
    settings |= {"instances": 36, "perturbations": 150, "progress": False}
    first = saved(nid.detect(box, frame, executor="threads", **settings), tmp_path / "a")
    assert saved(nid.detect(box, frame, executor="threads", **settings), tmp_path / "b") == first
    assert saved(nid.detect(box, frame, executor="serial", **settings), tmp_path / "c") == first
    assert saved(nid.detect(box, frame, seed=1, **settings), tmp_path / "d") != first


def test_planted_interactions_lead_the_ranking(box, frame, small):
    report = nid.detect(box, frame, **small)
    assert set(report.top(2)) == {("a", "b"), ("c", "d")}
    assert report.instances == 20
    counts = [i.count for i in report]
    assert counts == sorted(counts, reverse=True)
    assert all(i.share == i.count / 20 for i in report)
    assert report.fit_summary()["r2_median"] > 0.99
    assert report.kept.shape == report.r2.shape == report.r2_linear.shape == (20,)
    assert report.kept.sum() == sum(counts), "nothing was cut off here"
    assert report.pair_strength("a", "b") > 10 * report.pair_strength("a", "e")


def test_strength_is_the_mean_over_the_instances_that_have_the_set(box, frame, small):
    report = nid.detect(box, frame, detector="archdetect", **small)
    ones = [
        nid.detect(box, {k: v[i : i + 1] for k, v in frame.items()}, background=frame, detector="archdetect",
                   **{**small, "instances": 1})
        for i in drawn(box, frame, small)
    ]  # fmt: skip
    for interaction in report:
        each = [i for one in ones for i in one if i.fields == interaction.fields]
        assert interaction.count == len(each)
        assert interaction.strength == pytest.approx(np.mean([i.strength for i in each]), rel=1e-6)
        assert interaction.gain == pytest.approx(np.mean([i.gain for i in each]), rel=1e-4)
    assert report.r2_linear == pytest.approx([one.r2_linear[0] for one in ones], abs=1e-6)
    mean = np.mean([one.pair_strengths for one in ones], axis=0)
    assert report.pair_strengths == pytest.approx(mean, rel=1e-5, abs=1e-9)


def drawn(box, frame, settings):
    """Positions of the instances a detection draws, told by their first queries."""
    seen = []
    model = nid.wrap(
        lambda c: seen.append(float(c["b"][0])) or np.zeros(len(c["b"])), box.schema, output="logit"
    )
    with pytest.warns(nid.NidWarning, match="does not react"):
        nid.detect(model, frame, **settings)
    return [int(np.flatnonzero(np.float32(frame["b"]) == np.float32(value))[0]) for value in seen]


def test_instances_are_drawn_without_replacement_in_order(box, frame, small):
    first, again, other = (drawn(box, frame, {**small, "seed": seed}) for seed in (0, 0, 1))
    assert len(first) == len(set(first)) == 20
    assert first == sorted(first) == again
    assert first != other
    assert drawn(box, frame, {**small, "instances": 60}) == list(range(60))
    assert drawn(box, frame, {**small, "instances": 1000}) == list(range(60)), "all there are"


def test_settings_are_in_the_report(box, frame, small):
    report = nid.detect(box, frame, **small)
    assert report.settings == {
        "detector": "least_squares",
        "options": {"orders": 3, "pairs": 24, "triples": 12, "penalties": [1e-4, 1e-3, 1e-2, 1e-1]},
        "baseline": "mode",
        "instances": 20,
        "perturbations": 300,
        "top_k": 40,
        "seed": 0,
        "prune": "gain",
        "rank": "count",
        "min_gain": 1e-3,
        "candidates": 40,
        "redraw": None,
        "adapter": "callable",
        "output": "logit",
        "epsilon": 1e-7,
        "instances_used": 20,
        "queries_per_instance": 300,
        "clipped_predictions": 0,
    }


def test_top_k_cuts_the_ranking_and_may_exceed_it(box, frame, small):
    whole = nid.detect(box, frame, prune="none", top_k=10_000, **small)
    assert 10 < len(whole) < 10_000
    few = nid.detect(box, frame, prune="none", top_k=3, **small)
    assert few.top(9) == whole.top(3)


def test_paper_pruning_leaves_an_antichain_without_the_set_of_all_fields(box, frame, small):
    none = nid.detect(box, frame, detector="nid", prune="none", top_k=1000, **small)
    paper = nid.detect(box, frame, detector="nid", prune="paper", top_k=1000, **small)
    sets = [set(fields) for fields in paper.top(1000)]
    assert sets
    assert not any(a < b for a in sets for b in sets)
    assert all(len(s) < 5 for s in sets)
    # What is not pruned holds both: sets inside others.
    free = [set(fields) for fields in none.top(1000)]
    assert any(a < b for a in free for b in free)
    assert all(np.isnan(i.gain) for i in paper)
    assert all(i.gain >= 1e-3 for i in nid.detect(box, frame, detector="nid", **small))


class Fixed(Detector):
    """Finds the same in every instance."""

    name = "fixed"

    def __init__(self, *sets):
        self.sets = list(sets)

    def fit(self, state, targets, seeds):
        return [Explanation(self.sets, np.arange(len(self.sets), 0, -1.0)) for _ in targets]


def test_paper_pruning_of_one_instance(schema, frame, small):
    # Every field switches in every instance, so that nothing is dropped for another reason.
    box = nid.wrap(lambda c: c["b"] + c["c"], schema, output="logit")
    sets = [(1, 2), (0, 1, 2, 3, 4), (1, 2, 3), (2, 3), (0, 4)]
    off = {name: np.full(3, 1 if name == "d" else 0) for name in schema.names}
    on = {**{name: column[:20] for name, column in frame.items()}, "a": np.full(20, 2), "e": np.full(20, 2)}
    on["d"] = np.full(20, 3)
    for prune, kept, top in (
        ("paper", 3, [(1, 2, 3), (0, 4)]),
        ("none", 5, [(1, 2), (0, 1, 2, 3, 4), (1, 2, 3), (2, 3), (0, 4)]),
    ):
        report = nid.detect(box, on, background=off, detector=Fixed(*sets), prune=prune, **small)
        # (2, 3) lies in the stronger (1, 2, 3); (1, 2) is stronger than it; the set of all fields does not count.
        assert set(report.kept) == {kept}
        assert report.top(9) == [tuple(schema.names[j] for j in members) for members in top]
        assert {i.count for i in report} == {20}


def test_at_most_a_hundred_sets_of_an_instance_count():
    schema = nid.FeatureSchema([nid.DenseField(f"x{i}") for i in range(20)])
    rng = np.random.default_rng(0)
    frame = {name: rng.normal(size=30) for name in schema.names}
    box = nid.wrap(lambda c: c["x0"] + c["x1"], schema, output="logit")
    every = Fixed(*((a, b) for a in range(20) for b in range(a + 1, 20)))
    for prune in ("paper", "none"):
        report = nid.detect(
            box, frame, detector=every, prune=prune, instances=5, perturbations=100, top_k=500, progress=False
        )
        assert report.kept.tolist() == [100] * 5


def test_a_report_does_not_depend_on_the_order_results_came_in(box):
    rng = np.random.default_rng(0)
    results = [
        InstanceResult(i, [(0, 1), (2, 3)], rng.random(2).tolist(), [0.5, 0.25], rng.random(), 0.5, None, 1)
        for i in range(40)
    ]
    settings = DetectSettings("least_squares", {}, "mode", 40, 100, 5, 0, "gain", "count", 1e-3, 40)
    report = build_report(box, settings, results, {}, 100)
    assert build_report(box, settings, results[::-1], {}, 100) == report
    assert report.r2.tolist() == [r.r2 for r in results]


def test_explain_is_detect_on_one_row(box, frame):
    row = {name: column[3] for name, column in frame.items()}
    report = nid.explain(box, row, background=frame, perturbations=300, seed=4)
    one = {name: column[3:4] for name, column in frame.items()}
    same = nid.detect(box, one, background=frame, instances=1, perturbations=300, seed=4, progress=False)
    assert report == same
    assert report.instances == 1
    assert all(i.count == 1 and i.share == 1.0 for i in report)


def test_the_progress_bar_is_for_terminals(box, frame, small, capsys):
    nid.detect(box, frame, **{**small, "progress": True})
    nid.detect(box, frame, **small)
    assert capsys.readouterr().out == ""


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_rounding_does_not_depend_on_the_number_of_cores(box, frame, small):
    seen = []

    class Noting(Fixed):
        def prepare(self, masks):
            seen.append(blas_threads())

        def fit(self, state, targets, seeds):
            seen.append(blas_threads())
            return super().fit(state, targets, seeds)

    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS has one thread")
        nid.detect(box, frame, detector=Noting(), **small)
        assert blas_threads() == {2}, "what the caller had set is back"
    assert seen == [{1}] * 3


def test_the_random_state_of_numpy_is_left_alone(box, frame, small):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    nid.detect(box, frame, detector="nid", **small)
    assert np.array_equal(np.random.get_state()[1], before)
