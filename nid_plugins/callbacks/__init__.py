"""What watches a model while it trains, and what gives it crosses on the way; the same for every framework."""

from __future__ import annotations

from nid_plugins.callbacks.drift import Drift
from nid_plugins.callbacks.injector import CrossInjector
from nid_plugins.callbacks.monitor import InteractionMonitor
from nid_plugins.callbacks.record import Check
from nid_plugins.callbacks.shell import MonitorShell
from nid_plugins.callbacks.sinks import JsonLinesSink, MLflowSink, Sink, TensorBoardSink

__all__ = [
    "Check",
    "CrossInjector",
    "Drift",
    "InteractionMonitor",
    "JsonLinesSink",
    "MLflowSink",
    "MonitorShell",
    "Sink",
    "TensorBoardSink",
]
