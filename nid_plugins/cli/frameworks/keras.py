"""``--framework keras``: a functional model of Keras 3, on TensorFlow."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.cli.frameworks import tensorflow
from nid_plugins.cli.frameworks.base import Fitting, Framework, Recipe
from nid_plugins.errors import UnsupportedError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class Keras(Framework):
    """Keras 3: :func:`nid_plugins.cli.frameworks.keras_deepfm.deepfm`, which returns probabilities."""

    name: ClassVar[str] = "keras"
    title: ClassVar[str] = "Keras 3"
    extra: ClassVar[str] = "tensorflow"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras")

    def _load(self) -> None:
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = "tensorflow"
        tensorflow.start()
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UnsupportedError(
                "Keras runs on another backend in this process",
                received=keras.backend.backend(),
                expected="tensorflow",
                hint="Set KERAS_BACKEND=tensorflow before keras is first imported",
            )

    def running(self) -> AbstractContextManager[object]:
        """Return a context in which TensorFlow keeps to the CPU."""
        return tensorflow.on_cpu()

    def deepfm(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
        """Return a fresh DeepFM.

        Raises:
            SchemaError: Keras cannot take a field of this name.
        """
        from nid_plugins.cli.frameworks.keras_deepfm import deepfm

        return deepfm(schema, recipe, seed)

    def copied(self, model: Any, schema: FeatureSchema, recipe: Recipe) -> Any:
        """Return another DeepFM with the same weights."""
        copy = self.deepfm(schema, recipe, seed=0)
        copy.set_weights(model.get_weights())
        return copy

    def fitting(
        self,
        model: Any,
        schema: FeatureSchema,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
    ) -> Fitting:
        """Return the means to train a Keras model."""
        import keras

        from nid_plugins.cli.frameworks.tensorflow_fitting import TensorFlowFitting

        return TensorFlowFitting(keras, model, schema, rows, clicks, recipe)
