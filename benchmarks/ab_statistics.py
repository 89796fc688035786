"""What the statistics of A/B tests promise, and whether they keep it, by simulation.

False-positive rates of the fixed and of the sequential test (a look after every 1 % of the units) and of looking with the
fixed one; power against what the design planned; coverage of intervals; variance the covariate saves; clustered quantiles;
and when the sample-ratio check finds a 51/49 fault. Every experiment is drawn anew. The formulas over many experiments are
those of ``nid_plugins.experiment.moments`` and ``sequential``; tests assert that ``analyze`` gives the same numbers.

Run: OMP_NUM_THREADS=1 python -m benchmarks.ab_statistics [--runs 2000]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.ab_quantiles import quantile_rates
from benchmarks.ab_worlds import WORLDS, Floats, World, returning
from benchmarks.common import RESULTS, write
from nid_plugins.experiment import Design, Metric, Variant, sequential, size
from nid_plugins.experiment.moments import Arm, Comparison, compare, welch_pvalue
from nid_plugins.experiment.null_runs import error_rate
from nid_plugins.experiment.sample_ratio import ALPHA, pvalue_of

ALPHA_TEST = 0.05
LOOKS = 100
UNITS = 20_000
MDE = 0.1
RETURNING_UNITS = 4_000
PACKAGES = ("tea-tasting", "scipy")


@dataclass
class Counts:
    """Events counted over experiments."""

    runs: int = 0
    events: dict[str, int] = field(default_factory=dict)
    saved: list[float] = field(default_factory=list)

    def add(self, **events: object) -> None:
        """Count events of one experiment."""
        for name, happened in events.items():
            self.events[name] = self.events.get(name, 0) + bool(happened)

    def rates(self) -> dict[str, Any]:
        """Return each rate with its 95 % interval."""
        out: dict[str, Any] = {"runs": self.runs}
        for name, found in self.events.items():
            rate = error_rate(name, found, self.runs, 1)
            out[name] = {"rate": rate.rate, "low": rate.low, "high": rate.high}
        if self.saved:
            out["variance_saved"] = float(np.mean(self.saved))
        return out


def arms_of(columns: Floats, treated: Any, looks: int) -> tuple[Arm, Arm]:
    """Return the moments of control and treatment at each look, shapes (looks,)."""
    n, m = columns.shape
    shift = columns.mean(axis=0)
    x = columns - shift
    upper = np.triu_indices(m)
    flat = np.column_stack([np.ones(n), x, x[:, upper[0]] * x[:, upper[1]]])
    starts = np.arange(looks) * n // looks
    both = np.cumsum(np.add.reduceat(flat, starts), axis=0)
    mine = np.cumsum(np.add.reduceat(flat * treated[:, None], starts), axis=0)
    arms = []
    for sums in (both - mine, mine):
        products = np.empty((looks, m, m))
        products[:, upper[0], upper[1]] = products[:, upper[1], upper[0]] = sums[:, 1 + m :]
        arms.append(Arm.from_sums(sums[:, 0], sums[:, 1 : 1 + m], products, shift))
    return arms[0], arms[1]


def judge(found: Comparison, truth: float, lift: float, *, planned: float | None) -> dict[str, bool]:
    """Return what the tests find, and whether intervals hold the truth, given estimates at every look.

    Args:
        found: Shapes (looks,), the last one being the end.
        truth: The true difference.
        lift: The true relative effect.
        planned: Units the sequential test is tuned for; None to tune it for the design's mde.
    """
    tau, log_tau = sequential.mixture(
        found.log_variance,
        found.control_count + found.treatment_count,
        found.control,
        change=MDE,
        planned=planned,
        alpha=ALPHA_TEST,
        power=0.8,
    )
    enough = np.minimum(found.control_count, found.treatment_count) >= sequential.MIN_UNITS
    half = np.where(enough, sequential.half_width(found.variance, tau, ALPHA_TEST), np.inf)
    log_half = np.where(enough, sequential.half_width(found.log_variance, log_tau, ALPHA_TEST), np.inf)
    p = welch_pvalue(found)
    away = np.abs(found.effect - truth)
    log_away = np.abs(found.log_ratio - math.log1p(lift))
    z = norm.ppf(1 - ALPHA_TEST / 2)
    sequential_found = np.abs(found.effect) > half
    return {
        "fixed": p[-1] <= ALPHA_TEST,
        "peeking": bool((p <= ALPHA_TEST).any()),
        "sequential": bool(sequential_found.any()),
        "sequential_half_way": bool(sequential_found[: len(half) // 2].any()),
        "covers_fixed": bool(away[-1] <= z * np.sqrt(found.variance[-1])),
        "covers_fixed_relative": bool(log_away[-1] <= z * np.sqrt(found.log_variance[-1])),
        "covers_sequential": bool((away <= half).all()),
        "covers_sequential_relative": bool((~(log_away > log_half)).all()),
    }


def experiments(
    world: World, n: int, runs: int, *, lift: float, covariate: bool, planned: float | None, seed: int
) -> dict[str, Any]:
    """Return rates over simulated experiments of ``n`` units."""
    counts = Counts()
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        columns, treated = world.draw(rng, n, lift)
        control, treatment = arms_of(columns if covariate else columns[:, :2], treated, LOOKS)
        found = compare(control, treatment, covariate=covariate)
        counts.runs += 1
        counts.add(**judge(found, world.value * lift, lift, planned=planned))
        if covariate:
            counts.saved.append(float(found.variance_saved[-1]))
    return counts.rates()


def come_back(n: int, runs: int, *, lift: float, seed: int) -> dict[str, Any]:
    """Return rates where looks are at moments, and units come back between them."""
    counts = Counts()
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        treated = rng.random(n) < 0.5
        seen, hits = returning(rng, n, LOOKS, treated, lift)
        arms = []
        for arm in (~treated, treated):
            x = np.stack([hits[:, arm], seen[:, arm]], axis=2).astype(np.float64)
            there = (seen[:, arm] > 0).sum(axis=1).astype(np.float64)
            arms.append(Arm.from_sums(there, x.sum(axis=1), x.transpose(0, 2, 1) @ x, np.zeros(2)))
        counts.runs += 1
        counts.add(**judge(compare(*arms), WORLDS["heavy"].value * lift, lift, planned=None))
    return counts.rates()


def as_log(world: World, n: int, seed: int) -> pd.DataFrame:
    """Return a past log of a world, one row an impression, for sizing."""
    rng = np.random.default_rng(seed)
    columns, _ = world.draw(rng, n, share=0.0)
    counts = columns[:, 1].astype(int) if world.ratio else np.ones(n, dtype=int)
    units = np.repeat(np.arange(n), counts)
    first = np.concatenate([[True], units[1:] != units[:-1]])
    each = {name: np.where(first, columns[units, i], 0.0) for i, name in ((0, "value"), (2, "known"))}
    return pd.DataFrame({"user_id": units, **each})


def powers(world: World, runs: int, seed: int) -> dict[str, Any]:
    """Return the power at the size the design plans, without and with the covariate."""
    metric = (
        Metric("m", "ratio", numerator="value", denominator="impressions", covariate="known")
        if world.ratio
        else Metric("m", "mean", value="value", covariate="known")
    )
    design = Design("power", primary=metric, mde=MDE, alpha=ALPHA_TEST, power=0.8)
    sizing = size(design, as_log(world, 200_000, seed))
    out = {"mde": MDE, "designed": 0.8, "units": sizing.units, "units_cuped": sizing.units_cuped}
    for name, n, covariate in (("plain", sizing.units, False), ("cuped", sizing.units_cuped, True)):
        if n is None:
            raise RuntimeError("the sizing has no covariate")
        out[name] = experiments(
            world, n, runs, lift=MDE, covariate=covariate, planned=float(n), seed=seed + 1 + covariate
        )
    return out


def patience(world: World, runs: int, seed: int) -> dict[str, Any]:
    """Return how many units the sequential test takes to find the change planned for, in parts of the planned size."""
    metric = Metric("m", "ratio", numerator="value", denominator="impressions")
    planned = size(Design("power", primary=metric, mde=MDE, power=0.8), as_log(world, 200_000, seed)).units
    looks = 3 * LOOKS
    first = np.full(runs, np.inf)
    for run in range(runs):
        columns, treated = world.draw(np.random.default_rng([seed, run]), 3 * planned, MDE)
        found = compare(*arms_of(columns[:, :2], treated, looks))
        tau, _ = sequential.mixture(
            found.log_variance,
            found.control_count + found.treatment_count,
            found.control,
            change=MDE,
            planned=float(planned),
            alpha=ALPHA_TEST,
            power=0.8,
        )
        enough = np.minimum(found.control_count, found.treatment_count) >= sequential.MIN_UNITS
        hits = enough & (np.abs(found.effect) > sequential.half_width(found.variance, tau, ALPHA_TEST))
        if hits.any():
            first[run] = (np.argmax(hits) + 1) / LOOKS
    parts = {}
    for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0):
        rate = error_rate("", int((first <= factor).sum()), runs, 1)
        parts[str(factor)] = {"rate": rate.rate, "low": rate.low, "high": rate.high}
    return {
        "title": world.title,
        "units": planned,
        "runs": runs,
        "found_by": parts,
        "median": float(np.median(first)),
    }


def sample_ratios(runs: int, seed: int) -> list[dict[str, Any]]:
    """Return how often the check finds 51/49 where 50/50 was planned, and how often it cries wolf, against theory."""
    design = Design("ratio", variants=(Variant("control", 0.5), Variant("treatment", 0.5)))
    rng = np.random.default_rng(seed)
    rows = []
    for n in (10_000, 20_000, 40_000, 60_000, 80_000, 120_000):
        row: dict[str, Any] = {"units": n}
        for name, share in (("found", 0.49), ("false_alarms", 0.5)):
            treated = rng.binomial(n, share, runs).astype(np.float64)
            hits = int((pvalue_of(design, np.stack([n - treated, treated])) < ALPHA).sum())
            rate = error_rate(name, hits, runs, 1)
            row[name] = {"rate": rate.rate, "low": rate.low, "high": rate.high}
        # |treated - n/2| - 1/2 must exceed z sqrt(n)/2, where treated is normal with mean 0.49 n.
        edge = norm.ppf(1 - ALPHA / 2) * math.sqrt(n) / 2 + 0.5
        scale = math.sqrt(n * 0.49 * 0.51)
        row["theory"] = float(norm.cdf((0.01 * n - edge) / scale) + norm.cdf((-0.01 * n - edge) / scale))
        rows.append(row)
    return rows


def main() -> None:
    """Run everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument(
        "--only-sizes", action="store_true", help="power and patience; the rest stays as it is"
    )
    options = parser.parse_args()
    runs = options.runs
    started = time.perf_counter()
    if options.only_sizes:
        result = json.loads((RESULTS / "ab_statistics.json").read_text("utf-8"))
        for number, (name, world) in enumerate(WORLDS.items()):
            result["worlds"][name]["power"] = powers(world, runs, 100 * number + 50)
            print(name, f"{time.perf_counter() - started:.0f} s", flush=True)
        write("ab_statistics", {**result, "patience": patience(WORLDS["geometric"], runs, 990)})
        return
    result = {
        "settings": {"alpha": ALPHA_TEST, "looks": LOOKS, "units": UNITS, "mde": MDE, "runs": runs},
        "packages": {name: version(name) for name in PACKAGES},
    }
    worlds: dict[str, Any] = {}
    for number, (name, world) in enumerate(WORLDS.items()):
        worlds[name] = {"title": world.title}
        for lift in (0.0, MDE):
            for covariate in (False, True):
                key = f"{'null' if lift == 0 else 'lift'}_{'cuped' if covariate else 'plain'}"
                worlds[name][key] = experiments(
                    world,
                    UNITS,
                    runs,
                    lift=lift,
                    covariate=covariate,
                    planned=None,
                    seed=100 * number + 10 * covariate + int(lift > 0),
                )
                print(name, key, f"{time.perf_counter() - started:.0f} s", flush=True)
        worlds[name]["power"] = powers(world, runs, 100 * number + 50)
        print(name, "power", f"{time.perf_counter() - started:.0f} s", flush=True)
    result["worlds"] = worlds
    result["returning"] = {
        "title": "CTR, heavy-tailed visits, units coming back",
        "units": RETURNING_UNITS,
        "null_plain": come_back(RETURNING_UNITS, runs, lift=0.0, seed=900),
        "lift_plain": come_back(RETURNING_UNITS, runs, lift=MDE, seed=901),
    }
    result["quantile"] = quantile_rates(runs, seed=950)
    result["sample_ratio"] = sample_ratios(20_000, 970)
    result["patience"] = patience(WORLDS["geometric"], runs, 990)
    result["minutes"] = round((time.perf_counter() - started) / 60, 1)
    write("ab_statistics", result)


def _rate(cell: dict[str, float]) -> str:
    return f"{cell['rate']:.1%} [{cell['low']:.1%}, {cell['high']:.1%}]"


def _settings(result: dict[str, Any], columns: tuple[str, ...]) -> list[list[str]]:
    rows = []
    for world in (*result["worlds"].values(), result["returning"]):
        for kind, what in (("plain", ""), ("cuped", ", with covariate")):
            if f"null_{kind}" in world:
                cells = [
                    _rate(world[key.format(kind)][name]) for key, name in (c.split(".") for c in columns)
                ]
                rows.append([world["title"] + what, *cells])
    return rows


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(result: dict[str, Any]) -> str:
    """Return the false-positive rates of the tests, with their 95 % intervals."""
    columns = ("null_{}.fixed", "null_{}.sequential", "null_{}.peeking")
    head = ["no effect", "fixed test", "sequential test, 100 looks", "fixed test, 100 looks"]
    return _table(head, _settings(result, columns))


def coverage(result: dict[str, Any]) -> str:
    """Return how often intervals hold the true effect of +10 %; sequential ones at all looks at once."""
    columns = tuple(
        f"lift_{{}}.covers_{name}"
        for name in ("fixed", "fixed_relative", "sequential", "sequential_relative")
    )
    head = ["effect +10 %", "absolute", "relative", "sequential, absolute", "sequential, relative"]
    return _table(head, _settings(result, columns))


def power(result: dict[str, Any]) -> str:
    """Return the power at the size the design planned, and what the covariate saves."""
    rows = []
    for world in result["worlds"].values():
        found = world["power"]
        for kind, units, what in (("plain", "units", ""), ("cuped", "units_cuped", ", with covariate")):
            saved = found[kind].get("variance_saved")
            cells = [f"{found[units]:,}", _rate(found[kind]["fixed"]), _rate(found[kind]["sequential"])]
            rows.append([world["title"] + what, *cells, "" if saved is None else f"{saved:.1%}"])
    designed = next(iter(result["worlds"].values()))["power"]["designed"]
    head = [
        f"effect +10 %, power {designed:.0%} designed",
        *("units", "fixed test", "sequential test", "variance saved"),
    ]
    return _table(head, rows)


def patience_table(result: dict[str, Any]) -> str:
    """Return by when the sequential test has found the effect the size was planned for."""
    found = result["patience"]
    head = [f"{found['title']}, effect +10 %", *(f"{float(f):.0%} of the units" for f in found["found_by"])]
    return _table(head, [["found by then", *(_rate(cell) for cell in found["found_by"].values())]])


def sample_ratio(result: dict[str, Any]) -> str:
    """Return how often the sample-ratio check finds 51/49, against theory."""
    rows = [
        [
            f"{row['units']:,}",
            _rate(row["found"]),
            f"{row['theory']:.1%}",
            f"{row['false_alarms']['rate']:.2%} [{row['false_alarms']['low']:.2%}, {row['false_alarms']['high']:.2%}]",
        ]
        for row in result["sample_ratio"]
    ]
    return _table(["units", "51/49 found", "in theory", "false alarms at 50/50"], rows)


def quantile(result: dict[str, Any]) -> str:
    """Return the error rates of intervals of a latency's p95, with units as clusters and with rows as independent."""
    found = result["quantile"]
    rows = [
        [title, _rate(found[kind]["false_positives"]), _rate(found[kind]["coverage"])]
        for kind, title in (("clustered", "units as clusters"), ("rows", "rows as independent"))
    ]
    return _table(["latency p95", "false positives", "coverage at +5 %"], rows)


if __name__ == "__main__":
    main()
