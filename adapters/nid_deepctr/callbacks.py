"""The callbacks for DeepCTR's models, which are those for tf_keras."""

from __future__ import annotations

from nid_keras.tf_keras2 import CrossInjector, InteractionMonitor

__all__ = ["CrossInjector", "InteractionMonitor"]
