"""An adapter of nid-plugins for minifm, to copy from: ``docs/plugins/adapters.md`` explains it."""

from __future__ import annotations
