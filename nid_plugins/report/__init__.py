"""Reports: what a detection found, and how far it can be trusted."""

from __future__ import annotations

from nid_plugins.report.report import Interaction, InteractionReport

__all__ = ["Interaction", "InteractionReport"]
