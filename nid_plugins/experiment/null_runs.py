"""A/A simulation: the design's tests on real logs without any effect, thousands of times.

What a test promises rests on assumptions about the data: units alike enough, tails light enough, a hash that splits evenly.
Here the user's own units are put into variants again and again, by the real assignment with a fresh seed each time, so that
nothing differs between the variants but chance, and it is counted how often a test finds something.

Per-unit sums are taken once, where the log is. A run then only adds up sums by variant and look, for many runs at a time as
one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError, SettingError
from nid_plugins.experiment import checks, sequential
from nid_plugins.experiment.analysis import need_tea_tasting, primary_sums
from nid_plugins.experiment.design import Design
from nid_plugins.experiment.effects import planned_units
from nid_plugins.experiment.moments import Arm, Comparison, Floats, compare, welch_pvalue
from nid_plugins.experiment.results import AAResult, ErrorRate
from nid_plugins.experiment.sample_ratio import ALPHA, pvalue_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nid_plugins.experiment.units import Units

BATCH = 64
"""Runs added up at a time: a matrix of so many rows and one column a unit."""
SURE = 0.001
"""Level at which a rate is said to be off."""


def aa(
    design: Design,
    logs: Any,
    clicks: Any = None,
    *,
    units: Any = None,
    runs: int = 2000,
    looks: int = 100,
    seed: int = 0,
    effect: float = 0.0,
) -> AAResult:
    """Test the design's tests on logs without an effect.

    Units come in order of their first impression where there are times, else in random order; a look is taken after every
    ``1 / looks`` of them. With several treatments a run counts when any of them is found, after the design's correction.
    Window, coverage and namespace of the design are left aside: all units of the logs are used. Variants in the logs are too.

    Args:
        design: What will be tested; its primary metric is looked at.
        logs: Past impressions, as :func:`nid_plugins.experiment.analyze` takes exposures; no variants are needed.
        clicks: Past clicks, where the logs do not have them as a column.
        units: Covariates by unit.
        runs: Simulated experiments.
        looks: Looks a run, for the sequential test and for the fixed test with peeking.
        seed: Makes runs repeatable: it is a part of the seeds of the assignment.
        effect: Relative effect put into every treatment, whose units' numerators are multiplied by one plus it; the rates are
            then the power of the tests. 0 for an A/A test.

    Raises:
        FrameError: The logs cannot be read, or have fewer units than 20 a variant.
        SettingError: An option is out of its domain.
        MissingExtraError: The extra ``ab`` is not installed.
    """
    checks.instance(design, "design", Design)
    runs = checks.whole(runs, "runs", "simulated experiments, at least 1", low=1)
    looks = checks.whole(looks, "looks", "looks a run, at least 1", low=1)
    seed = checks.whole(seed, "seed", "an integer from 0", low=0)
    effect = checks.number(effect, "effect", "a relative change above -1", low=-1.0)
    need_tea_tasting()
    log = primary_sums(design, logs, clicks, units)
    if len(log.units) < 20 * len(design.variants):
        raise FrameError(
            "too few units for A/A runs",
            received=f"{len(log.units)} units",
            expected=f"at least {20 * len(design.variants)}",
            hint="Give a longer log",
        )
    if log.arrival is None:
        order = np.random.default_rng(seed).permutation(len(log.units))
    else:
        order = np.argsort(log.arrival, kind="stable")
    blocks = Blocks.of(log.columns[order], min(looks, len(log.units)))
    plain = replace(design, coverage=1.0, namespace=None)
    units_of = Rebucketed(plain, _take(log.ids, order))
    tally = Tally(plain, covariate=log.covariate, effect=effect)
    for first in range(0, runs, BATCH):
        seeds = [f"{design.seed}/aa/{seed}/{run}" for run in range(first, min(runs, first + BATCH))]
        tally.add(blocks, np.stack([units_of.variants(s) for s in seeds]))
    return tally.result(design, len(log.units), log.impressions, looks=blocks.looks)


class Rebucketed:
    """Ids put into variants again and again, as :func:`nid_plugins.experiment.assign` does with another seed each time.

    Coverage and namespace are taken as whole: every unit gets a variant.

    Args:
        design: Gives the weights.
        ids: The ids, read.
    """

    def __init__(self, design: Design, ids: Units) -> None:
        from nid_plugins.experiment.rehashing import Repeated
        from nid_plugins.experiment.variants import ranges_of

        # The last range ends at 1 but for rounding, and no bucket is as high as that.
        self._starts = [start for start, _ in ranges_of(design.weights, 1.0)]
        self._hash = Repeated(ids)

    def variants(self, seed: str) -> npt.NDArray[np.int32]:
        """Return the variant of each unit under a seed, shape (n,)."""
        return (np.searchsorted(self._starts, self._hash.buckets(seed), side="right") - 1).astype(np.int32)


def _take(ids: Units, order: npt.NDArray[np.int64]) -> Units:
    return [ids[i] for i in order] if isinstance(ids, list) else ids[order]


@dataclass(frozen=True)
class Blocks:
    """Per-unit sums in blocks, one block a look, ready to be added up.

    Args:
        features: Ones, columns less their means, and the products of these, shape (looks, units a block, 1 + m + m(m+1)/2);
            filled up with zeros.
        shift: What was taken off each column, shape (m,).
        units: Number of units.
    """

    features: Floats
    shift: Floats
    units: int

    @classmethod
    def of(cls, columns: Floats, looks: int) -> Blocks:
        """Return the blocks of units in the order of their arrival.

        Args:
            columns: Per-unit sums, shape (n, m).
            looks: Number of blocks.
        """
        n, m = columns.shape
        shift = columns.mean(axis=0)
        x = columns - shift
        products = [x[:, i] * x[:, j] for i in range(m) for j in range(i, m)]
        flat = np.column_stack([np.ones(n), x, *products])
        size = -(-n // looks)
        padded = np.zeros((looks * size, flat.shape[1]))
        padded[_places(n, looks, size)] = flat
        return cls(padded.reshape(looks, size, -1), shift, n)

    @property
    def looks(self) -> int:
        """Number of blocks."""
        return len(self.features)

    def arms(self, variants: npt.NDArray[np.int32], count: int) -> list[Arm]:
        """Return the moments of each variant at each look.

        Args:
            variants: Variant of each unit in each run, shape (runs, units); none is outside.
            count: Number of variants.

        Returns:
            One :class:`Arm` a variant, with moments of shape (looks, runs).
        """
        looks, size, width = self.features.shape
        places = _places(self.units, looks, size)
        m = len(self.shift)
        upper = np.triu_indices(m)
        whole = np.cumsum(self.features.sum(axis=1), axis=0)[:, None, :]
        parts: list[Floats] = []
        for index in range(1, count):
            inside = np.zeros((len(variants), looks * size))
            inside[:, places] = variants == index
            blocks = inside.reshape(len(variants), looks, size).transpose(1, 0, 2)
            parts.append(np.cumsum(blocks @ self.features, axis=0).reshape(looks, len(variants), width))
        control = whole - sum(parts)  # every unit has a variant
        arms = []
        for sums in (control, *parts):
            products = np.empty((looks, len(variants), m, m))
            products[..., upper[0], upper[1]] = sums[..., 1 + m :]
            products[..., upper[1], upper[0]] = sums[..., 1 + m :]
            arms.append(Arm.from_sums(sums[..., 0], sums[..., 1 : 1 + m], products, self.shift))
        return arms


def _places(n: int, looks: int, size: int) -> npt.NDArray[np.int64]:
    """Return where each unit is in the padded blocks, so that blocks differ by one unit at most."""
    ends = np.arange(1, looks + 1) * n // looks
    block = np.searchsorted(ends, np.arange(n), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    places: npt.NDArray[np.int64] = block * size + np.arange(n) - starts[block]
    return places


class Tally:
    """Counts, over runs, how often each test finds an effect.

    Args:
        design: The plan, with all units in it.
        covariate: Whether the columns have a covariate.
        effect: Relative effect of the treatments.
    """

    def __init__(self, design: Design, *, covariate: bool, effect: float = 0.0) -> None:
        self.design = design
        self.effect = effect
        self.covariate = covariate
        self.runs = self.fixed = self.peeking = self.sequential = self.alarms = 0
        self.saved: list[float] = []
        family = len(design.treatments)
        self.alpha = design.alpha if design.correction == "none" else design.alpha / family

    def add(self, blocks: Blocks, variants: npt.NDArray[np.int32]) -> None:
        """Add runs, given the variant of each unit in each, shape (runs, units)."""
        control, *treatments = blocks.arms(variants, len(self.design.variants))
        # Rejections of any hypothesis after Holm's or Bonferroni's correction, and almost always after the others, are
        # those of the smallest p-value at alpha / m.
        shape = control.count.shape
        fixed, always = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for variant, treatment in zip(self.design.treatments, treatments, strict=True):
            found = compare(control, treatment.scaled(1.0 + self.effect), covariate=self.covariate)
            enough = np.minimum(control.count, treatment.count) >= sequential.MIN_UNITS
            fixed |= welch_pvalue(found) <= self.alpha
            always |= enough & (self._always_valid(found, variant.name) <= self.alpha)
            if self.covariate:
                self.saved += found.variance_saved[-1].tolist()
        self.runs += len(variants)
        self.fixed += int(fixed[-1].sum())
        self.peeking += int(fixed.any(axis=0).sum())
        self.sequential += int(always.any(axis=0).sum())
        counts = np.stack([control.count[-1], *(t.count[-1] for t in treatments)])
        self.alarms += int((pvalue_of(self.design, counts) < ALPHA).sum())

    def _always_valid(self, found: Comparison, variant: str) -> Floats:
        tau, _ = sequential.mixture(
            found.log_variance,
            found.control_count + found.treatment_count,
            found.control,
            change=self.design.mde,
            planned=planned_units(self.design, variant, covariate=self.covariate),
            alpha=self.alpha,
            power=self.design.power,
        )
        return sequential.pvalue(found.effect, found.variance, tau)

    def result(self, design: Design, units: int, impressions: int, *, looks: int) -> AAResult:
        """Return the rates with their intervals, and what they say."""
        rates = tuple(self._rates(looks))
        alpha = design.alpha
        off = (_beyond(rates[0], alpha), False, _beyond(rates[2], alpha, above=True))
        if self.effect:
            off = (False, False, False)
            reasons = [f"An effect of {self.effect:+.2%} was found {_often(rate)}." for rate in rates]
        else:
            reasons = [
                _said(rates[0], alpha, off=off[0], what="about"),
                _said(rates[2], alpha, off=off[2], what="at most"),
                f"Looking {looks} times with the fixed test, and stopping when it finds something, errs in {rates[1].rate:.1%}.",
            ]
        alarmed = _beyond(ErrorRate("", self.alarms, self.runs, 0.0, 0.0, 0.0, 1), ALPHA, above=True)
        if alarmed:
            reasons.append(
                f"The sample-ratio check failed in {self.alarms} of {self.runs} runs: the hash does not split these ids evenly."
            )
        return AAResult(
            design=design,
            metric=design.primary.name,
            alpha=alpha,
            rates=rates,
            sample_ratio_alarms=self.alarms / self.runs,
            units=units,
            impressions=impressions,
            variance_saved=float(np.mean(self.saved)) if self.saved else None,
            passes=not alarmed and not any(off),
            reasons=tuple(reasons),
            effect=self.effect,
        )

    def _rates(self, looks: int) -> Iterator[ErrorRate]:
        for test, found, often in (
            ("fixed", self.fixed, 1),
            ("fixed with peeking", self.peeking, looks),
            ("sequential", self.sequential, looks),
        ):
            yield error_rate(test, found, self.runs, often)


def error_rate(test: str, found: int, runs: int, looks: int) -> ErrorRate:
    """Return a rate with its Clopper-Pearson interval.

    Raises:
        SettingError: There were no runs.
    """
    from scipy.stats import binomtest

    if runs < 1:
        raise SettingError("a rate of no runs", field="runs", received=runs, expected="at least 1")
    interval = binomtest(found, runs).proportion_ci(0.95, method="exact")
    return ErrorRate(test, found, runs, found / runs, float(interval.low), float(interval.high), looks)


def _beyond(rate: ErrorRate, alpha: float, *, above: bool = False) -> bool:
    from scipy.stats import binomtest

    side = "greater" if above else "two-sided"
    return bool(binomtest(rate.found, rate.runs, alpha, alternative=side).pvalue < SURE)


def _often(rate: ErrorRate) -> str:
    looks = f", with {rate.looks} looks a run," if rate.looks > 1 else ""
    return (
        f"by the {rate.test} test{looks} in {rate.rate:.2%} of {rate.runs:,} runs "
        f"(95% interval {rate.low:.2%} to {rate.high:.2%})"
    )


def _said(rate: ErrorRate, alpha: float, *, off: bool, what: str) -> str:
    verdict = "which is off beyond chance" if off else "as it should be"
    return (
        f"An effect that is not there was found {_often(rate)}; {what} {alpha:.2%} was promised: {verdict}."
    )
