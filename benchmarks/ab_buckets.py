"""Buckets of the A/B tests: are they balanced, does one seed know of another, and how fast are they?

Honest dice give p-values that are uniform: 5 % below 0.05 and 0.1 % below 0.001. That is tested over 1,000 seeds, pairs of
seeds, and namespaces, on ids as they come: running numbers, with a prefix, hexadecimal, and unicode. Namespaces of hash
version 1, which are GrowthBook's, do not stand the test: the last letters of a name do little to that hash.

Run: python -m benchmarks.ab_buckets
"""

from __future__ import annotations

import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from growthbook.core import gbhash
from scipy import stats

from benchmarks.common import write
from nid_plugins.experiment import Design, Namespace, Variant, assign, bucket
from nid_plugins.experiment.hashing import in_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

SEEDS = 1_000
UNITS = 20_000
VARIANTS = (Variant("control", 0.5), Variant("a", 0.3), Variant("b", 0.2))


def kinds(n: int) -> dict[str, Any]:
    """Return ids of several kinds, n of each."""
    return {
        "running numbers": np.arange(n),
        "user-1, user-2, ...": [f"user-{i}" for i in range(n)],
        "hexadecimal digests": [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(n)],
        "unicode": [f"用户😀{i}é" for i in range(n)],
    }


def judged(pvalues: Sequence[float]) -> dict[str, float]:
    """Return how p-values compare with uniform ones."""
    p = np.asarray(pvalues)
    result = {"tests": len(p), "ks_pvalue": float(stats.kstest(p, "uniform").pvalue)}
    for alpha in (0.05, 0.001):
        hits = int((p < alpha).sum())
        result[f"share_below_{alpha}"] = hits / len(p)
        # Whether so many, or as unlikely a number, come from honest dice.
        result[f"pvalue_of_share_{alpha}"] = float(stats.binomtest(hits, len(p), alpha).pvalue)
    return result


def independence(a: npt.NDArray[Any], b: npt.NDArray[Any], shape: tuple[int, int]) -> float:
    """Return the p-value of independence of two assignments."""
    table = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def measure_balance() -> dict[str, Any]:
    """Test balance and independence for each kind of ids."""
    results: dict[str, Any] = {}
    for kind, ids in kinds(UNITS).items():
        designs = [Design(f"experiment-{seed}", variants=VARIANTS) for seed in range(SEEDS)]
        found = [assign(design, ids) for design in designs]
        expected = np.array(designs[0].shares) * UNITS
        results[kind] = {
            "variants: balance": judged(
                [stats.chisquare(np.bincount(one, minlength=3), expected).pvalue for one in found]
            ),
            "variants: one seed and the next": judged(
                [independence(found[s], found[(s + 1) % SEEDS], (3, 3)) for s in range(SEEDS)]
            ),
        }
        for version in (1, 2):
            spaces = [
                in_namespace(ids, Namespace(f"space-{s}", 0.2, 0.7, version)).astype(int)
                for s in range(SEEDS)
            ]
            name = f"namespace, hash version {version}"
            results[kind] |= {
                f"{name}: share": judged(
                    [stats.chisquare(np.bincount(one, minlength=2), [UNITS / 2] * 2).pvalue for one in spaces]
                ),
                f"{name}: and variants": judged(
                    [independence(spaces[s], found[s], (2, 3)) for s in range(SEEDS)]
                ),
                f"{name}: one and the next": judged(
                    [independence(spaces[s], spaces[(s + 1) % SEEDS], (2, 2)) for s in range(SEEDS)]
                ),
            }
    return results


def measure_fine_balance() -> dict[str, Any]:
    """Test whether all 10,000 buckets are hit alike, on a million running numbers, over 100 seeds."""
    ids = np.arange(1_000_000)
    pvalues = []
    for seed in range(100):
        steps = np.round(bucket(ids, f"experiment-{seed}") * 10_000).astype(int)
        pvalues.append(float(stats.chisquare(np.bincount(steps, minlength=10_000)).pvalue))
    return {"units": len(ids), "seeds": 100, "ks_pvalue": float(stats.kstest(pvalues, "uniform").pvalue)}


def seconds(task: Callable[[], object]) -> float:
    """Return the time of a task."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def measure_speed(n: int = 100_000, repeats: int = 7) -> dict[str, Any]:
    """Time :func:`bucket` beside a loop over the kit's hash, turn about."""
    results = {}
    for kind, ids in kinds(n).items():
        texts = [str(one) for one in ids]
        pairs = []
        for _ in range(repeats):
            ours = seconds(lambda ids=ids: bucket(ids, "experiment-1"))  # type: ignore[misc]
            kit = seconds(lambda texts=texts: [gbhash("experiment-1", one, 2) for one in texts])  # type: ignore[misc]
            pairs.append((ours, kit))
        results[kind] = {
            "ids_per_second": n / statistics.median(ours for ours, _ in pairs),
            "times_the_kit": statistics.median(kit / ours for ours, kit in pairs),
        }
    return {"ids": n, "repeats": repeats, "kinds": results}


def table(result: dict[str, Any]) -> str:
    """Return the table of balance and independence."""
    lines = [
        "| ids | what is tested | tests | p < 0.05 | p < 0.001 | uniform (p of Kolmogorov-Smirnov) |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for kind, tests in result["balance"].items():
        for what, one in tests.items():
            lines.append(
                f"| {kind} | {what} | {one['tests']:,} | {one['share_below_0.05']:.1%} | "
                f"{one['share_below_0.001']:.1%} | {_p(one['ks_pvalue'])} |"
            )
    return "\n".join(lines)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def speed(result: dict[str, Any]) -> str:
    """Return the table of speed."""
    lines = ["| ids | a second | times the kit's loop |", "|---|---:|---:|"]
    for kind, one in result["speed"]["kinds"].items():
        lines.append(f"| {kind} | {one['ids_per_second'] / 1e6:.1f} million | {one['times_the_kit']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    result = {
        "seeds": SEEDS,
        "units": UNITS,
        "balance": measure_balance(),
        "buckets": measure_fine_balance(),
        "speed": measure_speed(),
    }
    write("ab_buckets", result)
    print(table(result))
    print(speed(result))
    print(result["buckets"])


if __name__ == "__main__":
    main()
