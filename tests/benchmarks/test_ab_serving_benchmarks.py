"""The benchmarks of the router: small runs of their parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import ab_end_to_end, ab_router, ab_traffic
from benchmarks.common import RESULTS
from nid_plugins.simulate import World


def test_candidates_of_a_request_share_user_and_context_and_users_come_back(monkeypatch):
    monkeypatch.setattr(ab_traffic, "TRAINING_ROWS", 3000)
    monkeypatch.setattr(ab_traffic, "CHUNK", 1024)
    world = World(seed=1)
    chunks = list(ab_traffic.Traffic(world, 3000, 0).chunks())
    users = np.concatenate([user for _, user, _ in chunks])
    moments = np.concatenate([moment for _, _, moment in chunks])
    assert len(users) == len(moments) == 3000
    assert (np.diff(moments) > np.timedelta64(0)).all()
    assert len(np.unique(users)) < 300
    profiles = {}
    for frame, user, _ in chunks:
        slates = {name: values.reshape(len(user), ab_traffic.CANDIDATES) for name, values in frame.items()}
        for name in (*ab_traffic.PROFILE, *ab_traffic.CONTEXT):
            assert (slates[name] == slates[name][:, :1]).all()
        assert (slates["creative"] != slates["creative"][:, :1]).any()
        for u, segment, device in zip(user, slates["segment"][:, 0], slates["device"][:, 0], strict=True):
            assert profiles.setdefault(u, (segment, device)) == (segment, device)
        assert np.isfinite(world.logit(frame)).all()


def test_the_best_candidate_of_each_request_is_shown():
    assert ab_traffic.best_of(np.array([0.1, 0.5, 0.2, 0.3, 0.4, 0.9, 0.1, 0.1, 0.1, 0.2])).tolist() == [
        1,
        5,
    ]


def test_costs_are_measured_and_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(ab_router, "BATCHES", 2)
    cost = ab_router.cost(1, tmp_path)
    assert cost["dropped"] == 0
    assert all(way["microseconds"] > 0 for way in cost["ways"].values())
    shown = ab_router.table({"cost": cost}).splitlines()
    assert len(shown) == 2 + len(cost["ways"])
    assert len({line.count("|") for line in shown}) == 1


@pytest.mark.parametrize("failing", [False, True])
def test_faults_are_looked_for(monkeypatch, tmp_path, failing):
    monkeypatch.setattr(ab_router, "REQUESTS", 48)
    run = ab_router.threads(tmp_path, failing=failing)
    assert (run["requests"], run["rows"]) == (48, 48 * 256)
    assert run["out_of_place"] == run["lost"] == run["twice"] == run["logged_wrongly"] == 0
    assert run["fallback_rows"] == sum(run["reasons"].values())
    assert (run["fallback_rows"] > 0) is failing


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("ab_router", (ab_router.table, ab_router.faults)),
        ("ab_end_to_end", (ab_end_to_end.table, ab_end_to_end.trap, ab_end_to_end.repeats)),
    ],
)
def test_the_kept_results_make_tables(name, tables):
    result = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    for table in tables:
        lines = table(result).splitlines()
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1


def test_what_the_kept_results_promise():
    router = json.loads((RESULTS / "ab_router.json").read_text("utf-8"))
    for name in ("threads", "failing", "killed"):
        assert router[name]["lost"] == router[name]["twice"] == 0
    assert router["killed"]["torn_requests"] == router["cost"]["dropped"] == 0
    runs = json.loads((RESULTS / "ab_end_to_end.json").read_text("utf-8"))["runs"]
    assert all(run["impressions"] == run["logged"] == 500_000 for run in runs)
    assert all(run["dropped"] == run["exclusions"] == 0 for run in runs)
