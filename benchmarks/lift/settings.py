"""Every setting of the benchmark: what was fixed beforehand, and what tuning chooses from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from benchmarks.common import RESULTS
from benchmarks.lift.models import Shape
from benchmarks.lift.training import Fit

ARMS = ("base", "glider", "detected", "random", "frequent", "wide")


@dataclass(frozen=True)
class Recipe:
    """A base model's shape and how it is fitted."""

    shape: Shape
    fit: Fit

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe JSON-ready."""
        return {"shape": asdict(self.shape), "fit": asdict(self.fit)}


@dataclass(frozen=True)
class Settings:
    """Detection, selection and injection on one data set; the same for every target and every arm with crosses.

    Attributes:
        crosses: K, the crosses of each arm.
        min_count: A combination is kept when it occurs more often in the training rows.
        order: Largest set of fields.
        source: Model that is asked for its interactions, one of our own training.
        detector: Of :func:`nid_plugins.detect`, like the next five.
        baseline: What an off field holds.
        instances: Rows explained.
        perturbations: Masks an instance.
        top_k: Candidates kept from the report.
        prune: How the report is pruned.
        folds: Of the training rows that crosses are picked on.
        penalty_fields: In picking, on half the square of a field's offsets.
        penalty_crosses: The same for crosses.
        dropout: Of injected embeddings.
        rate_cross: Learning rate of injected crosses.
        decay_cross: L2 of injected crosses.
    """

    crosses: int
    min_count: int
    order: int = 3
    source: str = "DeepFM"
    detector: str = "least_squares"
    baseline: str = "mode"
    instances: int = 300
    perturbations: int = 1000
    top_k: int = 100
    prune: Literal["gain", "paper", "none"] = "none"
    folds: int = 3
    penalty_fields: float = 0.5
    penalty_crosses: float = 3.0
    dropout: float = 0.0
    rate_cross: float = 0.1
    decay_cross: float = 1e-4


SETTINGS = {
    "amazon": Settings(crosses=8, min_count=1),
    "criteo": Settings(
        crosses=15,
        min_count=10,
        order=2,
        perturbations=3000,
        instances=300,
        folds=5,
        penalty_fields=10.0,
        penalty_crosses=20.0,
        rate_cross=0.01,
        decay_cross=1e-3,
    ),
}


def _amazon(
    hidden: tuple[int, ...],
    dropout: float,
    rate: float,
    rate_linear: float,
    decay: float,
    decay_linear: float,
    decay_dense: float,
) -> Recipe:
    fit = Fit("adagrad", rate, rate_linear, decay, decay_linear, decay_dense)
    return Recipe(Shape(8, hidden, dropout, 1e-4), fit)


def _criteo(rate: float, decay: float, decay_linear: float, decay_dense: float) -> Recipe:
    fit = Fit(
        "adagrad",
        rate=rate,
        rate_linear=4 * rate,
        decay=decay,
        decay_linear=decay_linear,
        decay_dense=decay_dense,
        batch=2048,
    )
    return Recipe(Shape(8, (64,), 0.3, 1e-2), fit)


SHORTLIST = {
    "amazon": [
        _amazon((32,), 0.7, 0.1, 0.4, 1e-4, 2e-5, 1e-2),
        _amazon((64, 32), 0.5, 0.1, 0.4, 1e-4, 2e-5, 1e-2),
        _amazon((32,), 0.3, 0.02, 0.2, 1e-3, 1e-5, 0.0),
        _amazon((32,), 0.3, 0.02, 0.08, 1e-3, 1e-6, 0.0),
    ],
    "criteo": [
        _criteo(0.02, 3e-3, 1e-4, 1e-3),
        _criteo(0.03, 3e-3, 1e-4, 1e-3),
        _criteo(0.02, 1e-3, 1e-4, 3e-3),
    ],
}
"""Recipes tuning chooses from, by data set. What a wider search on validation rows left over."""

TUNING = RESULTS / "lift_tuning.json"


@lru_cache(maxsize=1)
def _choices() -> dict[str, int]:
    choices: dict[str, int] = json.loads(TUNING.read_text("utf-8"))["choices"]
    return choices


def recipe_of(name: str, target: str) -> Recipe:
    """Return the recipe that tuning chose for a target, or for DeepFM where the target is too slow to be tuned.

    On 39 fields xDeepFM takes smaller batches: its interaction network then stays in the processor's cache and takes
    less than half the time.
    """
    choices = _choices()
    recipe = SHORTLIST[name][choices.get(f"{name}/{target}", choices[f"{name}/DeepFM"])]
    if (name, target) == ("criteo", "xDeepFM"):
        return replace(recipe, fit=replace(recipe.fit, batch=256))
    return recipe
