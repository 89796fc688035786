"""Cross features: bins, keys, truncated vocabularies, screening by held-out gain, storage without pickle."""

from __future__ import annotations

from nid_plugins.crosses.embeddings import load_embeddings
from nid_plugins.crosses.features import CrossFeatures, fit_crosses
from nid_plugins.crosses.screen_report import ScreenedCross, ScreenReport
from nid_plugins.crosses.screening import screen
from nid_plugins.crosses.vocabulary import Cross

__all__ = [
    "Cross",
    "CrossFeatures",
    "ScreenReport",
    "ScreenedCross",
    "fit_crosses",
    "load_embeddings",
    "screen",
]
