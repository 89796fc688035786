"""What a detector is: masks in, logits in, ranked interactions out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nid_plugins.configurable import Configurable
from nid_plugins.detection.masks import Floats, Masks, random_masks
from nid_plugins.errors import PluginError

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


class Detector(Configurable, ABC):
    """Finds the interactions of many instances from one set of masks they share.

    Subclasses register an instance in the hook ``nid_register_detectors``. A detector that takes options is a frozen
    dataclass; ``configured`` then returns a copy with other options.

    Attributes:
        name: What users write in ``detector=``.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "detector"

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


def checked(name: str, found: Explanation, unswitched: npt.NDArray[np.bool_]) -> Explanation:
    """Check what a detector found and drop the sets that cannot interact.

    Args:
        name: The detector's.
        found: What it returned for one instance.
        unswitched: Fields that hold their off value, shape (p,): sets with one of them are noise.

    Raises:
        PluginError: It breaks the contract.
    """
    p = len(unswitched)
    sets = [tuple(members) for members in found.sets]
    if not set(map(type, chain.from_iterable(sets))) <= {int}:
        sets = [tuple(map(int, members)) for members in sets]
    strengths = np.asarray(found.strengths, dtype=np.float64)
    pairs = None if found.pairs is None else np.asarray(found.pairs, dtype=np.float64)
    # All at once, end to end: there are a hundred and more an instance.
    flat = list(chain.from_iterable(sets))
    sizes = np.array([len(members) for members in sets], dtype=np.intp)
    good = (sizes >= 2).all() and min(flat, default=0) >= 0 and max(flat, default=0) < p
    if good:
        fields = np.array(flat, dtype=np.intp)
        starts = np.cumsum(sizes) - sizes
        ascending = fields[1:] > fields[:-1]
        ascending[starts[1:] - 1] = True
        good = ascending.all()
    if not good:
        raise _broken(name, "sets", sets[:5], f"sets of two or more ascending positions below {p}")
    if len(set(sets)) < len(sets):
        raise _broken(name, "sets", sets[:5], "each set once")
    if strengths.shape != (len(sets),) or not np.isfinite(strengths).all() or strengths.min(initial=0.0) < 0:
        raise _broken(name, "strengths", strengths[:5], f"{len(sets)} finite numbers, not negative")
    if pairs is not None and (pairs.shape != (p, p) or not np.isfinite(pairs).all()):
        raise _broken(name, "pair strengths", f"shape {pairs.shape}", f"finite numbers of shape ({p}, {p})")
    if unswitched.any():
        if sets:
            some = np.flatnonzero(~np.logical_or.reduceat(unswitched[fields], starts))
            sets, strengths = [sets[k] for k in some.tolist()], strengths[some]
        pairs = None if pairs is None else np.where(unswitched | unswitched[:, None], 0.0, pairs)
    return Explanation(sets, strengths, found.r2, pairs)


def _broken(name: str, what: str, received: object, expected: str) -> PluginError:
    return PluginError(
        f"the detector {name!r} returned unusable {what}", received=received, expected=expected
    )
