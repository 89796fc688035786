"""Faults of the worked adapter, to be registered by name, and what they are made with."""

from __future__ import annotations

FAULTS = {}


def fault(test, **arguments):
    """Register a function that spoils the adapter or the case; it is given what it asks for by name."""

    def register(function):
        FAULTS[f"{test}: {function.__name__}"] = (test, arguments, function)
        return function

    return register


class Parts:
    """The modules of the worked adapter, and ways to change them."""

    def __init__(self, monkeypatch):
        import minifm
        from nid_minifm import inject, model, plugin, tower

        self.minifm, self.inject, self.model, self.plugin, self.tower = minifm, inject, model, plugin, tower
        self.adapter, self.predictor = plugin.MinifmAdapter, model.MinifmPredictor
        self.set = monkeypatch.setattr

    def around(self, owner, name, change):
        """Have a function return what ``change`` makes of its result and its arguments."""
        before = getattr(owner, name)
        self.set(owner, name, lambda *args, **options: change(before(*args, **options), *args))


def nothing(*args, **options):
    """What is put in place of a check."""


def columns_of(predictor, rows):
    return {name: rows[:, j] for j, name in enumerate(predictor._names)}
