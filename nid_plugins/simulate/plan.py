"""What a simulated log looks like: its fields, how strong its effects are, and which sets of fields interact."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from nid_plugins.errors import SettingError

LEVELS = 5
"""A dense field acts on a planted interaction through this many equally likely levels."""


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One field of a simulated log.

    Args:
        name: Column name.
        categories: Number of categories; 0 for a dense field. Id 0 is reserved for unknown values on top of these.
        parent: Name of a field that is a function of this one (a site belongs to one publisher): the two depend on
            each other without interacting.
    """

    name: str
    categories: int = 0
    parent: str | None = None

    @property
    def levels(self) -> int:
        """Number of ids (reserved one included), or of levels of a dense field."""
        return self.categories + 1 if self.categories else LEVELS


DEFAULT_FIELDS: tuple[FieldPlan, ...] = (
    FieldPlan("device", 5),
    FieldPlan("os", 5),
    FieldPlan("banner_position", 6),
    FieldPlan("ad_format", 6),
    FieldPlan("weekday", 7),
    FieldPlan("browser", 8),
    FieldPlan("segment", 10),
    FieldPlan("category", 16),
    FieldPlan("hour", 24),
    FieldPlan("advertiser", 40),
    FieldPlan("campaign", 250, parent="advertiser"),
    FieldPlan("publisher", 60),
    FieldPlan("site", 600, parent="publisher"),
    FieldPlan("creative", 2000),
    FieldPlan("price"),
    FieldPlan("recency"),
    FieldPlan("depth"),
)


@dataclass(frozen=True, slots=True)
class Planted:
    """Fields that interact in the truth.

    Args:
        fields: Their names, in schema order.
        strength: Standard deviation over impressions of the interaction's part of the logit.
    """

    fields: tuple[str, ...]
    strength: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a simulated log.

    Args:
        fields: The fields, in schema order.
        pairs: Number of pairs of fields to plant.
        triples: Number of triples to plant.
        strength: Standard deviation of each planted pair's part of the logit.
        triple_strength: The same for triples; ``None`` for ``strength``.
        planted: The sets to plant, instead of ``pairs`` and ``triples`` drawn at random.
        rank: Traits behind the part of an interaction that generalises; see
            ``nid_plugins.simulate.effects.interaction_effect``.
        idiosyncratic: Share of a planted effect's variance that is particular to each combination, 0 .. 1.
        heredity: Share of a planted triple's low-rank variance that belongs to the pairs inside it, 0 .. 1.
        main: Standard deviation of each field's main effect.
        ctr: Click-through rate aimed at, the mean of the true probabilities.
        zipf: Exponent of the categories' frequencies: category k of a field occurs in proportion to ``k ** -zipf``.
        unknown: Share of impressions where a categorical field is unknown (id 0, without effects).
        combinations: A set is drawn for planting only if it has at most this many combinations, so that each occurs
            often enough to be learned.
        uses: Planted sets a field may belong to when they are drawn.

    Raises:
        SettingError: A setting is out of its domain, or names an unknown field.
    """

    fields: tuple[FieldPlan, ...] = DEFAULT_FIELDS
    pairs: int = 5
    triples: int = 2
    strength: float = 0.9
    triple_strength: float | None = None
    planted: tuple[tuple[str, ...], ...] | None = None
    rank: int = 1
    idiosyncratic: float = 0.25
    heredity: float = 0.5
    main: float = 0.25
    ctr: float = 0.18
    zipf: float = 0.9
    unknown: float = 0.01
    combinations: int = 250
    uses: int = 2

    def __post_init__(self) -> None:
        self._check_fields()
        self._check_numbers()
        for members in self.planted or ():
            if len(members) < 2 or len(set(members)) != len(members):
                raise SettingError(
                    "not a set of fields", received=members, expected="two or more distinct names"
                )
            for name in members:
                self.field(name)

    def _check_fields(self) -> None:
        names = [field.name for field in self.fields]
        if not names or len(set(names)) != len(names):
            raise SettingError(
                "fields need distinct names", received=names, expected="at least one, each name once"
            )
        for field in self.fields:
            if field.categories < 0:
                raise SettingError(
                    "negative number of categories", field=field.name, received=field.categories
                )
            if field.parent is None:
                continue
            parent = self.field(field.parent)
            if not 0 < parent.categories <= field.categories or parent.parent is not None:
                raise SettingError(
                    "cannot be a function of this field",
                    field=parent.name,
                    received=f"parent of {field.name!r}",
                    expected="a categorical field with no more categories and no parent of its own",
                )
        if len(self.parents) < sum(field.parent is not None for field in self.fields):
            raise SettingError("a field is the parent of two", received=sorted(self.parents))

    def _check_numbers(self) -> None:
        triple = self.strength if self.triple_strength is None else self.triple_strength
        for setting, value, low, high in (
            ("pairs", self.pairs, 0, math.inf),
            ("triples", self.triples, 0, math.inf),
            ("strength", self.strength, 0, math.inf),
            ("triple_strength", triple, 0, math.inf),
            ("main", self.main, 0, math.inf),
            ("zipf", self.zipf, 0, math.inf),
            ("rank", self.rank, 1, math.inf),
            ("idiosyncratic", self.idiosyncratic, 0, 1),
            ("heredity", self.heredity, 0, 1),
            ("ctr", self.ctr, 0.001, 0.999),
            ("unknown", self.unknown, 0, 0.999),
        ):
            if not low <= value <= high or math.isinf(value):
                expected = f"{low} or more" if math.isinf(high) else f"{low} .. {high}"
                raise SettingError(f"{setting} out of range", received=value, expected=expected)

    @property
    def parents(self) -> frozenset[str]:
        """Names of the fields that are a function of another one."""
        return frozenset(field.parent for field in self.fields if field.parent is not None)

    def field(self, name: str) -> FieldPlan:
        """Return a field by name.

        Raises:
            SettingError: There is none of this name.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise SettingError(
            "no such field", field=name, expected=f"one of {[field.name for field in self.fields]}"
        )

    def choose(self, rng: np.random.Generator) -> tuple[Planted, ...]:
        """Return the sets to plant: those asked for, or sets drawn at random.

        Fields that depend on each other are never drawn together: what their combination does could not be told
        from a main effect.

        Raises:
            SettingError: The fields do not allow that many sets.
        """
        order = {field.name: i for i, field in enumerate(self.fields)}
        triple = self.strength if self.triple_strength is None else self.triple_strength
        if self.planted is not None:
            return tuple(
                Planted(
                    tuple(sorted(members, key=order.__getitem__)),
                    triple if len(members) > 2 else self.strength,
                )
                for members in self.planted
            )
        used = dict.fromkeys(order, 0)
        chosen: list[Planted] = []
        # Triples first: few sets of three have few enough combinations.
        for size, count, strength in ((3, self.triples, triple), (2, self.pairs, self.strength)):
            candidates = [
                members for members in itertools.combinations(self.fields, size) if self._plantable(members)
            ]
            for at in rng.permutation(len(candidates)):
                names = tuple(field.name for field in candidates[at])
                if sum(len(planted.fields) == size for planted in chosen) == count:
                    break
                nested = any(set(names) <= set(planted.fields) for planted in chosen)
                if nested or any(used[name] >= self.uses for name in names):
                    continue
                chosen.append(Planted(names, strength))
                for name in names:
                    used[name] += 1
        if len(chosen) < self.pairs + self.triples:
            raise SettingError(
                "the fields do not allow that many planted sets",
                received=f"{self.pairs} pairs and {self.triples} triples, room for {len(chosen)} sets",
                hint="Plant fewer, or raise uses= or combinations=",
            )
        return tuple(
            sorted(chosen, key=lambda planted: (len(planted.fields), [order[f] for f in planted.fields]))
        )

    def _plantable(self, members: tuple[FieldPlan, ...]) -> bool:
        if int(np.prod([field.levels for field in members])) > self.combinations:
            return False
        return not any(
            a.parent == b.name or b.parent == a.name for a, b in itertools.combinations(members, 2)
        )
