"""What the suite asks of a detector's author: attributes to be filled in by a subclass."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class DetectorCase:
    """One detector. Subclass it through :class:`~nid_plugins.testing.DetectorConformance`.

    Attributes:
        detector: The detector's name.
        plugin: Full name of the plug-in's module.
        libraries: Top-level modules that importing the plug-in and registering the detector must not import.
        order: The largest number of fields in a set it finds: with 3 or more, a planted triple must be found.
        options: Options of the detector that the suite is to use, e.g. to make it faster on small problems.
        other_options: Some other options, all valid.
        bad_options: For each option, values that must be refused.
        perturbations: Masks an instance, where the suite looks for planted interactions among eight fields.
        instances: Rows it looks in.
        tolerance: Largest relative difference of a strength where the same is computed beside other instances. Zero
            is not asked for: products of matrices round otherwise in other sizes.
    """

    detector: ClassVar[str]
    plugin: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 2
    options: ClassVar[Mapping[str, Any]] = NO_OPTIONS
    other_options: ClassVar[Mapping[str, Any]] = NO_OPTIONS
    bad_options: ClassVar[Mapping[str, tuple[Any, ...]]] = NO_OPTIONS
    perturbations: ClassVar[int] = 600
    instances: ClassVar[int] = 24
    tolerance: ClassVar[float] = 1e-3
