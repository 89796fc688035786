"""Which variant each unit gets: the same on every machine, at every time, and in GrowthBook's kits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.experiment import checks
from nid_plugins.experiment.design import Design
from nid_plugins.experiment.hashing import buckets_of, in_namespace
from nid_plugins.experiment.units import read_units
from nid_plugins.experiment.variants import ranges_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.experiment.units import Units

OUT = -1
"""In place of a variant: the unit is not in the experiment."""


def assign(design: Design, unit_ids: Any) -> npt.NDArray[np.int32]:
    """Return the variant of each unit.

    A unit outside the namespace or the coverage is not in the experiment. The bucket of the others is looked up in the
    ranges of the variants, which contain their start and not their end.

    Args:
        design: The plan.
        unit_ids: Array, list, or pandas, Polars or Arrow column, of text or integers; an id may occur any number of times.

    Returns:
        Array of shape (n,): index into ``design.variants``, or -1 for a unit that is not in the experiment.

    Raises:
        FrameError: A null, a float, a bool, bytes or empty text among the ids; the rows are named.
        SettingError: ``design`` is none.
    """
    checks.instance(design, "design", Design)
    return assigned(design, read_units(unit_ids, design.unit))[0]


def assigned(design: Design, units: Units) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return the variant and the bucket of each of some ids that have been read, both of shape (n,)."""
    buckets = buckets_of(units, design.seed)
    variants = np.full(len(buckets), OUT, dtype=np.int32)
    for index, (start, stop) in enumerate(ranges_of(design.weights, design.coverage)):
        variants[(variants == OUT) & (buckets >= start) & (buckets < stop)] = index
    if design.namespace is not None:
        variants[~in_namespace(units, design.namespace)] = OUT
    return variants, buckets
