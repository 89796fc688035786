"""Domains: text, images, tables, sequences and graphs, each with its own way of switching features off."""

from __future__ import annotations

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.domains.explanation import Feature, LocalExplanation, LocalInteraction
from nid_plugins.domains.graph import Graph
from nid_plugins.domains.image import Image
from nid_plugins.domains.sequence import Letters
from nid_plugins.domains.tabular import Tabular
from nid_plugins.domains.text import Text

__all__ = [
    "Domain",
    "Feature",
    "Features",
    "Graph",
    "Image",
    "Letters",
    "LocalExplanation",
    "LocalInteraction",
    "Tabular",
    "Text",
]
