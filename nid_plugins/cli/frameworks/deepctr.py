"""``--framework deepctr``: the DeepFM of DeepCTR, on tf_keras."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.cli.frameworks import tensorflow
from nid_plugins.cli.frameworks.base import Fitting, Framework, Recipe, imported
from nid_plugins.errors import SchemaError, UnsupportedError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class DeepCTR(Framework):
    """DeepCTR, which runs on tf_keras."""

    name: ClassVar[str] = "deepctr"
    title: ClassVar[str] = "DeepCTR"
    extra: ClassVar[str] = "deepctr"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf_keras", "deepctr")

    def _load(self) -> None:
        if "tensorflow" not in sys.modules:
            os.environ["TF_USE_LEGACY_KERAS"] = "1"
        tensorflow.start()
        from tensorflow.keras.layers import Layer

        if not Layer.__module__.startswith("tf_keras"):
            raise UnsupportedError(
                "DeepCTR needs TF_USE_LEGACY_KERAS=1 in the environment before tensorflow is first imported, and in "
                "this process it was imported without"
            )
        imported("deepctr")

    def running(self) -> AbstractContextManager[object]:
        """Return a context in which TensorFlow keeps to the CPU."""
        return tensorflow.on_cpu()

    def deepfm(self, schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
        """Return a fresh DeepFM.

        Raises:
            SchemaError: DeepCTR cannot take a field of this name, or there is no categorical one.
        """
        _check(schema)
        import tf_keras
        from deepctr.feature_column import DenseFeat, SparseFeat
        from deepctr.models import DeepFM

        columns = [
            SparseFeat(
                field.name,
                field.cardinality,
                recipe.dim,
                # Of a seed of their own: with one for all, fields of the same size would start alike.
                embeddings_initializer=tf_keras.initializers.RandomNormal(
                    stddev=recipe.init_std, seed=1000 * seed + j
                ),
            )
            if isinstance(field, SparseField)
            else DenseFeat(field.name, 1)
            for j, field in enumerate(schema)
        ]
        tf_keras.utils.set_random_seed(seed)
        return DeepFM(
            columns,
            columns,
            dnn_hidden_units=recipe.hidden,
            dnn_dropout=recipe.dropout,
            l2_reg_embedding=recipe.l2,
            seed=seed,
        )

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
        """Return the means to train a DeepCTR model."""
        import tf_keras

        from nid_plugins.cli.frameworks.tensorflow_fitting import TensorFlowFitting

        return TensorFlowFitting(tf_keras, model, schema, rows, clicks, recipe, shape=(1,))


def _check(schema: FeatureSchema) -> None:
    if not schema.sparse:
        raise SchemaError(
            "DeepCTR's DeepFM needs a categorical field",
            received=f"dense fields only: {list(schema.names)}",
            hint="Use another --framework",
        )
    for field in schema.sparse:
        # Layers are named by them, and TensorFlow's scopes by those.
        if not re.fullmatch(r"[A-Za-z0-9_.\\/>-]*", field.name):
            raise SchemaError(
                "DeepCTR cannot take a field of this name",
                field=field.name,
                expected="letters of ASCII, digits and any of _ . \\ / > -",
                hint="Rename the column, or leave it out with --exclude",
            )
