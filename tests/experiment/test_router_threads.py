"""Eight threads at one router: every row gets the right answer in its place, and is logged once."""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pytest
import torch

import nid_plugins as nid
from nid_plugins.experiment import Design, DuckDBSink, ParquetSink, Router, assign, read_exposures

DESIGN = Design("exp")
REQUESTS, ROWS, THREADS = 96, 40, 8


@pytest.fixture(autouse=True)
def eager_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(router, frames, names):
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(router.predict, f, impressions=n) for f, n in zip(frames, names, strict=True)]
        return [job.result(timeout=120) for job in jobs]


@pytest.mark.parametrize("limit_ms", [None, 60_000])
@pytest.mark.parametrize("kind", ["parquet", "duckdb"])
def test_nothing_is_lost_and_order_is_kept(module_of, deepfm_of, schema, frame_of, tmp_path, limit_ms, kind):
    models = {"control": module_of(), "treatment": deepfm_of().train()}
    frames = [frame_of(ROWS, seed) for seed in range(REQUESTS)]
    names = [[f"{r}-{i}" for i in range(ROWS)] for r in range(REQUESTS)]
    boxes = [nid.wrap(model, schema) for model in models.values()]
    expected = []
    for frame in frames:
        variants = assign(DESIGN, frame["user_id"])
        both = np.stack([box.probabilities(frame) for box in boxes])
        expected.append(both[variants, np.arange(ROWS)])
    sink = (
        ParquetSink(tmp_path, rows=500)
        if kind == "parquet"
        else DuckDBSink(tmp_path / "log.duckdb", rows=1500)
    )
    with Router(DESIGN, models, schema, sinks=[sink], limit_ms=limit_ms, covariate=0.5) as router:
        answers = in_threads(router, frames, names)
        assert router.dropped == 0
    for answer, right, name in zip(answers, expected, names, strict=True):
        np.testing.assert_allclose(answer.predictions, right, atol=1e-6)
        assert answer.impressions == name
    assert all(module.training for model in models.values() for module in model.modules())
    if kind == "parquet":
        table = read_exposures(tmp_path, ["impression", "prediction"])
        logged = list(zip(table["impression"].to_pylist(), table["prediction"].to_pylist(), strict=True))
    else:
        with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
            logged = connection.execute("SELECT impression, prediction FROM exposures").fetchall()
    assert len(logged) == REQUESTS * ROWS
    shown = {n: p for a in answers for n, p in zip(a.impressions, a.predictions.tolist(), strict=True)}
    assert dict(logged) == shown  # as many, each once, with what was served


def test_a_treatment_failing_at_random_costs_no_answer(module_of, schema, frame_of, tmp_path):
    rng = random.Random(0)  # noqa: S311

    def moody(columns):
        draw = rng.random()
        if draw < 0.2:
            raise OSError("gone")
        if draw < 0.3:
            return np.full(len(columns["site"]), np.nan)
        if draw < 0.35:
            time.sleep(0.2)
        return np.full(len(columns["site"]), 2.0) / 3

    control = module_of()
    models = {"control": control, "treatment": nid.wrap(moody, schema, output="probability")}
    frames = [frame_of(ROWS, seed) for seed in range(REQUESTS)]
    names = [[f"{r}-{i}" for i in range(ROWS)] for r in range(REQUESTS)]
    sink = ParquetSink(tmp_path, rows=500)
    with Router(DESIGN, models, schema, sinks=[sink], limit_ms=100, failures=3, pause_s=0.01) as router:
        answers = in_threads(router, frames, names)
        status = router.status["treatment"]
    box = nid.wrap(control, schema)
    reasons = set()
    for frame, answer in zip(frames, answers, strict=True):
        own = (answer.variants == "treatment") & ~answer.fallback
        expected = np.where(own, 2 / 3, box.probabilities(frame))
        np.testing.assert_allclose(answer.predictions, expected, atol=1e-6)
        reasons |= set() if answer.reasons is None else set(answer.reasons[answer.fallback])
    assert {"raised OSError", "invalid output"} <= reasons
    events = read_exposures(tmp_path)
    assert sorted(events["impression"].to_pylist()) == sorted(name for request in names for name in request)
    fallbacks = sum(int(answer.fallback.sum()) for answer in answers)
    assert sum(events["fallback"].to_pylist()) == fallbacks == status.fallbacks > 0
    assert status.rows > 0


def test_two_routers_share_a_control(module_of, schema, frame_of):
    control = module_of()
    frames = [frame_of(ROWS, seed) for seed in range(32)]
    box = nid.wrap(control, schema)
    expected = [box.probabilities(frame) for frame in frames]
    routers = [Router(Design(f"e{i}"), {"control": control, "treatment": control}, schema) for i in range(2)]
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(routers[i % 2].predict, frame) for i, frame in enumerate(frames)]
        for job, right in zip(jobs, expected, strict=True):
            np.testing.assert_allclose(job.result().predictions, right, atol=1e-6)
    assert all(module.training for module in control.modules())
    assert torch.is_grad_enabled()
