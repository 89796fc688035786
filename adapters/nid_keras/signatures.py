"""How a signature's inputs take the fields of a schema: by name, as one matrix, in an order, or as the caller says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.blackbox import as_columns
from nid_plugins.errors import SchemaError, SettingError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema, Field

Feeds = dict[str, Any]
"""Name of an input to its array."""

EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
"""Ids up to this many are exact in a float dtype; the next one is not."""

_EXAMPLE = 'inputs=lambda columns: ((), {"name of an input": columns["field"], ...})'


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a signature.

    Attributes:
        name: Its name.
        shape: Its shape, None for an open dimension; None altogether when the rank is open.
        dtype: Name of its dtype as TensorFlow has it, e.g. ``"int64"`` or ``"string"``.
        numpy: The NumPy dtype of the same values.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    numpy: Any

    def __str__(self) -> str:
        shape = "(...)" if self.shape is None else str(self.shape)
        return f"{self.name}: {self.dtype} {shape}"

    @property
    def is_column(self) -> bool:
        """Whether it takes one value a row, shape (n,) or (n, 1)."""
        return self.shape is None or len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[1] == 1)

    def fitted(self, value: Any) -> Any:
        """Return an array or list of numbers in the input's dtype and rank, (n,) for (n, 1) or the reverse.

        Tensors and text are returned as they are.

        Raises:
            SettingError: A whole number would change its value.
        """
        values = np.asarray(value) if isinstance(value, list | tuple) else value
        if not isinstance(values, np.ndarray) or self.dtype == "string" or values.dtype.kind not in "biuf":
            return value
        if values.dtype != self.numpy:
            with np.errstate(invalid="ignore"):  # a NaN for a whole number is told below
                cast = values.astype(self.numpy)
                same = np.array_equal(cast, values) and np.array_equal(cast.astype(values.dtype), values)
            rounded = (
                values.dtype.kind == "f" and self.dtype in EXACT
            )  # which is what the model's dtype means
            if not same and not rounded:
                raise SettingError(
                    f"values do not fit the input {self.name!r} of the signature",
                    received=f"{values.dtype} from {values.min()} to {values.max()}",
                    expected=self.dtype,
                    hint="Make the callable inputs= return the dtype of the input",
                )
            values = cast
        if self.shape is not None and len(self.shape) == 2 and values.ndim == 1:
            return values[:, None]
        if self.shape is not None and len(self.shape) == 1 and values.ndim == 2 and values.shape[1] == 1:
            return values[:, 0]
        return values


def feeder(
    signature: Sequence[Input], schema: FeatureSchema, inputs: str | Callable[..., Any]
) -> Callable[[FloatMatrix], Feeds]:
    """Return a function from rows (n, p) in schema order to what the signature takes.

    Args:
        signature: The signature's inputs.
        schema: The fields.
        inputs: ``"auto"``: by name where the inputs' names are the fields', one matrix where the one input has p
            columns. ``"mapping"`` and ``"matrix"`` ask for one of these. ``"positional"`` pairs the inputs with the
            fields in the natural order of the inputs' names (a signature has no other), but by name where the names
            are the fields'. A callable from a dict of columns to ``(args, kwargs)`` names the inputs in ``kwargs``.

    Raises:
        SettingError: ``inputs`` is unknown, or the signature's inputs are not the fields.
        SchemaError: An input's dtype cannot hold the values of its field.
    """
    if callable(inputs):
        return _called(signature, schema, inputs)
    if inputs not in {"auto", "mapping", "matrix", "positional"}:
        raise SettingError(
            "unknown way of passing inputs",
            received=repr(inputs),
            expected='"auto", "positional", "matrix", "mapping" or a callable from a dict of columns to (args, kwargs)',
        )
    _check_batches(signature)
    by_name = {own.name: own for own in signature}
    if inputs != "matrix" and set(by_name) == set(schema.names) and all(own.is_column for own in signature):
        return _columns({name: by_name[name] for name in schema.names}, schema)
    if inputs in {"auto", "matrix"} and len(signature) == 1 and _is_matrix(signature[0], len(schema)):
        return _matrix(signature[0], schema)
    if inputs == "positional":
        return _columns(_paired(signature, schema), schema)
    raise _unlike(signature, schema, inputs)


def _check_batches(signature: Sequence[Input]) -> None:
    for own in signature:
        if own.shape is not None and (not own.shape or own.shape[0] is not None):
            raise SettingError(
                "the signature does not take batches of any size",
                received=str(own),
                expected="a first dimension of None",
                hint="Export the model with an open batch dimension",
            )


def _is_matrix(own: Input, p: int) -> bool:
    return own.shape is not None and len(own.shape) == 2 and own.shape[1] in {None, p}


def _paired(signature: Sequence[Input], schema: FeatureSchema) -> dict[str, Input]:
    ordered = sorted(signature, key=lambda own: _natural(own.name))
    if len(ordered) != len(schema) or not all(own.is_column for own in ordered):
        raise _unlike(signature, schema, "positional")
    pairs = dict(zip(schema.names, ordered, strict=True))
    for name, own in pairs.items():
        if own.name != name and own.name in pairs:
            raise SettingError(
                "inputs named like one field would be fed another in this order",
                field=name,
                received=f"the input {own.name!r}; by natural order the inputs are {[i.name for i in ordered]}",
                expected=f"the schema's order {list(schema.names)}",
                hint=f"Pass {_EXAMPLE}",
            )
    return pairs


def _natural(name: str) -> list[tuple[bool, int, str]]:
    # input_2 before input_10, as the framework that numbered them counts.
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in re.split(r"(\d+)", name)
    ]


def _unlike(signature: Sequence[Input], schema: FeatureSchema, inputs: str) -> SettingError:
    names = {own.name for own in signature}
    parts = [f"inputs {[str(own) for own in signature]}"]
    if missing := sorted(names - set(schema.names)):
        parts.append(f"no field for {missing}")
    if extra := sorted(set(schema.names) - names):
        parts.append(f"no input for {extra}")
    ordered = sorted(names, key=_natural)
    same = len(ordered) == len(schema) and all(own.is_column for own in signature) and inputs != "positional"
    order = f' or, if the inputs {ordered} are the fields in this order, inputs="positional"' if same else ""
    return SettingError(
        "the signature does not take the schema's fields",
        received=", ".join(parts),
        expected=f"one input a field, named {list(schema.names)}, or one matrix of {len(schema)} columns",
        hint=f"Change the schema, or pass {_EXAMPLE}{order}",
    )


def _columns(pairs: Mapping[str, Input], schema: FeatureSchema) -> Callable[[FloatMatrix], Feeds]:
    for field in schema:
        _check_fit(field, pairs[field.name])
    places = [(pairs[name], j) for j, name in enumerate(schema.names)]

    def feeds(rows: FloatMatrix) -> Feeds:
        made = {}
        for own, j in places:
            column = rows[:, j].astype(own.numpy)
            made[own.name] = column[:, None] if own.shape is not None and len(own.shape) == 2 else column
        return made

    return feeds


def _matrix(own: Input, schema: FeatureSchema) -> Callable[[FloatMatrix], Feeds]:
    for field in schema:
        _check_fit(field, own)
    return lambda rows: {own.name: rows.astype(own.numpy)}


def _check_fit(field: Field, own: Input) -> None:
    what = f"dtype {own.dtype} of the input {own.name!r}"
    if own.dtype in EXACT:
        most = EXACT[own.dtype]
    elif np.dtype(own.numpy).kind == "b":
        most = 2
    elif np.dtype(own.numpy).kind in "iu":
        most = int(np.iinfo(own.numpy).max) + 1
    else:
        raise SchemaError(
            "the signature takes something other than numbers",
            field=field.name,
            received=what,
            expected="int32, int64, float32 or float64",
            hint=f"Export the model with encoded inputs, or make the values in a callable: {_EXAMPLE}",
        )
    if not isinstance(field, SparseField):
        if own.dtype not in EXACT:
            raise SchemaError(
                "a dense field for an input of whole numbers",
                field=field.name,
                received=what,
                expected="a float dtype",
                hint="Declare it as SparseField if its values are ids",
            )
    elif field.cardinality > most:
        raise SchemaError(
            "ids would not fit the signature",
            field=field.name,
            received=f"cardinality {field.cardinality}, {what}",
            expected=f"at most {most}",
            hint="Check the cardinality, or export the model with a wider dtype",
        )


def _called(
    signature: Sequence[Input], schema: FeatureSchema, inputs: Callable[..., Any]
) -> Callable[[FloatMatrix], Feeds]:
    by_name = {own.name: own for own in signature}

    def feeds(rows: FloatMatrix) -> Feeds:
        args, kwargs = inputs(as_columns(rows, schema))
        values = dict(kwargs)
        if len(args) == len(by_name) == 1:
            values.setdefault(next(iter(by_name)), args[0])
        elif args:
            raise SettingError(
                "a signature takes its inputs by name",
                received=f"{len(args)} positional ones from inputs=",
                expected=f"((), {{name: array}}) with the names {sorted(by_name)}",
            )
        if set(values) != set(by_name):
            raise SettingError(
                "inputs= does not give what the signature takes",
                received=f"{sorted(map(str, values))}",
                expected=f"the inputs {[str(own) for own in signature]}",
            )
        return {name: by_name[name].fitted(value) for name, value in values.items()}

    return feeds
