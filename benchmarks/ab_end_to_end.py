"""A whole experiment on simulated users: does the analysis find the lift the injected model truly has?

Base: the DeepFM of ``nid demo`` (DeepCTR-Torch), trained on 64,000 simulated impressions. Treatment: the same model with
the crosses it was found to need, injected and trained. Nothing of it has seen the users of the experiment.

Users come back: each has a profile (device, browser, segment, ...) and an activity of its own (lognormal). A request is a
user in a context with five candidate ads. The router asks the model of the user's variant for all five; the best one is
shown, and clicked with its *true* probability. Exposures go through a ParquetSink, clicks to a Parquet file, and
``analyze`` reads both.

The truth: both models choose for *every* request of the log, and the true click probabilities of what they choose are
averaged. The covariate (CUPAC) is the mean of the base's predictions over the candidates of the user: it is the same
whichever model chooses. The base's prediction of the *shown* ad is not: ``wrong_covariate`` is what adjusting for it does
when it is forced, and whether ``analyze`` notices.

``again``: the same requests with users put into variants by other hash seeds and clicks drawn anew, 200 times: how often the
interval of the same formulas holds the true lift.

Run: python -m benchmarks.ab_end_to_end [--seeds 3] [--impressions 500000]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dataclasses
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
from benchmarks.ab_traffic import CANDIDATES, REQUESTS, TRAINING_ROWS, Traffic, best_of
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
    assign,
    read_exposures,
)
from nid_plugins.experiment.moments import Arm, compare
from nid_plugins.metrics import sigmoid
from nid_plugins.readers import split_by_order
from nid_plugins.simulate import World

if TYPE_CHECKING:
    from nid_plugins.experiment.results import Effect

DESIGN = Design(
    "deepfm-crosses",
    variants=(Variant("base", 0.5), Variant("crosses", 0.5)),
    primary=Metric.ctr(covariate="covariate"),
    # Latency is no guardrail here: other work on the machine decides about it.
    metrics=(Metric.ctr(name="ctr without covariate"), Metric.latency(0.95)),
    guardrails=(Guardrail(Metric.calibration(), worse="either", margin=0.05),),
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


def serve(
    router: Router, frame: dict[str, Any], user: np.ndarray, moment: np.ndarray, first: int
) -> dict[str, Any]:
    """Send requests through the router, a few at a time; return what is known of each request."""
    ids: list[str] = []
    found: dict[str, list[np.ndarray]] = {"row": [], "variant": [], "covariate": [], "opinion": []}
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
        found["row"].append(shown + part.start)
        found["variant"].append(answer.assigned[shown])
        found["covariate"].append(answer.covariate.reshape(-1, CANDIDATES).mean(axis=1))
        found["opinion"].append(answer.covariate[shown])
    return {"id": ids, **{name: np.concatenate(values) for name, values in found.items()}}


def sums(user: np.ndarray, **columns: np.ndarray) -> np.ndarray:
    """Return per-user sums of columns, one row a user that occurs."""
    found = np.stack([np.bincount(user, weights=values) for values in columns.values()], axis=1)
    return found[np.bincount(user) > 0]


def interval(columns: np.ndarray, treated: np.ndarray, *, covariate: bool) -> tuple[float, float, float]:
    """Return the relative effect and its 95 % interval from per-user sums, by the formulas of ``analyze``."""
    found = compare(Arm.of(columns[~treated]), Arm.of(columns[treated]), covariate=covariate)
    middle, half = float(found.log_ratio), 1.959964 * float(np.sqrt(found.log_variance))
    return math.expm1(middle), math.expm1(middle - half), math.expm1(middle + half)


def again(log: dict[str, np.ndarray], lift: float, seed: int, runs: int) -> dict[str, Any]:
    """Repeat the experiment on the same requests with other assignments and other clicks."""
    rng = np.random.default_rng([seed, 17])
    user = log["user"]
    present = np.flatnonzero(np.bincount(user))
    ids = [f"user-{i}" for i in present]
    side = np.zeros(present[-1] + 1, dtype=bool)
    held = {True: 0, False: 0}
    errors: dict[bool, list[float]] = {True: [], False: []}
    for run in range(runs):
        side[present] = assign(dataclasses.replace(DESIGN, seed=f"again/{seed}/{run}"), ids) == 1
        probability = np.where(side[user], log["crosses"], log["base"])
        click = (rng.random(len(user)) < probability).astype(np.float64)
        ones = np.ones(len(user))
        columns = sums(user, click=click, ones=ones, covariate=log["covariate"], again=ones)
        for covariate in (True, False):
            effect, low, high = interval(columns, side[present], covariate=covariate)
            held[covariate] += low <= lift <= high
            errors[covariate].append(effect - lift)
    return {
        "runs": runs,
        **{
            name: {
                "holds_truth": held[key],
                "bias": float(np.mean(errors[key])),
                "standard_deviation": float(np.std(errors[key])),
            }
            for name, key in (("covariate", True), ("plain", False))
        },
    }


def one_run(seed: int, impressions: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Train, serve, click, analyse."""
    began = time.perf_counter()
    world = World(seed=seed)
    boxes, known = models(world, seed)
    print(f"seed {seed}: models after {time.perf_counter() - began:.0f} s", known, flush=True)
    rng = np.random.default_rng([seed, 13])
    clicked: list[str] = []
    moments = []
    pieces: list[dict[str, np.ndarray]] = []
    other = made = 0
    trained = time.perf_counter()
    serving = 0.0
    with Router(DESIGN, boxes, sinks=[ParquetSink(folder / "exposures")], covariate=True) as router:
        for frame, user, moment in Traffic(world, impressions, seed).chunks():
            started = time.perf_counter()
            served = serve(router, frame, user, moment, made)
            serving += time.perf_counter() - started
            true = sigmoid(world.logit(frame))
            click = rng.random(len(user)) < true[served["row"]]
            clicked += [name for name, c in zip(served["id"], click, strict=True) if c]
            moments.append(moment[click])
            chosen = {name: best_of(box.probabilities(frame)) for name, box in boxes.items()}
            other += int((chosen["base"] != chosen["crosses"]).sum())
            piece = {"user": user, "click": click.astype(np.float64)}
            piece |= {name: true[rows] for name, rows in chosen.items()}
            pieces.append(piece | {name: served[name] for name in ("variant", "covariate", "opinion")})
            made += len(user)
        fallbacks, dropped = router.status["crosses"].fallbacks, router.dropped
    done = time.perf_counter()
    log = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    table = pa.table({"impression": clicked, "timestamp": pa.array(np.concatenate(moments))})
    parquet.write_table(table, folder / "clicks.parquet")
    analysis = analyze(DESIGN, folder / "exposures", folder / "clicks.parquet")
    analysed = time.perf_counter()
    print(f"seed {seed}: served {serving:.0f} s of {done - trained:.0f} s; {analysis.decision}", flush=True)
    lift = float(log["crosses"].mean() / log["base"].mean() - 1)
    repeated = again(log, lift, seed, repeats)
    return {
        "seed": seed,
        "impressions": made,
        "logged": read_exposures(folder / "exposures", ["unit"]).num_rows,
        "users": sum(analysis.units.values()),
        "clicks": len(clicked),
        **known,
        "true_ctr": {name: float(log[name].mean()) for name in boxes},
        "true_lift": lift,
        "shown_otherwise": other / made,
        "effects": [_told(effect, lift) for effect in analysis.effects],
        "sequential": [_told(effect, lift) for effect in analysis.sequential],
        "notes": list(analysis.notes),
        "wrong_covariate": _wrong(log, lift, folder),
        "again": repeated,
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
            "serving and truth": done - trained,
            "analysis": analysed - done,
            "repeats": time.perf_counter() - analysed,
        },
    }


def _wrong(log: dict[str, np.ndarray], lift: float, folder: Path) -> dict[str, Any]:
    """Return what happens with the base's prediction of the shown ad as covariate: forced, and given to ``analyze``."""
    user, ones = log["user"], np.ones(len(log["user"]))
    columns = sums(user, click=log["click"], ones=ones, covariate=log["opinion"], again=ones)
    treated = sums(user, variant=log["variant"], ones=ones)[:, 0] > 0
    effect, low, high = interval(columns, treated, covariate=True)
    events = read_exposures(folder / "exposures")
    # Events come in the order of the requests: the file of one process, and of one thread.
    column = events.schema.get_field_index("covariate")
    events = events.set_column(column, "covariate", pa.array(log["opinion"]))
    analysis = analyze(DESIGN, events, folder / "clicks.parquet", sequential=False)
    told = next(_told(e, lift) for e in analysis.effects if e.role == "primary")
    return {
        "forced": {
            "relative": effect,
            "relative_low": low,
            "relative_high": high,
            "holds_truth": bool(low <= lift <= high),
        },
        "analysed": told,
        "notes": list(analysis.notes),
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
        "| seed | true lift | covariate known before | base's prediction of the shown ad, forced | the same, in analyze() |",
        "|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        right = next(effect for effect in run["effects"] if effect["metric"] == "ctr")
        wrong = run["wrong_covariate"]
        used = "used" if wrong["analysed"]["variance_saved"] is not None else "noticed, left out"
        lines.append(
            f"| {run['seed']} | {run['true_lift']:+.2%} | {_interval(right)} | {_interval(wrong['forced'])} | {used} |"
        )
    return "\n".join(lines)


def repeats(result: dict[str, Any]) -> str:
    """Return how often the interval held the truth, as a table."""
    lines = [
        "| seed | experiments | intervals that hold the true lift, with covariate | without | bias with covariate | without |",
        "|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        more = run["again"]
        with_it, without = more["covariate"], more["plain"]
        lines.append(
            f"| {run['seed']} | {more['runs']} | {with_it['holds_truth'] / more['runs']:.1%} "
            f"| {without['holds_truth'] / more['runs']:.1%} | {with_it['bias']:+.3%} | {without['bias']:+.3%} |"
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
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--name", default="ab_end_to_end")
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", nid.NidWarning)
            runs.append(one_run(seed, options.impressions, Path(folder), options.repeats))
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
    print(repeats({"runs": runs}))


if __name__ == "__main__":
    main()
