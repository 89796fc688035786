"""Which Keras a model is of: Keras 3 or tf_keras, told by the path of its class."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from nid_plugins.adapter import class_paths
from nid_plugins.errors import UnsupportedError

LAYERS = {"keras": "nid_keras.keras3", "tf_keras": "nid_keras.tf_keras2"}
"""Module of layers by Keras."""


def keras_of(model: object) -> Any:
    """Return the Keras a model is of, the module ``keras`` or ``tf_keras``.

    Raises:
        UnsupportedError: It is of neither, or of Keras 3 on another backend than TensorFlow.
    """
    packages = {path.partition(".")[0] for path in class_paths(model)}
    if "tf_keras" in packages:
        return sys.modules["tf_keras"]
    if "keras" not in packages:
        raise UnsupportedError(
            "not a Keras model", received=type(model).__qualname__, expected="keras.Model or tf_keras.Model"
        )
    keras = sys.modules["keras"]
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UnsupportedError(
            "Keras runs on another backend than TensorFlow",
            received=f"KERAS_BACKEND={backend}",
            expected="KERAS_BACKEND=tensorflow, set before keras is imported",
            hint="Or wrap a function that calls the model: nid.wrap(lambda columns: ..., schema, output=...)",
        )
    return keras


def layers_for(keras: Any) -> Any:
    """Return the module of layers made for a Keras; importing it registers them for loading."""
    return importlib.import_module(LAYERS[keras.__name__.partition(".")[0]])


def layers_of(model: object) -> Any:
    """Return the module of layers made for the Keras a model is of; see :func:`keras_of`."""
    return layers_for(keras_of(model))
