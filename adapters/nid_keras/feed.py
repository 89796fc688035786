"""How a Keras model takes a batch, worked out from what it declares, and rows turned into that."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_keras.declared import Declared, Input, declared_inputs, nests_inputs
from nid_plugins.adapting.inputs import Inputs, check_inputs
from nid_plugins.adapting.precision import check_exact_ids
from nid_plugins.blackbox import arguments, as_columns
from nid_plugins.errors import SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import DenseField, FeatureSchema, SparseField

if TYPE_CHECKING:
    from nid_plugins.frames import FloatMatrix

_LARGEST = {"int8": 2**7, "uint8": 2**8, "int16": 2**15, "uint16": 2**16, "int32": 2**31, "uint32": 2**32}


class Feed:
    """Rows as a model takes them.

    Args:
        model: The model.
        schema: Its fields.
        inputs: ``"auto"`` or as in ``nid.wrap``. ``"positional"`` is one list of tensors for a model that declares its
            inputs, and one argument a field for one that does not.

    Attributes:
        inputs: How the model takes a batch: ``"mapping"``, ``"positional"``, ``"matrix"`` or a callable.
        declared: What the model declares, or None.
        names: Names of the fields in the order the model takes them.

    Raises:
        SettingError: ``inputs`` is unknown or does not fit the model.
        SchemaError: The schema does not fit the model's inputs, or ids would be rounded.
        UnsupportedError: The model has an input no field can be.
    """

    def __init__(self, model: Any, schema: FeatureSchema, inputs: Inputs = "auto") -> None:
        self.schema = schema
        self.declared = declared_inputs(model)
        self.names = schema.names
        self._shapes = _built_shapes(model)
        if callable(check_inputs(inputs) if inputs != "auto" else inputs):
            self.inputs = inputs
        elif nests_inputs(model):
            raise UnsupportedError(
                "the model's inputs are nested",
                received="a mapping or list of mappings or lists of inputs",
                expected="one mapping, list or tensor",
                hint="Pass inputs=, a callable from a dict of columns to (args, kwargs)",
            )
        elif self.declared is None:
            self.inputs = _undeclared(model, schema) if inputs == "auto" else inputs
            if self.inputs == "matrix":
                check_exact_ids(schema)
        else:
            self.inputs = self._resolved(self.declared, inputs)

    def __call__(self, rows: FloatMatrix) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return ``(args, kwargs)`` of arrays for rows (n, p)."""
        if callable(self.inputs):
            return arguments(rows, self.schema, self.inputs)
        if self.inputs == "matrix":
            dtype = "float32" if self.declared is None else self.declared.inputs[0].dtype
            return (rows.astype(dtype),), {}
        columns = as_columns(rows, self.schema)
        if self.declared is None:
            if self.inputs == "mapping":
                shaped = {
                    name: column[:, None] if len(self._shapes.get(name, ())) == 2 else column
                    for name, column in columns.items()
                }
                return (shaped,), {}
            return tuple(columns.values()), {}
        arrays = [
            _shaped(columns[name], own) for name, own in zip(self.names, self.declared.inputs, strict=True)
        ]
        if self.declared.kind == "mapping":
            return (dict(zip(self.declared.names, arrays, strict=True)),), {}
        return (arrays if self.declared.kind == "list" else arrays[0],), {}

    def _resolved(self, declared: Declared, inputs: Inputs) -> Inputs:
        schema = self.schema
        first = declared.inputs[0]
        matrix = len(declared.inputs) == 1 and len(first.shape) == 1 and first.shape[0] in {None, len(schema)}
        named = set(declared.names) == set(schema.names)
        if inputs == "auto":
            inputs = "mapping" if named else "matrix" if matrix else self._by_position(declared)
        if inputs == "matrix":
            if not matrix:
                raise SettingError(
                    "the model does not take one matrix",
                    received=_listed(declared),
                    expected=f"one input of shape ({len(schema)},)",
                    hint='Leave inputs="auto", or pass a callable from a dict of columns to (args, kwargs)',
                )
            for field in schema.sparse:
                _check_dtype(field, first)
            return inputs
        if inputs == "mapping" and not named:
            self._mismatch(declared)
        if inputs == "positional" and len(declared.inputs) != len(schema):
            raise SettingError(
                "the model takes another number of inputs than there are fields",
                received=_listed(declared),
                expected=f"{len(schema)} inputs",
            )
        self.names = declared.names if named else schema.names
        for name, own in zip(self.names, declared.inputs, strict=True):
            if own.shape not in {(), (1,)}:
                raise UnsupportedError(
                    "an input of the model is not one value a row",
                    field=name,
                    received=f"shape (n, {', '.join(map(str, own.shape))})",
                    expected="shape (n,) or (n, 1)",
                    hint="Pass inputs=, a callable from a dict of columns to (args, kwargs)",
                )
            _check_dtype(schema[name], own)
        return inputs

    def _by_position(self, declared: Declared) -> Inputs:
        # Names made by Keras say nothing about the order; names the user gave say which field is meant.
        if declared.kind == "mapping" or set(declared.names) & set(self.schema.names):
            self._mismatch(declared)
        if len(declared.inputs) == len(self.schema):
            return "positional"
        raise SettingError(
            "cannot tell how the model takes its fields",
            received=_listed(declared),
            expected=f"inputs named like the fields, one input a field, or one of shape ({len(self.schema)},)",
            hint="Pass inputs=, a callable from a dict of columns to (args, kwargs)",
        )

    def _mismatch(self, declared: Declared) -> None:
        names = self.schema.names
        missing = [name for name in declared.names if name not in names]
        unknown = [name for name in names if name not in declared.names]
        where = "the schema" if missing else "the model"
        raise SchemaError(
            f"{where} has no such field",
            field=(missing or unknown)[0],
            received=list(names),
            expected=f"the model's inputs {list(declared.names)}",
            hint="Use a schema of these inputs, or pass inputs=, a callable from a dict of columns to (args, kwargs)",
        )


def _check_dtype(field: SparseField | DenseField, own: Input) -> None:
    if own.dtype in {"string", "bool"} or own.dtype.startswith("complex"):
        raise UnsupportedError(
            "an input of the model is not a number",
            field=field.name,
            received=f"dtype {own.dtype}",
            expected="integers or floats",
            hint="Turn strings into ids before the model, or wrap a function that takes ids",
        )
    if isinstance(field, DenseField):
        if not own.dtype.startswith(("float", "bfloat")):
            raise SchemaError(
                "a dense field's values would be cut to integers",
                field=field.name,
                received=f"an input of dtype {own.dtype}",
                expected="floats, or a sparse field",
            )
        return
    if own.dtype in {"float16", "bfloat16"}:
        raise UnsupportedError(
            "ids would be rounded",
            field=field.name,
            received=f"an input of dtype {own.dtype}",
            expected="int32",
        )
    if own.dtype == "float32":
        check_exact_ids(FeatureSchema([field]))
    largest = _LARGEST.get(own.dtype, field.cardinality)
    if field.cardinality > largest:
        raise SchemaError(
            "the model's input does not hold all ids",
            field=field.name,
            received=f"cardinality {field.cardinality}, an input of dtype {own.dtype}",
            expected=f"at most {largest} ids",
            hint="Declare the input as int64",
        )


def _shaped(column: npt.NDArray[Any], own: Input) -> npt.NDArray[Any]:
    column = column if own.dtype == "bfloat16" else column.astype(own.dtype, copy=False)
    return np.ascontiguousarray(column.reshape(-1, *own.shape))


def _undeclared(model: Any, schema: FeatureSchema) -> Inputs:
    """Return how a subclassed model takes a batch: by what it was built on, else by the signature of ``call``."""
    known: Inputs | None = getattr(model, "nid_inputs", None)
    if known is not None:
        return known
    if set(schema.names) <= set(_built_shapes(model)):
        return "mapping"
    parameters = [
        parameter
        for parameter in inspect.signature(model.call).parameters.values()
        if parameter.name not in {"training", "mask"}
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        and parameter.default is parameter.empty
    ]
    if len(parameters) == len(schema) > 1:
        return "positional"
    annotation = str(parameters[0].annotation).lower() if len(parameters) == 1 else ""
    return (
        "mapping" if annotation.startswith(("dict", "mapping", "typing.dict", "typing.mapping")) else "matrix"
    )


def _built_shapes(model: Any) -> Mapping[str, Any]:
    """Return the shapes, by name, of the columns a subclassed model was built on; empty where it took no mapping."""
    for name in ("_build_shapes_dict", "_build_input_shape"):
        shapes = getattr(model, name, None)
        if (
            isinstance(shapes, Mapping)
            and len(shapes) == 1
            and isinstance(only := next(iter(shapes.values())), Mapping)
        ):
            shapes = only  # by the name of the argument
        if isinstance(shapes, Mapping) and all(isinstance(shape, Iterable) for shape in shapes.values()):
            return {key: tuple(shape) for key, shape in shapes.items()}
    return {}


def _listed(declared: Declared) -> str:
    return ", ".join(
        f"{own.name}: {own.dtype} (n{''.join(f', {s}' for s in own.shape)})" for own in declared.inputs
    )
