"""The arms of an experiment, and the slice of traffic it may use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nid_plugins.errors import SettingError
from nid_plugins.experiment import checks

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKETS = 10_000
"""Steps of :func:`nid_plugins.experiment.bucket`: hash version 2 returns multiples of 1e-4."""


@dataclass(frozen=True)
class Variant:
    """One arm: a share of the units, and the model that answers them.

    Args:
        name: How exposures and results call it.
        weight: Its share of the units in the experiment, in (0, 1].
        model: Where its model comes from, for people and for ``nid ab``: ``package.module:factory``, or the path of a
            saved one. May be empty: the router is given models as objects.

    Raises:
        SettingError: The name is not text, or the weight is not such a share.
    """

    name: str
    weight: float
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checks.text(self.name, "name", "the name of a variant"))
        weight = checks.number(
            self.weight,
            "weight",
            f"the share of variant {self.name!r}, above 0 and at most 1",
            low=0.0,
            high=1.0,
            high_in=True,
        )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "model", checks.text(self.model, "model", "the model's place", empty=True))


@dataclass(frozen=True)
class Namespace:
    """A slice of a traffic that several experiments share, so that no unit is in two of them.

    Experiments with the same namespace name and slices that do not overlap exclude each other. GrowthBook's own namespaces
    use its hash version 1, which has 1,000 steps and a fault: who is in one namespace depends on who is in another whose name
    looks alike (``benchmarks/ab_buckets.py`` shows it). Version 2 has 10,000 steps and not that fault; GrowthBook calls it a
    filter. All experiments of a namespace must use the same version.

    Args:
        name: What the experiments share.
        start: First step of the slice, in [0, 1).
        stop: End of the slice, itself left out, in (start, 1].
        hash_version: 1, as GrowthBook's namespaces, or 2.

    Raises:
        SettingError: The slice is empty or not within [0, 1], or there is no such version.
    """

    name: str
    start: float
    stop: float
    hash_version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checks.text(self.name, "name", "the name of a namespace"))
        start = checks.number(
            self.start, "start", "a share from 0 to below 1", low=0.0, high=1.0, low_in=True
        )
        stop = checks.number(
            self.stop, "stop", "a share above start, at most 1", low=start, high=1.0, high_in=True
        )
        version = checks.whole(self.hash_version, "hash_version", "1, or 2", low=1)
        if version > 2:
            raise SettingError(
                "no such hash version", field="hash_version", received=version, expected="1, or 2"
            )
        object.__setattr__(self, "hash_version", version)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)
        if not self.share:
            raise SettingError(
                "no unit is in so thin a slice",
                field="stop",
                received=f"[{start}, {stop})",
                expected=f"at least {1 / self._steps:g} wide",
                hint=f"Membership of a namespace has {self._steps:,} steps",
            )

    @property
    def _steps(self) -> int:
        return 1_000 if self.hash_version == 1 else BUCKETS

    @property
    def share(self) -> float:
        """Exact share of the namespace's steps that are in the slice."""
        return sum(self.start <= step / self._steps < self.stop for step in range(self._steps)) / self._steps


def check_weights(variants: Sequence[Variant]) -> None:
    """Check that there are variants enough and that their shares fill the whole, no more and no less.

    Raises:
        SettingError: Fewer than two, two of one name, or weights whose sum is not 1.
    """
    if len(variants) < 2:
        raise SettingError(
            "an experiment compares",
            field="variants",
            received=f"{len(variants)} variant(s)",
            expected="a control and at least one treatment",
        )
    checks.unique([variant.name for variant in variants], "variants", "variants")
    total = math.fsum(variant.weight for variant in variants)
    if abs(total - 1.0) > 1e-9:
        raise SettingError(
            "the variants overlap" if total > 1.0 else "the variants leave units over",
            field="variants",
            received=f"weights {', '.join(f'{v.name}={v.weight:g}' for v in variants)}, which sum to {total:.12g}",
            expected="weights that sum to 1",
            hint="Weights are shares of the units in the experiment; leave units out of it with coverage",
        )


def ranges_of(weights: Sequence[float], coverage: float) -> list[tuple[float, float]]:
    """Return the half-open range of buckets of each variant, as GrowthBook lays them out.

    Each variant starts where the weights before it end, and fills the first ``coverage`` of its place: raising the
    coverage moves no unit from one variant to another.
    """
    ranges = []
    cumulative = 0.0
    for weight in weights:
        start = cumulative
        cumulative += weight  # in this order: other roundings move boundaries by a bucket
        ranges.append((start, start + coverage * weight))
    return ranges


def steps_of(weights: Sequence[float], coverage: float) -> tuple[int, ...]:
    """Return how many of the 10,000 buckets each variant has: the exact shares a sample ratio is tested against."""
    ranges = ranges_of(weights, coverage)
    return tuple(
        sum(start <= step / BUCKETS < stop for step in _nearby(start, stop)) for start, stop in ranges
    )


def _nearby(start: float, stop: float) -> range:
    # A few steps more than the range can hold; which are in it is decided by the same comparison as for a unit.
    return range(max(0, int(start * BUCKETS) - 2), min(BUCKETS, int(stop * BUCKETS) + 3))
