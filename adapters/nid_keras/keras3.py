"""The layers and callbacks for Keras 3. Importing this registers the layers, so that ``keras.saving.load_model`` finds them."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from nid_keras.callbacks import InteractionMonitorMixin
from nid_keras.crossed import CrossedModelMixin, FrozenMixin
from nid_keras.ids import CrossIdsMixin
from nid_keras.injector import CrossInjectorMixin
from nid_keras.layers import CorrectedMixin, CrossEmbeddingMixin, CrossTowerMixin
from nid_keras.reserved import ReservedTowerMixin

__all__ = [
    "Corrected",
    "CrossEmbedding",
    "CrossIds",
    "CrossInjector",
    "CrossTower",
    "CrossedModel",
    "Frozen",
    "InteractionMonitor",
    "ReservedTower",
]

_registered = keras.saving.register_keras_serializable(package="nid_plugins")


@_registered
class CrossIds(CrossIdsMixin, keras.layers.Layer):  # type: ignore[misc]
    """Cross ids; see :class:`nid_keras.ids.CrossIdsMixin`."""


@_registered
class CrossEmbedding(CrossEmbeddingMixin, keras.layers.Layer):  # type: ignore[misc]
    """Cross embeddings; see :class:`nid_keras.layers.CrossEmbeddingMixin`."""


@_registered
class CrossTower(CrossTowerMixin, keras.layers.Layer):  # type: ignore[misc]
    """What crosses add to a logit; see :class:`nid_keras.layers.CrossTowerMixin`."""

    keras: ClassVar[Any] = keras


@_registered
class Corrected(CorrectedMixin, keras.layers.Layer):  # type: ignore[misc]
    """A model's output, corrected; see :class:`nid_keras.layers.CorrectedMixin`."""


@_registered
class CrossedModel(CrossedModelMixin, keras.Model):  # type: ignore[misc]
    """A model that declares no inputs, with crosses; see :class:`nid_keras.crossed.CrossedModelMixin`."""

    keras: ClassVar[Any] = keras
    layers_module: ClassVar[str] = __name__


@_registered
class Frozen(FrozenMixin, keras.layers.Layer):  # type: ignore[misc]
    """A model that stays as it is; see :class:`nid_keras.crossed.FrozenMixin`."""

    keras: ClassVar[Any] = keras


@_registered
class ReservedTower(ReservedTowerMixin, keras.layers.Layer):  # type: ignore[misc]
    """What crosses that are yet to be chosen add to a logit; see :class:`nid_keras.reserved.ReservedTowerMixin`."""

    keras: ClassVar[Any] = keras


class InteractionMonitor(InteractionMonitorMixin, keras.callbacks.Callback):  # type: ignore[misc]
    """Watches interactions while ``fit`` runs; see :class:`nid_keras.callbacks.InteractionMonitorMixin`."""


class CrossInjector(CrossInjectorMixin, keras.callbacks.Callback):  # type: ignore[misc]
    """Fills crosses in while ``fit`` runs; see :class:`nid_keras.injector.CrossInjectorMixin`."""
