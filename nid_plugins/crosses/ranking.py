"""Which sets of fields to cross, in which order, and what the crosses are called."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.errors import NidWarning, SchemaError, SettingError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from nid_plugins.schema import FeatureSchema


def field_sets(interactions: Any, schema: FeatureSchema) -> list[tuple[str, ...]]:
    """Return the distinct sets of fields in rank order, each in schema order.

    Raises:
        SettingError: No sets, or a set of fewer than two fields.
        SchemaError: A set names a field the schema lacks.
    """
    if hasattr(interactions, "interactions"):
        listed = [interaction.fields for interaction in interactions.interactions]
        hint = "The report holds no interactions; detect with more instances or another detector"
    else:
        hint = 'Pass a report of nid.detect, or sets of field names such as [("a", "b")]'
        if isinstance(interactions, str) or not hasattr(interactions, "__iter__"):
            raise SettingError("not interactions", received=repr(interactions), hint=hint)
        listed = list(interactions)
    if not listed:
        raise SettingError("no interactions to cross", received="none", expected="at least one", hint=hint)
    sets: dict[tuple[str, ...], None] = {}
    for fields in listed:
        if isinstance(fields, str) or not hasattr(fields, "__iter__"):
            raise SettingError(
                "not a set of field names", received=repr(fields), expected="e.g. ('a', 'b')", hint=hint
            )
        names = list(fields)
        for name in names:
            if not isinstance(name, str) or name not in schema.names:
                raise SchemaError(
                    "a cross of an unknown field",
                    field=str(name),
                    received=f"the set {tuple(names)}",
                    expected=f"fields of {list(schema.names)}",
                    hint="Check the spelling, or fit with the schema the report was made with",
                )
        canonical = tuple(sorted(set(names), key=schema.index_of))
        if len(canonical) < 2:
            raise SettingError(
                "a cross needs two or more different fields",
                received=tuple(names),
                expected="at least 2 fields",
                hint="One field alone is already a feature of the model; drop the set",
            )
        sets[canonical] = None
    return list(sets)


def check_max_crosses(max_crosses: object, default: int) -> int:
    """Return the most crosses to make, ``default`` where None is given.

    Raises:
        SettingError: Not an integer of at least 1.
    """
    if max_crosses is None:
        return default
    if isinstance(max_crosses, bool) or not isinstance(max_crosses, int | np.integer) or max_crosses < 1:
        raise SettingError(
            "max_crosses out of range",
            received=repr(max_crosses),
            expected="an integer of at least 1, or None",
        )
    return int(max_crosses)


def cross_name(fields: Iterable[str], taken: Container[str]) -> str:
    """Return the name of a cross of these fields: ``"a__x__b"``, or ``"a__x__b__2"`` and so on where that is taken."""
    # "a__x__b" may itself be a field, and ("a__x__b", "c") reads like ("a", "b__x__c").
    base = "__x__".join(fields)
    name, i = base, 2
    while name in taken:
        name, i = f"{base}__{i}", i + 1
    return name


def report_shortfall(
    made: int, wanted: int, listed: int, rare: list[str], threshold: float, *, level: int = 3
) -> None:
    """Say that fewer crosses were made than asked for, and why.

    Args:
        made: Number of crosses made.
        wanted: Number asked for.
        listed: Number of different sets of fields given.
        rare: Names of those without a frequent combination.
        threshold: What a count must exceed.
        level: ``stacklevel`` of the warning.

    Raises:
        SettingError: None was made.
    """
    if not made:
        raise SettingError(
            "no combination of any cross is frequent enough",
            received=f"{len(rare)} crosses ({_sample(rare)})",
            expected=f"a combination that occurs more than {threshold:g} times",
            hint="Lower min_count or bins, train on more rows, or cross fields of smaller cardinality",
        )
    reasons = []
    if rare:
        reasons.append(
            f"{len(rare)} had no combination that occurs more than {threshold:g} times "
            f"({_sample(rare)}; lower min_count or bins to keep them)"
        )
    if listed < wanted:
        reasons.append(f"only {listed} different sets of fields were given")
    if reasons:
        warnings.warn(
            f"{made} crosses of {wanted} asked for: {'; '.join(reasons)}", NidWarning, stacklevel=level
        )


def _sample(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
