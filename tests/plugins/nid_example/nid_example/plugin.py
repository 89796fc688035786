"""What the entry point names: the hooks, and nothing heavy at the top of the module."""

from __future__ import annotations

from nid_plugins import hookimpl


@hookimpl
def nid_register_detectors(register):
    """Add the detector."""
    from nid_example.detector import PairCorrelation

    register(PairCorrelation())


@hookimpl
def nid_register_adapters(register):
    """Add the adapter. It knows its framework's classes by path, and imports them only when it meets one."""
    from nid_example.adapter import ExampleAdapter

    register(ExampleAdapter())
