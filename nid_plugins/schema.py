"""Fields of a CTR model's input, and the ordered schema they form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nid_plugins.errors import SchemaError

MAX_CARDINALITY = 2**53


@dataclass(frozen=True, slots=True)
class SparseField:
    """A categorical field whose values are integer ids, from 0 to ``cardinality - 1``.

    Args:
        name: Column name.
        cardinality: Number of ids, reserved ones included (DeepCTR's ``vocabulary_size``).
        oov: The id reserved for unknown values, if the encoding has one. The ``"oov"`` baseline uses it.

    Raises:
        SchemaError: Empty name, a cardinality that is not an integer from 1 to 2**53, or ``oov`` outside the ids.
    """

    name: str
    cardinality: int
    oov: int | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not _is_integer(self.cardinality):
            raise SchemaError(
                "cardinality is not an integer",
                field=self.name,
                received=repr(self.cardinality),
                expected="a positive integer",
                hint="Pass the number of ids, i.e. the largest id + 1",
            )
        object.__setattr__(self, "cardinality", int(self.cardinality))
        if self.cardinality < 1:
            raise SchemaError(
                "cardinality must be positive",
                field=self.name,
                received=self.cardinality,
                expected="at least 1",
                hint="Pass the number of ids, i.e. the largest id + 1",
            )
        if self.cardinality > MAX_CARDINALITY:
            raise SchemaError(
                "cardinality too large",
                field=self.name,
                received=self.cardinality,
                expected=f"at most 2**53 = {MAX_CARDINALITY}: rows are held as float64, exact up to there",
                hint="Encode the column to consecutive ids, or hash it to fewer",
            )
        if self.oov is None:
            return
        if not _is_integer(self.oov) or not 0 <= self.oov < self.cardinality:
            raise SchemaError(
                "the reserved id is not one of the field's ids",
                field=self.name,
                received=repr(self.oov),
                expected=f"an integer from 0 to {self.cardinality - 1}",
                hint="Reserve an id inside the cardinality, or leave oov out",
            )
        object.__setattr__(self, "oov", int(self.oov))


@dataclass(frozen=True, slots=True)
class DenseField:
    """A numeric field.

    Args:
        name: Column name.

    Raises:
        SchemaError: Empty name.
    """

    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)


Field = SparseField | DenseField


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise SchemaError(
            "a field needs a name",
            received=repr(name),
            expected="a non-empty string",
            hint="Name the column as it is named in your frames",
        )


class FeatureSchema(Sequence[Field]):
    """The fields of a model's input, in the order the model takes them.

    Args:
        fields: The fields; order matters for models that take a matrix or positional inputs.

    Raises:
        SchemaError: No field, a name used twice, or something that is not a field.
    """

    def __init__(self, fields: Iterable[Field]) -> None:
        if not isinstance(fields, Iterable):
            raise SchemaError("not fields", received=repr(fields), expected="a list of fields")
        self.fields: tuple[Field, ...] = tuple(fields)
        for field in self.fields:
            if not isinstance(field, SparseField | DenseField):
                raise SchemaError(
                    "not a field",
                    received=repr(field),
                    expected="SparseField or DenseField",
                    hint='Write nid.SparseField("name", cardinality=...) or nid.DenseField("name")',
                )
        if not self.fields:
            raise SchemaError(
                "a schema needs at least one field", received="none", expected="one or more fields"
            )
        self.names: tuple[str, ...] = tuple(field.name for field in self.fields)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise SchemaError(
                "names used more than once",
                received=twice,
                expected="each field once",
                hint="Rename or drop one",
            )

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __getitem__(self, key: Any) -> Any:
        """Return a field by name or position."""
        if isinstance(key, str):
            return self.fields[self.index_of(key)]
        return self.fields[key]

    def __contains__(self, key: object) -> bool:
        return key in self._index or key in self.fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSchema) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"FeatureSchema({list(self.fields)!r})"

    def index_of(self, name: str) -> int:
        """Return the position of a field.

        Raises:
            SchemaError: The schema has no such field.
        """
        try:
            return self._index[name]
        except (KeyError, TypeError):
            raise SchemaError(
                "no such field",
                field=str(name),
                expected=f"one of {list(self.names)}",
                hint="Check the spelling",
            ) from None

    @property
    def sparse(self) -> tuple[SparseField, ...]:
        """The categorical fields, in order."""
        return tuple(f for f in self.fields if isinstance(f, SparseField))

    @property
    def dense(self) -> tuple[DenseField, ...]:
        """The numeric fields, in order."""
        return tuple(f for f in self.fields if isinstance(f, DenseField))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description, read back by :meth:`from_dict`."""
        return {"fields": [_field_dict(f) for f in self.fields]}

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> FeatureSchema:
        """Build a schema from what :meth:`to_dict` returned.

        Raises:
            SchemaError: The description is malformed.
        """
        try:
            return cls(_field_of(f) for f in spec["fields"])
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaError(
                "malformed schema description",
                received=repr(error),
                expected='{"fields": [{"kind": "sparse", "name": ..., "cardinality": ...}, ...]}',
            ) from error

    @classmethod
    def infer(
        cls,
        frame: Any,
        label: str | None = None,
        *,
        sparse: Sequence[str] | None = None,
        dense: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> FeatureSchema:
        """Infer a schema from a frame.

        Integer and boolean columns become sparse fields with ids up to the largest seen, float columns dense
        fields. ``sparse`` and ``dense`` overrule that by name. An integer column of a table with missing values is
        an error unless it is named: whether it holds ids or numbers is not for us to guess.

        Args:
            frame: Mapping of name to 1-D array, or a pandas, Polars or Arrow table.
            label: Column to leave out.
            sparse: Columns to treat as sparse whatever their dtype.
            dense: Columns to treat as dense whatever their dtype.
            exclude: Further columns to leave out.

        Raises:
            SchemaError: No usable column, a column named that is not there, or ids that are not integers from 0.
            FrameError: The frame cannot be read, or a column is not numeric.
        """
        from nid_plugins.inferring import infer_fields

        return cls(infer_fields(frame, label=label, sparse=sparse, dense=dense, exclude=exclude))

    @classmethod
    def of(cls, model: Any) -> FeatureSchema:
        """Read the schema off a model, or off the feature columns it is going to be made from.

        Args:
            model: A model whose framework declares its features (e.g. DeepCTR-Torch); or a list of that framework's
                feature columns, or a pair of lists ``(linear, deep)``.

        Raises:
            UnsupportedError: No adapter claims the model or the columns, or its framework does not declare features.
            SchemaError: The declared features have no counterpart here.
        """
        from nid_plugins.plugins import get_manager

        manager = get_manager()
        adapter = manager.find_adapter(model)
        if adapter is None and isinstance(model, list | tuple):
            return manager.adapter_for_columns(model).schema_of_columns(model)
        # Asked again where none was found: that raises, saying what is known.
        return (adapter or manager.adapter_for(model)).schema(model)


def _field_dict(field: Field) -> dict[str, Any]:
    if isinstance(field, SparseField):
        spec: dict[str, Any] = {"kind": "sparse", "name": field.name, "cardinality": field.cardinality}
        if field.oov is not None:
            spec["oov"] = field.oov
        return spec
    return {"kind": "dense", "name": field.name}


def _field_of(spec: Mapping[str, Any]) -> Field:
    if spec["kind"] == "sparse":
        return SparseField(spec["name"], spec["cardinality"], spec.get("oov"))
    if spec["kind"] == "dense":
        return DenseField(spec["name"])
    raise KeyError(spec["kind"])
