"""The plug-in manager a suite asks: with what it is to test, or an error that says what there is instead."""

from __future__ import annotations

import importlib

from nid_plugins.host import unknown
from nid_plugins.plugins import PluginManager


def manager_with(kind: str, name: str, plugin: str) -> PluginManager:
    """Return a manager with all that is installed, and a plug-in if it is not.

    Args:
        kind: What the plug-in registers, ``"adapter"`` or ``"detector"``.
        name: Its name.
        plugin: Full name of the plug-in's module.

    Raises:
        PluginError: The plug-in is unusable.
        SettingError: Nothing is registered under the name, by this plug-in or another.
    """
    manager = PluginManager()
    if name not in manager.collected(kind):
        module = importlib.import_module(plugin)
        if not manager.has(module):  # an installed one has registered all it has
            manager.register(module, plugin)
    known = manager.collected(kind)
    if name not in known:
        raise unknown(kind, name, known)
    return manager
