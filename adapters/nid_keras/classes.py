"""The classes of layers, models and callbacks for one Keras, made from what both have in common."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nid_keras.callbacks import InteractionMonitorMixin
from nid_keras.crossed import CrossedModelMixin, FrozenMixin
from nid_keras.ids import CrossIdsMixin
from nid_keras.injector import CrossInjectorMixin
from nid_keras.layers import CorrectedMixin, CrossEmbeddingMixin, CrossTowerMixin
from nid_keras.reserved import ReservedTowerMixin

_SAVED = (
    CorrectedMixin,
    CrossEmbeddingMixin,
    CrossIdsMixin,
    CrossTowerMixin,
    FrozenMixin,
    ReservedTowerMixin,
)


def classes_for(keras: Any, module: str) -> SimpleNamespace:
    """Return the classes for a Keras by name, layers and model registered with it for loading.

    Args:
        keras: The module ``keras`` or ``tf_keras``.
        module: Name of the module that holds the classes, where pickle looks them up.
    """
    registered = keras.saving.register_keras_serializable(package="nid_plugins")

    def made(mixin: type, base: type) -> Any:
        body = {"__module__": module, "__doc__": mixin.__doc__, "keras": keras, "layers_module": module}
        return type(mixin.__name__.removesuffix("Mixin"), (mixin, base), body)

    found = [registered(made(mixin, keras.layers.Layer)) for mixin in _SAVED]
    found.append(registered(made(CrossedModelMixin, keras.Model)))
    found += [
        made(mixin, keras.callbacks.Callback) for mixin in (CrossInjectorMixin, InteractionMonitorMixin)
    ]
    return SimpleNamespace(**{cls.__name__: cls for cls in found})
