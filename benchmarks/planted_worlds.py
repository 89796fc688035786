"""Black boxes of known logits with planted interactions, for timing and for precision per instance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import nid_plugins as nid

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUES = 50


@dataclass(frozen=True)
class World:
    """A logit of p categorical fields: main effects, planted pairs and triples, and a mild tanh of the whole.

    Id 0 of every field contributes nothing, so that a field switched off to id 0 takes its terms with it.

    Args:
        seed: World's number.
        fields: Number of fields p.
        pairs: Planted pairs.
        triples: Planted triples.
        bend: Weight of the tanh, which adds small interactions everywhere.
    """

    seed: int
    fields: int = 39
    pairs: int = 8
    triples: int = 1
    bend: float = 0.2

    @property
    def names(self) -> list[str]:
        """Names of the fields."""
        return [f"f{j}" for j in range(self.fields)]

    @property
    def schema(self) -> nid.FeatureSchema:
        """The fields, 50 ids each."""
        return nid.FeatureSchema([nid.SparseField(n, VALUES, oov=0) for n in self.names])

    def planted(self) -> list[tuple[int, ...]]:
        """Return the planted sets, disjoint ones first drawn, by position."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0,)))
        sets: list[tuple[int, ...]] = []
        while len(sets) < self.triples:
            chosen = tuple(sorted(rng.choice(self.fields, 3, replace=False).tolist()))
            if chosen not in sets:
                sets.append(chosen)
        while len(sets) < self.triples + self.pairs:
            chosen = tuple(sorted(rng.choice(self.fields, 2, replace=False).tolist()))
            if not any(set(chosen) <= set(s) for s in sets):
                sets.append(chosen)
        return sets

    def relevant(self) -> set[tuple[int, ...]]:
        """Return the planted sets and the pairs inside the triples: what a detector may rightly report."""
        sets = set(self.planted())
        for members in list(sets):
            if len(members) > 2:
                sets.update(combinations(members, 2))
        return sets

    def function(self) -> Any:
        """Return the logit as a function of a dict of columns."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1,)))
        main = rng.normal(0, 0.5, (self.fields, VALUES))
        main[:, 0] = 0
        left = {
            s: [rng.uniform(0.5, 1.5, VALUES) * rng.choice([-1, 1], VALUES) for _ in s]
            for s in self.planted()
        }
        for tables in left.values():
            for table in tables:
                table[0] = 0

        def logit(columns: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
            ids = [np.asarray(columns[name]) for name in self.names]
            total = sum(main[j][ids[j]] for j in range(self.fields))
            for members, tables in left.items():
                product = tables[0][ids[members[0]]].copy()
                for table, j in zip(tables[1:], members[1:], strict=True):
                    product *= table[ids[j]]
                total = total + product
            return np.asarray(total + self.bend * np.tanh(total))

        return logit

    def rows(self, n: int) -> dict[str, npt.NDArray[np.int64]]:
        """Draw instances: every field away from id 0."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(2,)))
        return {name: rng.integers(1, VALUES, n) for name in self.names}
