"""The truth of a simulated log, and how impressions are drawn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import SettingError
from nid_plugins.frames import read_matrix
from nid_plugins.metrics import sigmoid
from nid_plugins.schema import DenseField, FeatureSchema, SparseField
from nid_plugins.simulate.effects import (
    Floats,
    interaction_effect,
    known_weights,
    levels_of,
    main_effect,
    zipf_frequencies,
)
from nid_plugins.simulate.log import SimulatedLog
from nid_plugins.simulate.plan import LEVELS, Plan, Planted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BLOCK = 4096
"""Rows drawn from one random stream: block b of a world is the same however the log is cut into chunks."""

_CALIBRATION_BLOCKS = 8


class World:
    """Effects drawn once from a seed; impressions drawn from them, block by block.

    The true logit of an impression is an intercept, a main effect of each field and, for each planted set, an effect of
    the combination of its members' ids (levels for a dense member). Planted effects are normal draws, centred over
    each member so that they hold no main effect, and scaled to the plan's standard deviation.

    Args:
        plan: Fields and strengths.
        seed: Same plan and seed, same world.

    Attributes:
        plan: As given.
        schema: The fields; every sparse field reserves id 0 (``oov=0``).
        planted: The sets that interact.
    """

    def __init__(self, plan: Plan | None = None, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise SettingError("seed out of range", received=repr(seed), expected="an integer from 0")
        self.plan = plan or Plan()
        self._seed = int(seed)
        rng = np.random.default_rng([self._seed, 0])
        self.planted: tuple[Planted, ...] = self.plan.choose(rng)
        self.schema = FeatureSchema(
            SparseField(field.name, field.categories + 1, oov=0)
            if field.categories
            else DenseField(field.name)
            for field in self.plan.fields
        )
        self._frequencies: dict[str, Floats] = {}
        self._parents: dict[str, npt.NDArray[np.int64]] = {}
        self._draw_frequencies(rng)
        weights = {name: known_weights(frequencies) for name, frequencies in self._frequencies.items()}
        level_weights = np.full(LEVELS, 1.0 / LEVELS)
        main = self.plan.main
        self._main = {name: main_effect(w, main, rng) for name, w in weights.items()}
        self._slopes = {field.name: float(rng.choice([-main, main])) for field in self.schema.dense}
        self._effects = [
            interaction_effect(
                [weights.get(name, level_weights) for name in one.fields],
                one.strength,
                rng,
                rank=self.plan.rank,
                idiosyncratic=self.plan.idiosyncratic,
                heredity=self.plan.heredity,
            )
            for one in self.planted
        ]
        self._intercept = 0.0
        self._intercept = self._solve_intercept()

    def _draw_frequencies(self, rng: np.random.Generator) -> None:
        for field in self.plan.fields:
            if field.categories and field.name not in self.plan.parents:
                self._frequencies[field.name] = zipf_frequencies(
                    field.categories, self.plan.zipf, self.plan.unknown, rng
                )
        for field in self.plan.fields:
            if field.parent is None:
                continue
            of = self.plan.field(field.parent).categories
            # Every id of the parent has a child; the unknown child has an unknown parent.
            extra = rng.integers(1, of + 1, size=field.categories - of)
            parents = np.zeros(field.levels, dtype=np.int64)
            parents[1:] = rng.permutation(np.concatenate([np.arange(1, of + 1), extra]))
            self._parents[field.name] = parents
            frequencies = np.bincount(parents, weights=self._frequencies[field.name])
            self._frequencies[field.parent] = frequencies.astype(np.float64)

    def _solve_intercept(self) -> float:
        logits = np.concatenate([self._block(b, stream=2).logit for b in range(_CALIBRATION_BLOCKS)])
        low, high = -60.0, 60.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if sigmoid(logits + middle).mean() < self.plan.ctr else (low, middle)
        return (low + high) / 2

    def logit(self, frame: Mapping[str, npt.NDArray[Any]]) -> Floats:
        """Return the true logit of impressions put together by hand, e.g. of candidates that share a user, shape (n,).

        Args:
            frame: Every field of the plan; ids int64 within the schema, dense values float32.

        Raises:
            FrameError: A field is missing, or an id out of range.
        """
        read_matrix(frame, self.schema)  # checks
        return self._logit({field.name: np.asarray(frame[field.name]) for field in self.plan.fields})[0]

    def _logit(self, frame: Mapping[str, npt.NDArray[Any]]) -> tuple[Floats, Floats]:
        main = np.full(len(next(iter(frame.values()))), self._intercept)
        for name, effect in self._main.items():
            main += effect[frame[name]]
        for name, slope in self._slopes.items():
            main += slope * frame[name]
        codes = {
            name: levels_of(values) if name in self._slopes else values for name, values in frame.items()
        }
        logit = main.copy()
        for one, table in zip(self.planted, self._effects, strict=True):
            logit += table[tuple(codes[name] for name in one.fields)]
        return logit, main

    def draw(self, rows: int) -> SimulatedLog:
        """Return the first ``rows`` impressions of this world.

        Raises:
            SettingError: Not a positive number of rows.
        """
        return next(self.chunks(rows, rows))

    def chunks(self, rows: int, size: int = 25 * BLOCK) -> Iterator[SimulatedLog]:
        """Yield the first ``rows`` impressions, ``size`` at a time, the same ones however they are cut.

        Raises:
            SettingError: Not a positive number of rows or size.
        """
        for name, value in (("rows", rows), ("size", size)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise SettingError(
                    f"{name} out of range", received=repr(value), expected="a positive integer"
                )
        return self._chunks(rows, size)

    def _chunks(self, rows: int, size: int) -> Iterator[SimulatedLog]:
        for start in range(0, rows, size):
            stop = min(start + size, rows)
            parts = [self._block(b) for b in range(start // BLOCK, (stop - 1) // BLOCK + 1)]
            offset = start - start // BLOCK * BLOCK
            yield _joined(parts).rows(slice(offset, offset + stop - start))

    def _block(self, block: int, stream: int = 1) -> SimulatedLog:
        rng = np.random.default_rng([self._seed, stream, block])
        drawn: dict[str, npt.NDArray[Any]] = {}
        for field in self.plan.fields:
            if not field.categories:
                drawn[field.name] = rng.standard_normal(BLOCK).astype(np.float32)
            elif field.name not in self.plan.parents:
                cumulative = np.cumsum(self._frequencies[field.name])
                ids = np.searchsorted(cumulative, rng.random(BLOCK) * cumulative[-1], side="right")
                drawn[field.name] = np.minimum(ids, field.categories).astype(np.int64)
        for field in self.plan.fields:
            if field.parent is not None:
                drawn[field.parent] = self._parents[field.name][drawn[field.name]]
        frame = {field.name: drawn[field.name] for field in self.plan.fields}
        logit, main = self._logit(frame)
        label = (rng.random(BLOCK) < sigmoid(logit)).astype(np.int64)
        return SimulatedLog(frame, label, logit, main, self.schema, self.planted)


def _joined(parts: list[SimulatedLog]) -> SimulatedLog:
    first = parts[0]
    if len(parts) == 1:
        return first
    return SimulatedLog(
        {name: np.concatenate([part.frame[name] for part in parts]) for name in first.frame},
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.logit for part in parts]),
        np.concatenate([part.main_logit for part in parts]),
        first.schema,
        first.planted,
    )


def simulate(rows: int = 80_000, *, seed: int = 0, **settings: Any) -> SimulatedLog:
    """Return a simulated log; the same rows, seed and settings always give the same log.

    Args:
        rows: Number of impressions. A longer log starts with the shorter one.
        seed: Decides the planted sets, all effects and the impressions.
        **settings: See :class:`~nid_plugins.simulate.Plan`.

    Raises:
        SettingError: A setting is unknown or out of its domain.
    """
    unknown = sorted(set(settings) - set(Plan.__dataclass_fields__))
    if unknown:
        raise SettingError(
            "unknown setting", received=unknown, expected=f"some of {sorted(Plan.__dataclass_fields__)}"
        )
    return World(Plan(**settings), seed).draw(rows)
