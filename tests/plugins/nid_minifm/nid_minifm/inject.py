"""Giving crosses to a model of minifm."""

from __future__ import annotations

import copy

from nid_minifm.model import MinifmPredictor, schema_of
from nid_minifm.tower import CrossTower
from nid_plugins import UnsupportedError
from nid_plugins.adapting import TowerOptions, check_members, check_names, probed_output


def inject(model, crosses, mode, options):
    """Return a copy of the model with a tower of crosses as a further layer."""
    if mode != "residual":
        raise UnsupportedError(
            "models of minifm are not rebuilt", received=f"mode={mode!r}", expected='"residual"'
        )
    check_names(options, ("dim", "embeddings", "seed"), "unknown option of inject")
    options = TowerOptions.of(crosses, **options)
    declared = schema_of(model)
    check_members(crosses, declared)
    if embeddings_of(model):
        raise UnsupportedError("the model has crosses already", received=list(embeddings_of(model)))
    probed_output(MinifmPredictor(model, declared, "auto", "auto"), crosses, "logit", schema=declared)
    target = copy.deepcopy(model)
    target.layers.append(CrossTower(crosses, options))
    return target


def embeddings_of(model):
    """Return the embeddings of a model's crosses; empty when it has none."""
    towers = [layer for layer in model.layers if isinstance(layer, CrossTower)]
    return {name: table for tower in towers for name, table in tower.embeddings().items()}
