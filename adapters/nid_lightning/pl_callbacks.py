"""Callbacks for the trainer of ``pytorch_lightning``; those of ``lightning.pytorch`` are in ``callbacks``."""

from __future__ import annotations

from pytorch_lightning import Callback

from nid_lightning.injecting import InjectorHooks
from nid_lightning.monitoring import LoggerSink, MonitorHooks

__all__ = ["CrossInjector", "InteractionMonitor", "LoggerSink"]


class InteractionMonitor(MonitorHooks, Callback):
    """Watches a module of ``pytorch_lightning``; see :class:`nid_lightning.callbacks.InteractionMonitor`."""


class CrossInjector(InjectorHooks, Callback):
    """Puts crosses into a module of ``pytorch_lightning``; see :class:`nid_lightning.callbacks.CrossInjector`."""
