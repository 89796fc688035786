"""Ask any CTR model which features it makes interact, and give those interactions back to it.

Everything public is an attribute of this module, imported on first use: ``import nid_plugins`` is fast and loads no
machine-learning framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nid_plugins import experiment
    from nid_plugins.adapter import Adapter, Predictor
    from nid_plugins.blackbox import BlackBox, wrap
    from nid_plugins.comparing import compare
    from nid_plugins.comparison import ModelComparison
    from nid_plugins.crosses import CrossFeatures, fit_crosses, load_embeddings, screen
    from nid_plugins.detection import detect
    from nid_plugins.errors import (
        ArtefactError,
        FrameError,
        MissingExtraError,
        ModelError,
        NidError,
        NidWarning,
        PluginError,
        SchemaError,
        SettingError,
        UnsupportedError,
    )
    from nid_plugins.explaining import explain
    from nid_plugins.injection import cross_embeddings, inject
    from nid_plugins.monitoring import monitor
    from nid_plugins.plugins import PluginManager, get_manager, hookimpl
    from nid_plugins.report import Interaction, InteractionReport
    from nid_plugins.schema import DenseField, FeatureSchema, SparseField

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "ArtefactError",
    "BlackBox",
    "CrossFeatures",
    "DenseField",
    "FeatureSchema",
    "FrameError",
    "Interaction",
    "InteractionReport",
    "MissingExtraError",
    "ModelComparison",
    "ModelError",
    "NidError",
    "NidWarning",
    "PluginError",
    "PluginManager",
    "Predictor",
    "SchemaError",
    "SettingError",
    "SparseField",
    "UnsupportedError",
    "__version__",
    "compare",
    "cross_embeddings",
    "detect",
    "experiment",
    "explain",
    "fit_crosses",
    "get_manager",
    "hookimpl",
    "inject",
    "load_embeddings",
    "monitor",
    "screen",
    "wrap",
]

_HOMES = {
    "nid_plugins.adapter": ("Adapter", "Predictor"),
    "nid_plugins.blackbox": ("BlackBox", "wrap"),
    "nid_plugins.comparing": ("compare",),
    "nid_plugins.comparison": ("ModelComparison",),
    "nid_plugins.crosses": ("CrossFeatures", "fit_crosses", "load_embeddings", "screen"),
    "nid_plugins.detection": ("detect",),
    "nid_plugins.errors": (
        "ArtefactError",
        "FrameError",
        "MissingExtraError",
        "ModelError",
        "NidError",
        "NidWarning",
        "PluginError",
        "SchemaError",
        "SettingError",
        "UnsupportedError",
    ),
    "nid_plugins.explaining": ("explain",),
    "nid_plugins.injection": ("cross_embeddings", "inject"),
    "nid_plugins.monitoring": ("monitor",),
    "nid_plugins.plugins": ("PluginManager", "get_manager", "hookimpl"),
    "nid_plugins.report": ("Interaction", "InteractionReport"),
    "nid_plugins.schema": ("DenseField", "FeatureSchema", "SparseField"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "experiment":
        return importlib.import_module("nid_plugins.experiment")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
