"""Puts the framework and the plug-in where they can be imported, as installing them would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nid_plugins.plugins import PluginManager, use_manager

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def minifm_adapter():
    """A manager that knows the plug-in, as it would if that were installed."""
    from nid_minifm import plugin

    manager = PluginManager(entry_points=False, environ={})
    manager.register(plugin, "minifm")
    with use_manager(manager):
        yield manager.adapters()["minifm"]
