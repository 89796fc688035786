"""Keras models as functions of rows, left exactly as they were found."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_keras.declared import declared_output
from nid_keras.feed import Feed
from nid_keras.flavour import keras_of
from nid_keras.ids import CrossIdsMixin, tensor_of, value_of
from nid_keras.randomness import random_kept
from nid_plugins.adapter import Output, Predictor
from nid_plugins.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

_WRITES = ("Assign", "ResourceScatter", "Rng", "StatefulUniform", "StatefulStandardNormal", "ResourceApply")
"""Beginnings of the names of TensorFlow operations that write to a variable."""

_LOSSES = ("_losses", "_loss_ids", "_eager_losses")
"""Where a layer of Keras 3 or tf_keras keeps the losses that its last call added."""


class KerasPredictor(Predictor):
    """A Keras model as a function of rows.

    The model is called in inference mode in a graph of its own, traced once for batches of any size; a model that
    cannot be traced is called eagerly.

    Args:
        model: The model, built.
        schema: Its fields.
        inputs: How it takes a batch; see :class:`~nid_keras.feed.Feed`.
        output: What it returns. ``"auto"``: see :func:`~nid_keras.declared.declared_output`.

    Raises:
        SettingError: ``inputs`` is unknown, or does not fit the model.
        SchemaError: The schema does not fit the model's inputs, or ids would be rounded.
        ModelError: The model has no weights yet.
        UnsupportedError: Not a Keras model on TensorFlow.
    """

    def __init__(
        self, model: Any, schema: FeatureSchema, *, inputs: Inputs = "auto", output: Output = "auto"
    ) -> None:
        keras_of(model)
        check_built(model)
        self._model = model
        self.feed = Feed(model, schema, inputs)
        self.output = declared_output(model) if output == "auto" else output
        self._traced: dict[Any, Any] = {}
        self._writes = False
        self._eager = bool(getattr(model, "run_eagerly", False))
        self._depth = 0

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the model's output for rows (n, p)."""
        args, kwargs = self.feed(rows)
        args, kwargs = tf.nest.map_structure(_tensor, (args, kwargs))
        if not self._eager:
            traced = self._trace(args, kwargs)
            if traced is not None:
                with self.session():
                    return scores(traced(*tf.nest.flatten((args, kwargs))))
        with self.session():
            return scores(self._model(*args, training=False, **kwargs))

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Return a context at whose end the model's variables are as they were; entered inside itself it does nothing."""
        if self._depth or not (self._writes or self._eager):
            yield
            return
        self._depth += 1
        try:
            with random_kept(), untouched(self._model):
                yield
        finally:
            self._depth -= 1

    def _trace(self, args: Any, kwargs: Any) -> Any:
        flat = tf.nest.flatten((args, kwargs))
        key = tuple((tensor.dtype, tuple(tensor.shape[1:])) for tensor in flat)
        if key not in self._traced:
            structure = (args, kwargs)

            def call(*tensors: tf.Tensor) -> Any:
                own, named = tf.nest.pack_sequence_as(structure, tensors)
                return self._model(*own, training=False, **named)

            # Single numbers and the like, of a callable for inputs, have no batch.
            specs = [tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype) for t in flat]
            try:
                with random_kept(), untouched(self._model):
                    traced = tf.function(call, input_signature=specs).get_concrete_function()
            except Exception:  # noqa: BLE001 - eagerly the model may do, or says better what is wrong
                self._eager = True
                return None
            self._writes |= writes(traced.graph)
            self._traced[key] = traced
        return self._traced[key]


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Restore at the end what a call of a model changes: variables that were written to, and losses that were added."""
    layers = flat_layers(model)
    constant = {
        id(tensor_of(weight))
        for layer in layers
        if isinstance(layer, CrossIdsMixin)
        for weight in layer.non_trainable_weights
    }
    variables = [tensor_of(variable) for variable in _variables_of(model)]
    kept = [(variable, value_of(variable)) for variable in variables if id(variable) not in constant]
    losses = [
        (layer, name, own, own.copy())
        for layer in layers
        for name in _LOSSES
        if (own := getattr(layer, name, None)) is not None
    ]
    try:
        yield
    finally:
        for variable, before in kept:
            if not np.array_equal(value_of(variable), before, equal_nan=before.dtype.kind == "f"):
                variable.assign(before)
        for layer, name, own, held in losses:
            if getattr(layer, name) is not own:  # tf_keras begins a new list
                setattr(layer, name, own)
            own.clear()
            (own.update if isinstance(own, set) else own.extend)(held)


def _variables_of(model: Any) -> list[Any]:
    """Return the variables of a model and of its metrics."""
    found = [*model.variables, *(variable for metric in model.metrics for variable in metric.variables)]
    return [variable for variable in {id(own): own for own in found}.values() if is_variable(variable)]


def is_variable(weight: Any) -> bool:
    """Return whether one of a model's weights is a variable; tf_keras counts vocabularies of lookups among them."""
    return hasattr(weight, "assign")


def writes(graph: Any) -> bool:
    """Return whether a graph, or a function it calls, writes to a variable."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for own in definition.library.function for node in own.node_def)]
    return any(node.op.startswith(_WRITES) for node in nodes)


def flat_layers(model: Any) -> list[Any]:
    """Return all layers of a model, and those inside layers."""
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten()) if flatten is not None else list(getattr(model, "layers", ()))


def check_built(model: Any) -> None:
    """Check that a model has weights: calling it for the first time would make them.

    Raises:
        ModelError: It has none yet.
    """
    if not getattr(model, "built", True):
        raise ModelError(
            "the model has not been built",
            received=type(model).__qualname__,
            expected="a model that was called on a batch, trained or loaded",
            hint="Call it on a batch first",
        )


def scores(out: Any) -> npt.NDArray[Any]:
    """Return a model's output as an array.

    Raises:
        ModelError: It is not one tensor.
    """
    if isinstance(out, list | tuple) and len(out) == 1:
        out = out[0]
    if not tf.is_tensor(out):
        raise ModelError(
            "the model does not return a tensor",
            received=type(out).__qualname__,
            expected="a tensor of shape (n,) or (n, 1)",
            hint="Wrap a model or function that picks one output",
        )
    if out.dtype in {tf.float16, tf.bfloat16}:  # NumPy has no bfloat16
        out = tf.cast(out, tf.float32)
    return np.asarray(out)


def _tensor(value: Any) -> Any:
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray | list | float | int) else value
