"""What a Keras model declares: the inputs it takes, and whether its head returns a probability or a logit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf

if TYPE_CHECKING:
    from nid_plugins.adapter import Output

_PASSING = {"Reshape", "Flatten", "Squeeze", "Identity", "Cast", "ExpandDims", "GetItem", "SlicingOpLambda"}
"""Layers and operations after a head that leave its values as they are."""


_SCORES = {
    "elu",
    "exponential",
    "gelu",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "selu",
    "silu",
    "softplus",
    "swish",
}
"""Activations of a dense head without an upper bound: no probabilities, even where some of them lie in [0, 1]."""

_NESTED = object()


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: Its key in a mapping, or the name of its input layer.
        shape: Without the batch.
        dtype: Name, e.g. ``"int32"``.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Declared:
    """All inputs of a model.

    Attributes:
        kind: How they are passed: a ``"mapping"`` by name, a ``"list"``, or a ``"single"`` tensor.
        inputs: In the model's order.
    """

    kind: Literal["mapping", "list", "single"]
    inputs: tuple[Input, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(own.name for own in self.inputs)


def declared_inputs(model: Any) -> Declared | None:
    """Return the inputs of a functional or sequential model; None for a model that declares none."""
    structure = _structure(model)
    if structure is None or structure is _NESTED:
        return None
    if isinstance(structure, Mapping):
        return Declared("mapping", tuple(_input(tensor, key) for key, tensor in structure.items()))
    if isinstance(structure, list | tuple):
        return Declared("list", tuple(_input(tensor) for tensor in structure))
    return Declared("single", (_input(structure),))


def _structure(model: Any) -> Any:
    """Return the symbolic inputs as they were given; one tensor for a sequential model."""
    inner = getattr(model, "_functional", None)  # of a Sequential of Keras 3
    for owner in (model, inner):
        for name in ("_inputs_struct", "_nested_inputs"):
            structure = getattr(owner, name, None)
            if structure is not None:
                flat = isinstance(structure, list | tuple) and len(structure) == 1
                single = flat and type(model).__name__ == "Sequential"
                if any(isinstance(part, Mapping | list | tuple) for part in _parts(structure)):
                    return _NESTED
                return structure[0] if single else structure
    return None


def nests_inputs(model: Any) -> bool:
    """Return whether a model takes mappings or lists inside a mapping or list."""
    return _structure(model) is _NESTED


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return list(structure.values())
    return list(structure) if isinstance(structure, list | tuple) else []


def _input(tensor: Any, key: str | None = None) -> Input:
    shape = tuple(None if size is None else int(size) for size in tensor.shape[1:])
    return Input(key or source_of(tensor)[0].name, shape, tf.as_dtype(tensor.dtype).name)


def source_of(tensor: Any) -> tuple[Any, Any]:
    """Return the layer or operation a symbolic tensor comes from, and the tensors it was called on."""
    history = tensor._keras_history  # noqa: SLF001 - both Kerases let surgery of graphs rely on it
    layer = history[0]
    node = layer._inbound_nodes[history[1]]  # noqa: SLF001 - as above
    inputs = getattr(node, "input_tensors", None)
    if inputs is None:
        inputs = node.keras_inputs
    return layer, list(inputs) if isinstance(inputs, list | tuple) else [inputs]


def declared_output(model: Any) -> Output:
    """Return what a model returns, by the activation of its head; ``"auto"`` where that does not say."""
    known: Output | None = getattr(model, "nid_output", None)
    if known is not None:
        return known
    corrected = getattr(model, "corrected", None)  # of a subclassed model with crosses
    if corrected is not None and hasattr(corrected, "nid_output"):
        return declared_output(corrected)
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) == 1 and hasattr(outputs[0], "_keras_history"):
        return _output_of(outputs[0])
    layers = getattr(model, "layers", None)
    if type(model).__name__ == "Sequential" and layers:
        return _head(layers[-1])
    return "auto"


def _output_of(tensor: Any) -> Output:
    layer, inputs = source_of(tensor)
    while type(layer).__name__ in _PASSING and inputs and hasattr(inputs[0], "_keras_history"):
        layer, inputs = source_of(inputs[0])
    return _head(layer)


def _head(layer: Any) -> Output:
    kind = type(layer).__name__
    if hasattr(layer, "layers") or hasattr(layer, "nid_output"):
        return declared_output(layer)
    if kind == "PredictionLayer":  # DeepCTR's
        outputs: dict[Any, Output] = {"binary": "probability", "regression": "logit"}
        return outputs.get(getattr(layer, "task", None), "auto")
    # An operation is called by its own name in Keras 3, and is a TFOpLambda with a symbol in tf_keras.
    symbol = str(getattr(layer, "symbol", ""))
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    if "sigmoid" in {kind.lower(), symbol.rpartition(".")[2], activation}:
        return "probability"
    if activation in _SCORES and kind in {"Dense", "EinsumDense"}:
        return "logit"
    return "auto"
