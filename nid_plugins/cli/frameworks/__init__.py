"""The frameworks of ``nid demo --framework``. Importing this package imports none of them."""

from __future__ import annotations

from nid_plugins.cli.frameworks.base import Fitting, Framework, Recipe
from nid_plugins.cli.frameworks.deepctr import DeepCTR
from nid_plugins.cli.frameworks.deepctr_torch import DeepCTRTorch
from nid_plugins.cli.frameworks.keras import Keras
from nid_plugins.cli.frameworks.torch import Torch

__all__ = ["FRAMEWORKS", "Fitting", "Framework", "Recipe"]

FRAMEWORKS: dict[str, Framework] = {own.name: own for own in (DeepCTRTorch(), Torch(), Keras(), DeepCTR())}
"""Frameworks by name."""
