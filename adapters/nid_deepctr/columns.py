"""The schema that DeepCTR's feature columns declare. Needs no framework: columns are named tuples."""

from __future__ import annotations

from typing import Any

from nid_plugins.adapting.columns import flat
from nid_plugins.errors import SchemaError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, Field, SparseField


def schema_of_columns(columns: Any) -> FeatureSchema:
    """Return the fields of feature columns, in the order they first occur in.

    A ``SparseFeat`` is a sparse field, a ``DenseFeat`` of dimension 1 a dense one. A ``VarLenSparseFeat`` is a sparse
    field that holds *one* id a row: the model gets the sequence of that id alone. Id 0 is padding, i.e. the empty
    sequence, and the field's reserved id; not with ``combiner="max"``, for which DeepCTR's pooled embedding of an empty
    sequence is -1e9.

    Args:
        columns: A list of columns, or a pair of such lists.

    Raises:
        UnsupportedError: A column hashes its values in the model, or is a vector.
        SchemaError: Two columns of one name differ, or two that share an embedding have vocabularies that differ.
    """
    fields: dict[str, Field] = {}
    shared: dict[str, tuple[str, int]] = {}
    for column in flat(columns):
        field = _field(column)
        if fields.setdefault(field.name, field) != field:
            raise SchemaError(
                "two columns of this name differ",
                field=field.name,
                received=f"{fields[field.name]} and {field}",
            )
        if isinstance(field, SparseField):
            first, size = shared.setdefault(_table(column), (field.name, field.cardinality))
            if size != field.cardinality:
                raise SchemaError(
                    f"it shares the embedding {_table(column)!r} with {first!r}, which has another vocabulary",
                    field=field.name,
                    received=field.cardinality,
                    expected=size,
                    hint="Give both columns the larger vocabulary_size: DeepCTR makes one table, by the last one's",
                )
    return FeatureSchema(fields.values())


def _table(column: Any) -> str:
    return str(column.embedding_name)


def _field(column: Any) -> Field:
    if hasattr(column, "dimension"):
        return dense_field(column.name, (column.dimension,))
    check_ids(column.name, column.dtype, hashed=bool(column.use_hash or column.vocabulary_path))
    if not hasattr(column, "maxlen"):
        return SparseField(column.name, column.vocabulary_size)
    return sequence_field(column.name, column.vocabulary_size, {column.combiner})


def dense_field(name: str, shape: tuple[int | None, ...]) -> DenseField:
    """Return the field of a dense column of values of a shape.

    Raises:
        UnsupportedError: It is a vector.
    """
    if shape != (1,):
        raise UnsupportedError(
            "dense columns that are vectors are not supported",
            field=name,
            received=f"values of shape {shape}",
            expected="a DenseFeat of dimension 1",
            hint="Declare one DenseFeat a component",
        )
    return DenseField(name)


def sequence_field(name: str, cardinality: int, combiners: set[str]) -> SparseField:
    """Return the field of a multi-valued column, whose id 0 is the empty sequence where that is pooled to zero."""
    return SparseField(name, cardinality, oov=None if "max" in combiners else 0)


def check_ids(name: str, dtype: Any, *, hashed: bool) -> None:
    """Check that a sparse column takes ids.

    Raises:
        UnsupportedError: It takes text, or hashes its values or looks them up in the model.
    """
    if hashed or dtype == "string":
        raise UnsupportedError(
            "columns that hash their values, or look them up in a file, in the model are not supported",
            field=name,
            received="use_hash=True or vocabulary_path" if hashed else "dtype string",
            expected="a SparseFeat of integer ids",
            hint="Encode or hash the values outside of the model, and feed ids: nid_plugins' crosses are made of ids",
        )
