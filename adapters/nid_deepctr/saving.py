"""Configs of DeepCTR's layers that describe them: a few leave something out, and a file then loads as another model."""

from __future__ import annotations

from typing import Any

import tf_keras
from deepctr.layers.core import RegulationModule
from deepctr.layers.interaction import InteractingLayer

from nid_deepctr.graph import layers_in

_PLAIN = (bool, int, float, str, type(None))


def made_again(layer: Any, config: dict[str, Any]) -> Any:
    """Return the layer that a config describes, with the settings of ``layer`` that its own config leaves out."""
    made = type(layer).from_config(config)
    for name in left_out(layer, made):
        setattr(made, name, getattr(layer, name))
    return made


def left_out(layer: Any, made: Any) -> list[str]:
    """Return names of settings that a layer's config left out or changed, ``made`` being what it describes.

    Only DeepCTR's layers are looked at: they keep what they were given in attributes of that name.
    """
    if not type(layer).__module__.startswith("deepctr."):
        return []
    ours = vars(tf_keras.layers.Layer()).keys()  # what Keras keeps for any layer
    settings = [name for name in vars(made) if name not in ours and not name.startswith("_")]
    return [
        name
        for name in settings
        if isinstance(getattr(layer, name, ()), _PLAIN)
        and isinstance(getattr(made, name), _PLAIN)
        and getattr(layer, name) != getattr(made, name)
    ]


def saveable(model: Any) -> Any:
    """Make a model of our own describe its layers in full, so that what is loaded from a file is the same; return it.

    ``InteractingLayer`` (DIFM) leaves ``scaling`` out of its config. ``RegulationModule`` (EDCN) puts the reciprocal of
    the ``tau`` it was given there. A ``Lambda`` whose mask is a list (FGCNN) has no config: a list of None says no more
    than no mask. Files written so are loaded by DeepCTR's own classes.
    """
    for layer in layers_in(model):
        if isinstance(layer, InteractingLayer):
            _describe(layer, {"scaling": layer.scaling})
        elif isinstance(layer, RegulationModule):
            _describe(layer, {"tau": 1.0 / layer.tau})
        elif isinstance(layer, tf_keras.layers.Lambda) and layer.mask == [None] * len(layer.mask or []):
            layer.mask = None
    return model


def _describe(layer: Any, settings: dict[str, Any]) -> None:
    plain = layer.get_config
    if left_out(layer, type(layer).from_config(plain())):
        layer.get_config = lambda: {**plain(), **settings}
