"""What watches a model while it trains, and what gives it crosses on the way; the same for every framework."""

from __future__ import annotations

from nid_plugins.callbacks.injector import CrossInjector

__all__ = ["CrossInjector"]
