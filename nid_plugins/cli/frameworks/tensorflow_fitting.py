"""Training a model of Keras 3 or tf_keras on TensorFlow, a whole pass in one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nid_plugins.cli.frameworks.base import EPSILON, Fitting, Floats
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.cli.frameworks.base import Recipe
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class TensorFlowFitting(Fitting):
    """A model in training.

    Two functions are traced, a pass and a prediction. Their steps have no Python between them, which would cost more
    than the arithmetic of a model this small.

    Args:
        keras: The Keras the model is of: ``keras`` or ``tf_keras``.
        model: Takes a dict of field name to tensor and returns probabilities; trained in place.
        schema: Its fields.
        rows: Training rows, shape (n, p).
        clicks: Their clicks, shape (n,).
        recipe: Learning rate and batch.
        shape: What the model's inputs have after the rows: ``()`` or ``(1,)``.
    """

    def __init__(
        self,
        keras: Any,
        model: Any,
        schema: FeatureSchema,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
        *,
        shape: tuple[int, ...] = (),
    ) -> None:
        self._model = model
        self._schema = schema
        self._shape = shape
        self._optimiser = keras.optimizers.Adam(recipe.rate)
        self._optimiser.build(model.trainable_variables)
        columns, labels, batch = self._columns(rows), tf.constant(clicks.astype(np.float32)), recipe.batch

        def epoch(order: Any) -> None:
            for start in tf.range(0, tf.size(order), batch):
                part = order[start : start + batch]
                inputs = {name: tf.gather(own, part) for name, own in columns.items()}
                self._step(inputs, tf.gather(labels, part))

        def predict(inputs: Any) -> Any:
            return model(inputs, training=False)

        # Traced here, once, for any number of rows.
        self._epoch = tf.function(epoch).get_concrete_function(tf.TensorSpec([None], tf.int64))
        self._predict = tf.function(predict).get_concrete_function(
            {name: tf.TensorSpec([None, *shape], own.dtype) for name, own in columns.items()}
        )

    def epoch(self, order: npt.NDArray[np.int64]) -> None:
        """Make one pass over the training rows."""
        self._epoch(tf.constant(order))

    def logits(self, rows: FloatMatrix) -> Floats:
        """Return the model's logits, shape (n,)."""
        out = self._predict(self._columns(rows)).numpy().reshape(-1).astype(np.float64)
        probability = np.clip(out, EPSILON, 1 - EPSILON)
        logit: Floats = np.log(probability) - np.log1p(-probability)
        return logit

    def state(self) -> Any:
        """Return a copy of all weights."""
        return self._model.get_weights()

    def restore(self, state: Any) -> None:
        """Set all weights to a copy taken before."""
        self._model.set_weights(state)

    def slower(self, factor: float) -> None:
        """Multiply the learning rate."""
        # A variable the graph reads: there is no new trace.
        self._optimiser.learning_rate = float(self._optimiser.learning_rate.numpy()) * factor

    def _step(self, columns: dict[str, Any], labels: Any) -> None:
        trained = self._model.trainable_variables
        with tf.GradientTape() as tape:
            out = tf.reshape(self._model(columns, training=True), [-1])
            probability = tf.clip_by_value(out, EPSILON, 1 - EPSILON)
            likely = labels * tf.math.log(probability) + (1 - labels) * tf.math.log(1 - probability)
            loss = tf.add_n([-tf.reduce_sum(likely), *(tf.reduce_sum(own) for own in self._model.losses)])
        self._optimiser.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))

    def _columns(self, rows: FloatMatrix) -> dict[str, Any]:
        return {
            field.name: tf.constant(
                rows[:, j]
                .astype(np.int32 if isinstance(field, SparseField) else np.float32)
                .reshape(-1, *self._shape)
            )
            for j, field in enumerate(self._schema)
        }
