"""Whether a DeepCTR model returns a probability or a logit, told from its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tf_keras
from deepctr.layers.core import PredictionLayer
from deepctr.layers.utils import Concat, NoMask
from nid_keras.declared import declared_output

from nid_deepctr.graph import model_of

if TYPE_CHECKING:
    from nid_plugins.adapter import Output

_TASKS: dict[str, Output] = {"binary": "probability", "regression": "logit"}


def task_output(model: Any) -> Output:
    """Return what a model with one output returns; ``"auto"`` if its layers do not say.

    MLR ends in a mixture of its learners' scores; of other models the head's own task or activation counts.
    """
    known = declared_output(model)
    return _kind(model.outputs[0]) if known == "auto" else known


def _kind(tensor: Any) -> Output:
    layer, index, position = tensor._keras_history  # noqa: SLF001 - there is no other way to it
    inner = model_of(layer)
    if inner is not None:
        return _kind(inner.outputs[position])
    if isinstance(layer, PredictionLayer):
        return _TASKS.get(layer.task, "auto")
    if isinstance(layer, tf_keras.layers.Activation) and layer.activation is tf_keras.activations.softmax:
        return "probability"  # the weights of a mixture
    if not isinstance(layer, tf_keras.layers.Dot | Concat | NoMask):
        return "auto"
    kinds = {_kind(own) for own in layer.inbound_nodes[index].keras_inputs}
    if isinstance(layer, tf_keras.layers.Dot) and kinds == {"probability", "logit"}:
        return "logit"
    return kinds.pop() if len(kinds) == 1 else "auto"
