"""What a detector is: masks in, logits in, ranked interactions out."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from nid_plugins.detection.masks import Floats, Masks, random_masks
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

Members = tuple[int, ...]


@dataclass(slots=True)
class Explanation:
    """The interactions a detector found in one instance.

    Args:
        sets: Sets of field positions, each ascending, strongest first.
        strengths: Strength of each set, shape (len(sets),), never negative.
        r2: Held-out R^2 of the explainer the detector fitted; NaN when it fits none.
        pairs: Strength of every pair, shape (p, p), symmetric, zero diagonal; None when not computed.
    """

    sets: list[Members]
    strengths: npt.NDArray[np.float64]
    r2: float = float("nan")
    pairs: Floats | None = field(default=None, repr=False)


class Detector(ABC):
    """Finds the interactions of many instances from one set of masks they share.

    Subclasses register an instance in the hook ``nid_register_detectors``. A detector that takes options is a frozen
    dataclass; :meth:`configured` then returns a copy with other options.

    Attributes:
        name: What users write in ``detector=``.
    """

    name: ClassVar[str]

    def masks(self, fields: int, perturbations: int, rng: np.random.Generator) -> Masks:
        """Return the masks to query, shape (M, fields), the first row all on.

        The leading :meth:`random_rows` rows must be random masks.
        """
        return random_masks(fields, perturbations, rng)

    def random_rows(self, masks: Masks) -> int:
        """Return how many leading rows of the masks are random ones, on which any explainer can be fitted."""
        return len(masks)

    def prepare(self, masks: Masks) -> Any:
        """Return whatever can be computed once for all instances from the masks alone."""
        return masks

    @abstractmethod
    def fit(self, state: Any, targets: Floats, seeds: Sequence[np.random.SeedSequence]) -> list[Explanation]:
        """Find the interactions of several instances.

        Args:
            state: What :meth:`prepare` returned.
            targets: Logits, shape (B, M): instance by mask.
            seeds: One seed an instance. An instance's result must not depend on its neighbours in the batch.

        Returns:
            One explanation an instance.
        """

    def configured(self, **options: Any) -> Self:
        """Return a copy with other options.

        Raises:
            SettingError: The detector has no such option.
        """
        if not options:
            return self
        known: list[str] = (
            [f.name for f in dataclasses.fields(self)] if dataclasses.is_dataclass(self) else []
        )
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise SettingError(
                f"the detector {self.name!r} has no option {unknown[0]!r}",
                received=unknown,
                expected=f"some of {known}" if known else "no options",
            )
        return dataclasses.replace(self, **options)  # type: ignore[type-var]

    def options(self) -> dict[str, Any]:
        """Return the options in force, JSON-ready, for the report."""
        spec: dict[str, Any] = dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}
        # As they come back from JSON: a loaded report equals the one that was saved.
        return {name: list(value) if isinstance(value, tuple) else value for name, value in spec.items()}


def rounding(targets: Floats) -> Floats:
    """Return the size below which differences of logits are rounding (of a float32 model), along the last axis."""
    size: Floats = 1e-7 * np.maximum(1.0, np.abs(targets).max(axis=-1))
    return size


def rank_pairs(pairs: Floats) -> tuple[list[Members], npt.NDArray[np.float64]]:
    """Return all pairs with positive strength, strongest first, from a symmetric (p, p) matrix."""
    rows, columns = np.triu_indices(len(pairs), 1)
    values = pairs[rows, columns]
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    return [(int(rows[i]), int(columns[i])) for i in order], values[order]
