"""A worked plug-in for nid-plugins."""

from __future__ import annotations
