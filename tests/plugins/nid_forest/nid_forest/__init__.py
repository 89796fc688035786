"""A worked detector for nid-plugins: pairs read off a forest of randomised trees."""

from __future__ import annotations
