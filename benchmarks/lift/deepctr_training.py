"""The minibatch loop of :mod:`benchmarks.lift.training` for tf_keras models: one compiled step, the rows in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.lift.deepctr_models import tf
from nid_plugins.metrics import log_loss

if TYPE_CHECKING:
    from benchmarks.lift.data import Part
    from benchmarks.lift.training import Fit

SMALLEST = 1e-10
"""Added to the root of Adagrad's sums, as in PyTorch."""


class Predictor:
    """Logits of a model that returns probabilities, by one compiled function."""

    def __init__(self, model: Any) -> None:
        self._names = [tensor.name for tensor in model.inputs]

        @tf.function(input_signature=[tf.TensorSpec((None, len(self._names)), tf.int32)])
        def forward(rows: Any) -> Any:
            return tf.reshape(model(inputs_of(rows, self._names), training=False), [-1])

        self._forward = forward

    def __call__(self, rows: npt.NDArray[np.float64], batch: int = 8192) -> npt.NDArray[np.float64]:
        """Return logits, shape (n,), of rows of shape (n, p), columns in schema order."""
        whole = rows.astype(np.int32)
        parts = [self._forward(whole[i : i + batch]).numpy() for i in range(0, len(whole), batch)]
        p = np.clip(np.concatenate(parts).astype(np.float64), 1e-7, 1 - 1e-7)
        return np.log(p) - np.log1p(-p)


def inputs_of(rows: Any, names: list[str]) -> dict[str, Any]:
    """Return a matrix of ids as the model's inputs, (n, 1) each; a model declares its inputs in schema order."""
    return dict(zip(names, tf.split(rows, len(names), axis=1), strict=True))


def group_of(model: Any) -> dict[Any, str]:
    """Return the group of every trainable variable: linear tables, deep tables, injected crosses, and the rest."""
    layers = list(model._flatten_layers())  # noqa: SLF001  layers inside layers are not in model.layers
    groups = {v.ref(): "rest" for v in model.trainable_variables}
    for layer in layers:
        if isinstance(layer, tf.keras.layers.Embedding):
            groups[layer.embeddings.ref()] = "linear" if layer.output_dim == 1 else "deep"
    for layer in layers:
        if type(layer).__name__ == "CrossTower":
            groups.update((v.ref(), "cross") for v in layer.trainable_variables)
    return groups


def stepper(model: Any, x: Any, y: Any, fit: Fit) -> Any:
    """Return a compiled function that takes row numbers and makes one step of Adagrad.

    Decay is L2 on the mean loss, of whole tables, whatever rows a batch holds.
    """
    names = [tensor.name for tensor in model.inputs]
    rates = {"linear": fit.rate if fit.rate_linear is None else fit.rate_linear, "cross": fit.rate_cross}
    decays = {
        "linear": fit.decay if fit.decay_linear is None else fit.decay_linear,
        "deep": fit.decay,
        "cross": fit.decay_cross,
        "rest": fit.decay_dense,
    }
    groups = group_of(model)
    variables = model.trainable_variables
    sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)])
    def step(index: Any) -> None:
        with tf.GradientTape() as tape:
            p = tf.reshape(model(inputs_of(tf.gather(x, index), names), training=True), [-1])
            loss = tf.reduce_mean(tf.keras.backend.binary_crossentropy(tf.gather(y, index), p))
        for v, total, g in zip(variables, sums, tape.gradient(loss, variables), strict=True):
            if g is None:
                continue
            group = groups[v.ref()]
            slope = tf.convert_to_tensor(g) + decays[group] * v
            grown = total.assign_add(tf.square(slope))
            v.assign_sub(rates.get(group, fit.rate) * slope / (tf.sqrt(grown) + SMALLEST))

    return step


def train(model: Any, train_part: Part, valid_part: Part, fit: Fit, *, seed: int) -> list[float]:
    """Fit a model in place; it ends with the weights of its best validation log-loss.

    Returns:
        The validation log-losses, the first before any step.
    """
    x = tf.constant(train_part.rows.astype(np.int32))
    y = tf.constant(train_part.labels.astype(np.float32))
    step, predict = stepper(model, x, y, fit), Predictor(model)
    rng = np.random.default_rng(seed)
    history = [log_loss(valid_part.labels, predict(valid_part.rows))]
    best, state, waited = history[0], model.get_weights(), 0
    steps = int(np.ceil(len(train_part) / fit.batch))
    marks = {round(steps * (k + 1) / fit.checks) - 1 for k in range(fit.checks)}
    for _ in range(fit.epochs):
        order = rng.permutation(len(train_part)).astype(np.int32)
        for number in range(steps):
            step(order[number * fit.batch : (number + 1) * fit.batch])
            if number in marks:
                history.append(log_loss(valid_part.labels, predict(valid_part.rows)))
                if history[-1] < best - 1e-6:
                    best, state, waited = history[-1], model.get_weights(), 0
                else:
                    waited += 1
                    if waited >= fit.patience:
                        model.set_weights(state)
                        return history
    model.set_weights(state)
    return history
