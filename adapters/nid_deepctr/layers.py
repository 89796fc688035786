"""What a model rebuilt with crosses is made of besides DeepCTR's own layers.

Importing this registers it and the layers of :mod:`nid_keras.tf_keras2`, so that ``tf_keras.models.load_model`` finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tf_keras
from nid_keras.tf_keras2 import Corrected, CrossIds, CrossTower

from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

__all__ = ["Corrected", "CrossColumns", "CrossIds", "CrossTower", "GivenEmbeddings"]

_registered = tf_keras.saving.register_keras_serializable(package="nid_plugins")


@_registered
class CrossColumns(tf_keras.layers.Layer):  # type: ignore[misc]
    """Splits cross ids into one tensor a cross, as DeepCTR takes its columns.

    Args:
        columns: Cross name to name of the column it is in the model inside, in the order of the ids.
        **kwargs: Of a Keras layer.

    Shapes:
        Input: (n, K). Output: K tensors (n, 1).
    """

    def __init__(self, columns: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crosses = tuple(columns)
        self.columns = tuple(columns.values())

    def call(self, inputs: Any) -> list[Any]:
        """Return the ids of each cross."""
        return list(tf.split(inputs, len(self.columns), axis=1))

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        config: dict[str, Any] = super().get_config()
        return {**config, "columns": dict(zip(self.crosses, self.columns, strict=True))}


@_registered
class GivenEmbeddings(tf_keras.initializers.Initializer):  # type: ignore[misc]
    """Embeddings of a cross to start from, as the ``embeddings_initializer`` of a column.

    The values are not part of its config: what is loaded from a file has its weights from there.

    Args:
        values: Shape (V + 1, dim); None: zeros.
    """

    def __init__(self, values: npt.NDArray[np.floating] | None = None) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Return the values.

        Raises:
            SettingError: The table has another shape.
        """
        if self.values is None:
            return tf.zeros(shape, dtype or tf.float32)
        if tuple(shape) != self.values.shape:
            raise SettingError(
                "embeddings do not fit the fresh model's table",
                received=self.values.shape,
                expected=tuple(shape),
                hint="Use the columns the builder is called with as they are",
            )
        return tf.constant(self.values, dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Return nothing: see the class."""
        return {}
