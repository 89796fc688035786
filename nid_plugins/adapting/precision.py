"""Ids that a model takes as float32: exact up to 2**24, rounded beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_plugins.errors import SchemaError, SettingError

if TYPE_CHECKING:
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

FLOAT32_IDS = 2**24
"""Ids below this are exact in float32; 2**24 + 1 is not."""


def check_exact_ids(schema: FeatureSchema) -> None:
    """Check that float32 holds every id of a schema exactly. Call it for a model that takes its ids so.

    Raises:
        SchemaError: A field has more ids than float32 tells apart.
    """
    for field in schema.sparse:
        if field.cardinality > FLOAT32_IDS:
            raise SchemaError(
                "ids would be rounded in a float32 matrix",
                field=field.name,
                received=f"cardinality {field.cardinality}",
                expected=f"at most 2**24 = {FLOAT32_IDS}",
                hint='Map rare ids together, or use a model that takes ids as integers (inputs="positional" or "mapping")',
            )


def check_exact_crosses(crosses: CrossFeatures) -> None:
    """Check that float32 holds every cross id exactly. Call it where crosses become columns of such a model.

    Raises:
        SettingError: A cross has more ids than float32 tells apart.
    """
    for cross in crosses.crosses:
        if cross.vocabulary + 1 > FLOAT32_IDS:
            raise SettingError(
                f"cross {cross.name!r} has more ids than float32 tells apart",
                received=cross.vocabulary + 1,
                expected=f"at most 2**24 = {FLOAT32_IDS}",
                hint="Raise min_count in nid.fit_crosses",
            )
