"""Reading the fields of a DeepCTR model off its graph: the model keeps no feature columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tf_keras
from deepctr.layers.sequence import SequencePoolingLayer, WeightedSequenceLayer
from deepctr.layers.utils import Hash
from tf_keras.src.engine.functional import Functional

from nid_deepctr.columns import check_ids, dense_field, sequence_field
from nid_plugins.adapting.precision import check_exact_ids
from nid_plugins.errors import ModelError, UnsupportedError
from nid_plugins.schema import FeatureSchema, Field, SparseField

_SINGLE = {(), (1,)}  # shapes, without the batch, of one value a row


@dataclass(frozen=True)
class MultiValued:
    """How a multi-valued column takes a sequence.

    Attributes:
        maxlen: Ids a row.
        length: Name of the input that holds the number of ids, if there is one.
        weight: Name of the input that holds the ids' weights, if there is one.
        combiner: How the embeddings are pooled: ``"sum"``, ``"mean"`` or ``"max"``.
    """

    maxlen: int
    length: str | None
    weight: str | None
    combiner: str


@dataclass(frozen=True)
class _Use:
    """One layer that takes a tensor.

    Attributes:
        layer: The layer.
        node: Its call.
        tensor: The tensor, as the innermost model around the layer names it.
        names: Names of the outermost model's inputs by id of tensor, those of inner models included.
    """

    layer: Any
    node: Any
    tensor: Any
    names: Mapping[int, str]


def schema_of(model: Any) -> FeatureSchema:
    """Return the fields a model takes, in the order of its inputs; see :func:`nid_deepctr.columns.schema_of_columns`.

    The cardinality of a field is the size of the embedding tables its input indexes, the smallest if they differ.

    Raises:
        UnsupportedError: The model has several outputs, or an input is none of the columns supported.
    """
    check_single_output(model)
    fields = []
    for field in read_inputs(model)[0].values():
        if isinstance(field, UnsupportedError):
            raise field
        fields.append(field)
    return FeatureSchema(fields)


def check_single_output(model: Any) -> None:
    """Check that a model is built and returns one score a row.

    Raises:
        ModelError: It is a sequential model that has not been built.
        UnsupportedError: It has several outputs.
    """
    if not model.outputs:
        raise ModelError(
            "the model has not been built",
            received=type(model).__qualname__,
            expected="a model with inputs and outputs",
            hint="Call it on a batch first",
        )
    if len(model.outputs) != 1:
        raise UnsupportedError(
            "multi-task models are not supported",
            received=f"{len(model.outputs)} outputs: {list(model.output_names)}",
            expected="a model with one output",
            hint="Use a model of one of them, e.g. tf_keras.Model(model.inputs, model.outputs[0])",
        )


def read_inputs(model: Any) -> tuple[dict[str, Field | UnsupportedError], dict[str, MultiValued]]:
    """Return what a model's inputs are.

    Returns:
        Input name to field, or to the error that says why it is none; without inputs that hold lengths or weights of
        multi-valued ones. And name to description of those fields that are multi-valued.
    """
    uses = {name: list(_uses(model, tensor)) for name, tensor in _inputs(model).items()}
    multi = {name: found for name in uses if (found := _multi_valued(_inputs(model)[name], uses[name]))}
    helpers = {helper for one in multi.values() for helper in (one.length, one.weight)}
    fields: dict[str, Field | UnsupportedError] = {}
    for name, tensor in _inputs(model).items():
        if name in helpers:
            continue
        try:
            fields[name] = _field(name, tensor, uses[name], multi.get(name))
        except UnsupportedError as error:
            fields[name] = error
    return fields, multi


def _inputs(model: Any) -> dict[str, Any]:
    return dict(zip(model.input_names, model.inputs, strict=True))


def _uses(model: Any, tensor: Any, names: Mapping[int, str] | None = None) -> Iterator[_Use]:
    """Yield the layers of a model that take a tensor, going into models inside it."""
    if names is None:
        names = {id(own): name for name, own in _inputs(model).items()}
    members = {id(layer) for layer in model.layers}
    for node in tensor._keras_history.layer.outbound_nodes:  # noqa: SLF001 - there is no other way to it
        if id(node.layer) not in members:  # of another model made of the same layers
            continue
        model_in = model_of(node.layer)
        if model_in is None:
            if any(own is tensor for own in node.keras_inputs):
                yield _Use(node.layer, node, tensor, names)
            continue
        given = list(zip(model_in.inputs, _passed(node, model_in), strict=True))
        inner = {id(own): names[id(outer)] for own, outer in given if id(outer) in names}
        for own, outer in given:
            if outer is tensor:
                yield from _uses(model_in, own, {**names, **inner})


def model_of(layer: Any) -> Any:
    """Return the functional model a layer is, or the one it keeps frozen; None for any other layer."""
    inner = getattr(layer, "base", layer)
    return inner if isinstance(inner, Functional) else None


def _passed(node: Any, model: Any) -> list[Any]:
    """Return what a model inside a model is called with, in the order of its inputs."""
    given = node.call_args[0]
    if isinstance(given, Mapping):
        return [given[name] for name in model.input_names]
    return list(given) if isinstance(given, list | tuple) else [given]


def _multi_valued(tensor: Any, uses: list[_Use]) -> MultiValued | None:
    maxlen = tensor.shape[1] if len(tensor.shape) == 2 else 1
    found = [pooled for use in uses if _is_table(use.layer) for pooled in _pooled(use, maxlen or 1)]
    if not found:
        return None
    return MultiValued(
        found[0].maxlen,
        next((one.length for one in found if one.length), None),
        next((one.weight for one in found if one.weight), None),
        "max" if any(one.combiner == "max" for one in found) else found[0].combiner,
    )


def _pooled(use: _Use, maxlen: int, weight: str | None = None) -> Iterator[MultiValued]:
    """Yield how what a layer returns in one call is pooled."""
    for node in use.layer.outbound_nodes:
        takes = [own for own in node.keras_inputs if own is not use.node.outputs]
        if len(takes) == len(node.keras_inputs):  # of another call of the same layer
            continue
        if isinstance(node.layer, WeightedSequenceLayer):
            weighted = _Use(node.layer, node, use.tensor, use.names)
            yield from _pooled(weighted, maxlen, use.names.get(id(takes[-1])))
        elif isinstance(node.layer, SequencePoolingLayer):
            length = use.names.get(id(takes[0])) if takes else None
            yield MultiValued(maxlen, length, weight, node.layer.mode)


def _is_table(layer: Any) -> bool:
    return isinstance(layer, tf_keras.layers.Embedding)


def _field(name: str, tensor: Any, uses: list[_Use], multi: MultiValued | None) -> Field:
    check_ids(name, tensor.dtype.name, hashed=any(isinstance(use.layer, Hash) for use in uses))
    tables = [int(use.layer.input_dim) for use in uses if _is_table(use.layer)]
    shape = tuple(tensor.shape[1:])
    if not tables:
        if not uses and tensor.dtype.is_integer:
            raise UnsupportedError("the model does not use this input: its ids are not known", field=name)
        return dense_field(name, (1,) if shape in _SINGLE else shape)
    if multi is not None:
        field = sequence_field(name, min(tables), {multi.combiner})
    elif shape in _SINGLE:
        field = SparseField(name, min(tables))
    else:
        raise UnsupportedError(
            "columns of histories are not supported",
            field=name,
            received=f"ids of shape {shape} that are not pooled",
            expected="a SparseFeat, or a VarLenSparseFeat whose embeddings are pooled",
            hint="Wrap a function from a dict of columns to scores that fills such columns in",
        )
    if tensor.dtype.is_floating:
        check_exact_ids(FeatureSchema([field]))
    return field


def tables_of(model: Any, name: str) -> list[Any]:
    """Return the embedding layers an input of a model indexes."""
    return [use.layer for use in _uses(model, _inputs(model)[name]) if _is_table(use.layer)]


def main_table(model: Any, name: str) -> Any:
    """Return the embedding layer of a column: that of the deep part, or of the linear part if only that has it."""
    tables = tables_of(model, name)
    named = [table for table in tables if table.name == f"sparse_emb_{name}"]  # as DeepCTR calls it
    return max(named or tables, key=lambda table: int(table.output_dim), default=None)


def layers_in(model: Any) -> list[Any]:
    """Return a model and all layers of it, those of models inside it included, outermost first."""
    return list(model._flatten_layers())  # noqa: SLF001 - what Keras itself walks by


def models_in(model: Any) -> list[Any]:
    """Return a model and the functional models inside it, outermost first."""
    return [layer for layer in layers_in(model) if isinstance(layer, Functional)]
