"""A SavedModel as a function of rows: one of its signatures, called as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_keras.saved_model_plugin import leads_to_saved_model
from nid_keras.signatures import Input, feeder
from nid_plugins.adapter import Output, Predictor
from nid_plugins.errors import ArtefactError, ModelError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

DEFAULT = "serving_default"
"""Name of the signature that is taken when none is named."""

# Operations that may change a variable begin so; reading and gathering begin so too, and calls.
_WRITING = ("Assign", "Resource", "Rng", "Scatter", "Stateful")
_READING = ("ResourceGather", "StatefulPartitionedCall", "StatelessPartitionedCall")


@dataclass(frozen=True)
class Signature:
    """One signature of a SavedModel, and one of its outputs: what to wrap where there are several of either.

    ``nid.wrap(Signature("exported", name="predict", output="probabilities"), schema)``

    Args:
        source: Path of the folder, what ``tf.saved_model.load`` returned, or a signature of it.
        name: The signature's name. By default ``"serving_default"``, else the only one.
        output: The output's name. By default the only one.
    """

    source: Any
    name: str | None = None
    output: str | None = None


class SavedModelPredictor(Predictor):
    """A signature as a function of rows.

    The concrete function is called directly; variables that it writes to, such as counters and generators, have their
    values again afterwards. TensorFlow's, NumPy's and Python's random states are not used.

    Args:
        model: Path of a SavedModel, what ``tf.saved_model.load`` returned, a signature of it, or a :class:`Signature`.
        schema: The fields.
        inputs: How the signature takes a batch; see :func:`nid_keras.signatures.feeder`.
        output: What it returns. ``"auto"``: only the values can tell.

    Raises:
        ArtefactError: The folder is no SavedModel, or a damaged one.
        SettingError: There is no such signature or output, or several and none is named; the inputs are not the fields.
        SchemaError: An input's dtype cannot hold the values of its field.
        UnsupportedError: TensorFlow runs without eager execution.
    """

    def __init__(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> None:
        chosen = model if isinstance(model, Signature) else Signature(model)
        if not tf.executing_eagerly():
            raise UnsupportedError(
                "SavedModels are called eagerly, and eager execution is off",
                hint="Do not call tf.compat.v1.disable_eager_execution in this process",
            )
        source = loaded(chosen.source) if isinstance(chosen.source, str | PurePath) else chosen.source
        self._root = source  # holds the variables
        self._function = signature_of(source, chosen.name)
        self._feeds = feeder(inputs_of(self._function), schema, inputs)
        self._output = output_of(self._function, chosen.output)
        self._session = Session(self._function)
        self.output = output

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the signature's output for rows (n, p)."""
        feeds = {name: tf.convert_to_tensor(value) for name, value in self._feeds(rows).items()}
        with self._session:
            out = self._function(**feeds)[self._output]
        if not isinstance(out, tf.Tensor):
            raise ModelError(
                "the model does not return a dense tensor",
                received=type(out).__qualname__,
                expected="shape (n,) or (n, 1)",
            )
        if out.dtype in {tf.bfloat16, tf.float16}:
            out = tf.cast(out, tf.float32)
        return np.asarray(out.numpy())

    def session(self) -> Session:
        """Return a context at whose end the model's variables are as they were."""
        return self._session


def loaded(path: str | PurePath) -> Any:
    """Return a SavedModel from disk.

    Raises:
        ArtefactError: There is none, or it cannot be read.
    """
    if not leads_to_saved_model(path):
        raise ArtefactError(
            "there is no SavedModel",
            received=str(path),
            expected="a folder with saved_model.pb and variables/",
        )
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:
        text = str(error).strip().split("\n", maxsplit=1)[0]
        raise ArtefactError(
            "the SavedModel cannot be loaded",
            received=f"{path}: {type(error).__name__}: {text}",
            expected="a complete folder, as tf.saved_model.save or model.export writes it",
            hint="Export or copy it again; a model with custom operations needs their library loaded first",
        ) from error


def signature_of(source: Any, name: str | None = None) -> Any:
    """Return the concrete function of a signature: the named one, else ``"serving_default"``, else the only one.

    Raises:
        SettingError: There is none of that name, none at all, or several and none is named.
        UnsupportedError: Neither a loaded SavedModel nor a signature.
    """
    if not hasattr(source, "signatures"):
        if not hasattr(source, "structured_input_signature"):
            raise UnsupportedError(
                "not a SavedModel",
                received=type(source).__qualname__,
                expected="a path, what tf.saved_model.load returned, or a signature of it",
            )
        if name is not None:
            raise SettingError(
                "a signature is chosen already", received=f"name={name!r}", hint="Leave the name out"
            )
        return source
    known = dict(source.signatures.items())
    if name is None:
        name = DEFAULT if DEFAULT in known else next(iter(known)) if len(known) == 1 else None
    if isinstance(name, str) and name in known:
        return known[name]
    if not known:
        raise SettingError(
            "the SavedModel has no signatures",
            received="none",
            expected="one that takes the fields and returns one score a row",
            hint="Save it with signatures= (tf.saved_model.save) or by model.export",
        )
    raise SettingError(
        "there are several signatures, none of them the default" if name is None else "no such signature",
        received="no name" if name is None else repr(name),
        expected=f"one of {sorted(known)}",
        hint='Wrap loaded.signatures["name"], or nid_keras.saved_model.Signature(path, name="name")',
    )


def inputs_of(function: Any) -> list[Input]:
    """Return a signature's inputs, sorted by name."""
    _, specs = function.structured_input_signature
    return [
        Input(
            name,
            None if spec.shape.rank is None else tuple(spec.shape.as_list()),
            spec.dtype.name,
            spec.dtype.as_numpy_dtype,
        )
        for name, spec in sorted(specs.items())
    ]


def output_of(function: Any, name: str | None = None) -> str:
    """Return the name of a signature's output: the one asked for, else the only one.

    Raises:
        SettingError: There is none of that name, or several and none is named.
    """
    outputs = function.structured_outputs
    if name is None and len(outputs) == 1:
        return str(next(iter(outputs)))
    if isinstance(name, str) and name in outputs:
        return name
    raise SettingError(
        "the signature has several outputs" if name is None else "no such output",
        received="no name" if name is None else repr(name),
        expected=f"one of {sorted(f'{own}: {spec.dtype.name} {spec.shape}' for own, spec in outputs.items())}",
        hint='Wrap nid_keras.saved_model.Signature(path, output="name")',
    )


class Session:
    """A context at whose end the variables a function writes to have their values again.

    Most served functions write to none, which is looked up once; then it costs nothing.

    Args:
        function: A concrete function.
    """

    def __init__(self, function: Any) -> None:
        self._variables = list(function.variables) if writes(function) else []
        self._before: list[Any] = []
        self._depth = 0

    def __enter__(self) -> None:
        if not self._depth:
            self._before = [variable.read_value() for variable in self._variables]
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            for variable, before in zip(self._variables, self._before, strict=True):
                variable.assign(before)
            self._before = []


def writes(function: Any) -> bool:
    """Return whether a function may change variables, by the operations in its graph."""
    graph = function.graph.as_graph_def()
    operations = {node.op for node in graph.node}
    for inner in graph.library.function:
        operations |= {node.op for node in inner.node_def}
    return any(op.startswith(_WRITING) and not op.startswith(_READING) for op in operations)
