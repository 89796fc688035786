"""The layers and callbacks for tf_keras. Importing this registers the layers, so that ``tf_keras.models.load_model`` finds them."""

from __future__ import annotations

import tf_keras

from nid_keras.classes import classes_for

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

_made = classes_for(tf_keras, __name__)

Corrected = _made.Corrected
CrossedModel = _made.CrossedModel
CrossEmbedding = _made.CrossEmbedding
CrossIds = _made.CrossIds
CrossInjector = _made.CrossInjector
CrossTower = _made.CrossTower
Frozen = _made.Frozen
InteractionMonitor = _made.InteractionMonitor
ReservedTower = _made.ReservedTower
