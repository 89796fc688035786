"""Frameworks that declare feature columns: reading lists of them, and adding crosses as further ones."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import ModelError, NidError, SchemaError, SettingError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema


def flat(columns: object) -> list[object]:
    """Return the columns of a list of columns, or of a tuple or list of such lists.

    Columns may be named tuples themselves, which a list of columns is not.
    """
    if isinstance(columns, list | tuple) and not hasattr(columns, "_fields"):
        return [column for part in columns for column in flat(part)]
    return [] if columns is None else [columns]


def pair_of(columns: Any) -> tuple[list[Any], list[Any]]:
    """Return linear and deep columns, given a pair of lists of named tuples or one list for both.

    Raises:
        SettingError: It is neither.
    """
    parts = list(columns) if isinstance(columns, list | tuple) and not hasattr(columns, "_fields") else []
    if len(parts) == 2 and all(
        isinstance(part, list | tuple) and not hasattr(part, "_fields") for part in parts
    ):
        return list(parts[0]), list(parts[1])
    if parts and all(hasattr(part, "_fields") for part in parts):
        return parts, parts
    raise SettingError(
        "columns are neither a list of feature columns nor a pair of such lists",
        received=repr(columns)[:200],
        expected="(linear_columns, deep_columns), or one list for both",
    )


def built_by(builder: Callable[[list[Any], list[Any]], Any], linear: list[Any], deep: list[Any]) -> Any:
    """Return the model a user's builder makes of linear and deep columns.

    Raises:
        ModelError: The builder raised; a typed error of it is passed on.
    """
    try:
        return builder(linear, deep)
    except NidError:
        raise
    except Exception as error:
        raise ModelError(
            f"the builder raised {type(error).__name__}: {error}",
            expected="a function of (linear columns, deep columns), e.g. lambda linear, deep: DeepFM(linear, deep)",
            hint="Call it with these columns by hand",
        ) from error


def check_all_used(names: Iterable[str], inputs: Collection[str]) -> None:
    """Check that a built model takes all columns added for crosses.

    Raises:
        ModelError: Its builder left some out.
    """
    absent = [name for name in names if name not in inputs]
    if absent:
        raise ModelError(
            "the builder leaves crosses out",
            received=f"no column {absent}",
            hint="Use the columns it is called with",
        )


def common_dim(columns: Iterable[Any]) -> int:
    """Return the ``embedding_dim`` most columns have.

    Raises:
        SettingError: None has one.
    """
    dims = Counter(int(column.embedding_dim) for column in columns if hasattr(column, "embedding_dim"))
    if not dims:
        raise SettingError(
            "there is no deep sparse column to take the embedding's length from",
            expected="embedding_dim=",
            hint="Pass embedding_dim",
        )
    return dims.most_common(1)[0][0]


def column_names(
    crosses: CrossFeatures, taken: Collection[str], *, forbidden: str | None = None
) -> list[str]:
    r"""Return a column name for each cross: its own, but for characters the framework forbids.

    Args:
        crosses: The crosses.
        taken: Names of the columns there are.
        forbidden: Regular expression of what a name must not contain, replaced by ``_`` and, where two names become one,
            told apart by a number; e.g. ``r"\."`` where names become those of PyTorch modules.

    Raises:
        SettingError: A cross has the name of a column.
    """
    names: list[str] = []
    for name in crosses.names:
        plain = free = re.sub(forbidden, "_", name) if forbidden else name
        number = 2
        while free in taken or free in names:
            if free == name:
                raise SettingError("a cross has the name of a column", field=name, hint="Rename the column")
            free, number = f"{plain}__{number}", number + 1
        names.append(free)
    return names


def check_members(crosses: CrossFeatures, declared: FeatureSchema) -> None:
    """Check that the members of crosses are among the fields a model declares.

    Raises:
        SchemaError: A member is not a column of the model, or of another kind.
    """
    for name in dict.fromkeys(name for cross in crosses.crosses for name in cross.fields):
        if name not in declared.names:
            raise SchemaError(
                "a cross of a field that is not a column of the model",
                field=name,
                expected=f"one of {list(declared.names)}",
                hint="Fit the crosses with nid.FeatureSchema.of(model)",
            )
        mine, own = crosses.schema[name], declared[name]
        if isinstance(mine, SparseField) != isinstance(own, SparseField):
            raise SchemaError(
                "the model's column is of another kind",
                field=name,
                received=repr(own),
                expected=repr(mine),
                hint="Fit the crosses with nid.FeatureSchema.of(model)",
            )


def check_schema(schema: FeatureSchema, declared: FeatureSchema) -> None:
    """Check a schema against the one a model declares; order and reserved ids may differ.

    Raises:
        SchemaError: A field is missing, unknown, of another kind, or has more ids than the model's table.
    """
    for name in itertools.chain(declared.names, schema.names):
        if name not in schema.names or name not in declared.names:
            where = "the schema" if name not in schema.names else "the model"
            raise SchemaError(
                f"{where} has no such field",
                field=name,
                received=list(schema.names),
                expected=f"the model's {list(declared.names)}",
                hint="Use nid.FeatureSchema.of(model)",
            )
        mine, own = schema[name], declared[name]
        if type(mine) is not type(own) or (
            isinstance(own, SparseField) and mine.cardinality > own.cardinality
        ):
            raise SchemaError(
                "the schema does not fit the model's column",
                field=name,
                received=repr(mine),
                expected=repr(own),
                hint="Use nid.FeatureSchema.of(model)",
            )
