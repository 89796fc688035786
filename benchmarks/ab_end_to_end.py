"""A whole experiment on simulated users: does the analysis find the lift the injected model truly has?

Base: the DeepFM of ``nid demo`` (DeepCTR-Torch), trained on 64,000 simulated impressions. Treatment: the same model with
the crosses it was found to need, injected and trained. Nothing of it has seen the users of the experiment.

Users come back: each has a profile (device, browser, segment, ...) and an activity of its own (lognormal). A request is a
user in a context with five candidate ads. The router asks the model of the user's variant for all five; the best one is
shown, and clicked with its *true* probability. Exposures go through a ParquetSink, clicks to a Parquet file, and
``analyze`` reads both.

The truth: both models choose for *every* request of the log, and the true click probabilities of what they choose are
averaged. The covariate (CUPAC) is the mean of the base's predictions over the five candidates: it is the same whichever
model chooses. ``shown_covariate`` is what happens when the base's prediction of the *shown* ad is taken instead.

Run: python -m benchmarks.ab_end_to_end [--seeds 3] [--impressions 500000]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import itertools
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import nid_plugins as nid
from benchmarks.common import write
from nid_plugins.cli.frameworks import FRAMEWORKS, Recipe
from nid_plugins.cli.trial import Trial
from nid_plugins.experiment import (
    Design,
    Guardrail,
    Metric,
    ParquetSink,
    Router,
    Variant,
    analyze,
    read_exposures,
)
from nid_plugins.metrics import sigmoid
from nid_plugins.readers import split_by_order
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nid_plugins.experiment.results import Effect

TRAINING_ROWS = 80_000
CANDIDATES = 5
REQUESTS = 256  # in a call of the router
CHUNK = 100 * REQUESTS
PROFILE = ("device", "os", "browser", "segment", "recency")
CONTEXT = ("weekday", "hour", "publisher", "site", "banner_position", "depth")
START = np.datetime64("2030-01-01T00:00:00", "us")
DAYS = 14
DESIGN = Design(
    "deepfm-crosses",
    variants=(Variant("base", 0.5), Variant("crosses", 0.5)),
    primary=Metric.ctr(covariate="covariate"),
    metrics=(Metric.ctr(name="ctr without covariate"),),
    guardrails=(
        Guardrail(Metric.calibration(), worse="either", margin=0.05),
        Guardrail(Metric.latency(0.95), worse="up", margin=1.0),
    ),
    mde=0.01,
)


def models(world: World, seed: int) -> tuple[dict[str, nid.BlackBox], dict[str, Any]]:
    """Return base and injected model, both trained, and what is known of them."""
    log = world.draw(TRAINING_ROWS)
    parts = [log.rows(part) for part in split_by_order(len(log))]
    framework = FRAMEWORKS["deepctr-torch"]
    frames, labels = [part.frame for part in parts], [part.label for part in parts]
    with framework.running():
        trial = Trial(framework, frames, labels, log.schema, Recipe(rate=3e-3), seed)
        base = trial.base()
        box = trial.box(base)
        report = nid.detect(
            box,
            frames[1],
            background=frames[0],
            baseline="sample",
            instances=300,
            perturbations=2000,
            seed=seed,
        )
        crosses = nid.fit_crosses(report, frames[0], log.schema, max_crosses=min(40, len(report)), bins=10)
        _, chosen = trial.screened(box, crosses)
        crossed = trial.crossed(base, crosses.select(chosen), "crosses")
    known = {"crosses": chosen, "base": base.scores(), "crosses_scores": crossed.scores()}
    return {"base": box, "crosses": trial.box(crossed)}, known


class Traffic:
    """Requests of returning users.

    Args:
        world: Where profiles, contexts and ads come from; impressions the models were trained on are not used again.
        requests: How many.
        seed: Of the users.
    """

    def __init__(self, world: World, requests: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 11])
        self._world, self._requests = world, requests
        self._users = requests // 10
        activity = self._rng.lognormal(0.0, 1.0, self._users)
        self._activity = np.cumsum(activity / activity.sum())

    def chunks(self) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
        """Yield candidates (rows of one request together), the user and the moment of each request."""
        known = TRAINING_ROWS + self._users
        drawn = self._world.draw(known).frame
        profiles = {name: drawn[name][TRAINING_ROWS:] for name in PROFILE}
        size = CHUNK * CANDIDATES
        spent = -(-known // size)  # pieces that hold the impressions above
        pieces = self._world.chunks(spent * size + self._requests * CANDIDATES, size)
        made = 0
        for pool in itertools.islice(pieces, spent, None):
            n = min(len(pool) // CANDIDATES, self._requests - made)
            user = np.minimum(np.searchsorted(self._activity, self._rng.random(n)), self._users - 1)
            frame = {name: values[: n * CANDIDATES].copy() for name, values in pool.frame.items()}
            for name in CONTEXT:
                frame[name] = np.repeat(frame[name][::CANDIDATES], CANDIDATES)
            for name in PROFILE:
                frame[name] = np.repeat(profiles[name][user], CANDIDATES)
            share = (made + np.arange(n)) / self._requests
            moment = START + (share * DAYS * 86_400e6).astype("timedelta64[us]")
            yield frame, user, moment
            made += n


def best_of(predictions: np.ndarray) -> np.ndarray:
    """Return the row of the best candidate of each request."""
    slates = predictions.reshape(-1, CANDIDATES)
    return slates.argmax(axis=1) + np.arange(len(slates)) * CANDIDATES


def serve(
    router: Router, frame: dict[str, Any], user: np.ndarray, moment: np.ndarray, first: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Send requests through the router, a few at a time; return ids and rows of what was shown, and the base's opinion of it."""
    ids, rows, opinion = [], [], []
    for start in range(0, len(user), REQUESTS):
        stop = min(start + REQUESTS, len(user))
        part = slice(start * CANDIDATES, stop * CANDIDATES)
        numbers = np.repeat(np.arange(start, stop), CANDIDATES)
        answer = router.predict(
            {name: values[part] for name, values in frame.items()},
            [f"user-{i}" for i in user[numbers]],
            request=[f"r{first + i}" for i in numbers.tolist()],
            timestamp=moment[numbers],
            log=False,
        )
        shown = best_of(answer.predictions)
        router.expose(answer, shown)
        ids += [answer.impressions[i] for i in shown]
        rows.append(shown + part.start)
        opinion.append(answer.covariate[shown])
    return ids, np.concatenate(rows), np.concatenate(opinion)


def one_run(seed: int, impressions: int, folder: Path) -> dict[str, Any]:
    """Train, serve, click, analyse."""
    began = time.perf_counter()
    world = World(seed=seed)
    boxes, known = models(world, seed)
    print(f"seed {seed}: models after {time.perf_counter() - began:.0f} s", known, flush=True)
    rng = np.random.default_rng([seed, 13])
    sink = ParquetSink(folder / "exposures")
    clicked: list[str] = []
    moments = []
    opinions: dict[str, float] = {}
    truth = dict.fromkeys(boxes, 0.0)
    other = made = 0
    trained = time.perf_counter()
    serving = 0.0
    with Router(DESIGN, boxes, sinks=[sink], covariate=True) as router:
        for frame, user, moment in Traffic(world, impressions, seed).chunks():
            started = time.perf_counter()
            ids, shown, opinion = serve(router, frame, user, moment, made)
            serving += time.perf_counter() - started
            true = sigmoid(world.logit(frame))
            click = rng.random(len(shown)) < true[shown]
            clicked += [name for name, c in zip(ids, click, strict=True) if c]
            moments.append(moment[click])
            opinions.update(zip(ids, opinion.tolist(), strict=True))
            chosen = {name: best_of(box.probabilities(frame)) for name, box in boxes.items()}
            for name, rows in chosen.items():
                truth[name] += float(true[rows].sum())
            other += int((chosen["base"] != chosen["crosses"]).sum())
            made += len(user)
        fallbacks, dropped = router.status["crosses"].fallbacks, router.dropped
    served = time.perf_counter()
    table = pa.table({"impression": clicked, "timestamp": pa.array(np.concatenate(moments))})
    parquet.write_table(table, folder / "clicks.parquet")
    analysis = analyze(DESIGN, folder / "exposures", folder / "clicks.parquet")
    print(f"seed {seed}: served {serving:.0f} s of {served - trained:.0f} s; {analysis.decision}", flush=True)
    lift = truth["crosses"] / truth["base"] - 1
    events = read_exposures(folder / "exposures")
    shown_covariate = pa.array([opinions[name] for name in events["impression"].to_pylist()])
    events = events.set_column(events.schema.get_field_index("covariate"), "covariate", shown_covariate)
    wrong = analyze(DESIGN, events, folder / "clicks.parquet", sequential=False)
    return {
        "seed": seed,
        "impressions": made,
        "logged": len(events),
        "users": sum(analysis.units.values()),
        "clicks": len(clicked),
        **known,
        "true_ctr": {name: total / made for name, total in truth.items()},
        "true_lift": lift,
        "shown_otherwise": other / made,
        "effects": [_told(effect, lift) for effect in analysis.effects],
        "sequential": [_told(effect, lift) for effect in analysis.sequential],
        "shown_covariate": next(_told(e, lift) for e in wrong.effects if e.role == "primary"),
        "sample_ratio": {"pvalue": analysis.sample_ratio.pvalue, "passes": analysis.sample_ratio.passes},
        "guardrails": [_guardrail(verdict) for verdict in analysis.guardrails],
        "exclusions": sum(exclusion.rows for exclusion in analysis.exclusions),
        "fallbacks": fallbacks,
        "dropped": dropped,
        "decision": analysis.decision,
        "reasons": list(analysis.reasons),
        "seconds": {
            "models": trained - began,
            "router": serving,
            "serving and truth": served - trained,
            "analysis": time.perf_counter() - served,
        },
    }


def _told(effect: Effect, lift: float) -> dict[str, Any]:
    """Return an effect as JSON, with whether its interval holds the true lift where it is about clicks."""
    told = {
        name: getattr(effect, name)
        for name in ("metric", "relative", "relative_low", "relative_high", "pvalue", "variance_saved")
    }
    told = {k: v if v is None or isinstance(v, str) else _number(v) for k, v in told.items()}
    if effect.metric.startswith("ctr"):
        told["holds_truth"] = bool(effect.relative_low <= lift <= effect.relative_high)
    return told


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _guardrail(verdict: Any) -> dict[str, Any]:
    effect = verdict.effect
    return {
        "metric": effect.metric,
        "base": _number(effect.control_value),
        "crosses": _number(effect.variant_value),
        "relative": [_number(x) for x in (effect.relative, effect.relative_low, effect.relative_high)],
        "status": verdict.status,
    }


def table(result: dict[str, Any]) -> str:
    """Return the runs as a table."""
    lines = [
        "| "
        + " | ".join(
            (
                *("seed", "AUC base → crosses", "shown otherwise", "true CTR base → crosses", "true lift"),
                *(
                    "estimate with covariate",
                    "without covariate",
                    "always-valid",
                    "variance saved",
                    "decision",
                ),
            )
        )
        + " |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        fixed = {effect["metric"]: effect for effect in run["effects"]}
        always = next(effect for effect in run["sequential"] if effect["metric"] == "ctr")
        lines.append(
            f"| {run['seed']} | {run['base']['auc']:.4f} → {run['crosses_scores']['auc']:.4f} "
            f"| {run['shown_otherwise']:.0%} "
            f"| {run['true_ctr']['base']:.4f} → {run['true_ctr']['crosses']:.4f} | {run['true_lift']:+.2%} "
            f"| {_interval(fixed['ctr'])} | {_interval(fixed['ctr without covariate'])} | {_interval(always)} "
            f"| {fixed['ctr']['variance_saved']:.1%} | {run['decision']} |"
        )
    return "\n".join(lines)


def trap(result: dict[str, Any]) -> str:
    """Return what the wrong covariate does, as a table."""
    lines = [
        "| seed | true lift | covariate known before | covariate of the shown ad (wrong) |",
        "|---|---|---|---|",
    ]
    for run in result["runs"]:
        right = next(effect for effect in run["effects"] if effect["metric"] == "ctr")
        lines.append(
            f"| {run['seed']} | {run['true_lift']:+.2%} | {_interval(right)} | {_interval(run['shown_covariate'])} |"
        )
    return "\n".join(lines)


def _interval(effect: dict[str, Any]) -> str:
    missed = "" if effect["holds_truth"] else ", misses the truth"
    return (
        f"{effect['relative']:+.2%} ({effect['relative_low']:+.2%} to {effect['relative_high']:+.2%}{missed})"
    )


def main() -> None:
    """Run all seeds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--impressions", type=int, default=500_000)
    parser.add_argument("--name", default="ab_end_to_end")
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            runs.append(one_run(seed, options.impressions, Path(folder)))
        write(
            options.name,
            {
                "design": DESIGN.to_dict(),
                "settings": {
                    "candidates": CANDIDATES,
                    "requests_in_a_call": REQUESTS,
                    "training_rows": TRAINING_ROWS,
                },
                "runs": runs,
            },
        )
    print(table({"runs": runs}))
    print(trap({"runs": runs}))


if __name__ == "__main__":
    main()
