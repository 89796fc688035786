"""What the entry point names: the hook, and nothing heavy at the top of the module."""

from __future__ import annotations

from nid_plugins import hookimpl


@hookimpl
def nid_register_detectors(register):
    """Add the detector."""
    from nid_forest.detector import ForestH

    register(ForestH())
