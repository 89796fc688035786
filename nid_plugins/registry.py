"""What plug-ins register: one registry a kind, each entry checked when it comes in."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from nid_plugins.errors import PluginError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing plug-ins register.

    Attributes:
        name: In the singular, e.g. ``"detector"``.
        base: Path ``"module:class"`` of the class its instances have, or None when any object with a name will do.
    """

    name: str
    base: str | None = None

    @property
    def hook(self) -> str:
        """Name of the hook it is registered in."""
        return f"nid_register_{self.name}s"

    def base_class(self) -> type | None:
        """Import the class; done only once something of the kind is registered."""
        if self.base is None:
            return None
        module, _, name = self.base.partition(":")
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, type)
        return found


KINDS = (
    Kind("adapter", "nid_plugins.adapter:Adapter"),
    Kind("detector", "nid_plugins.detection.detector:Detector"),
    Kind("baseline", "nid_plugins.detection.baselines:Baseline"),
    Kind("executor", "nid_plugins.detection.executors:Executor"),
    Kind("domain", "nid_plugins.domains.domain:Domain"),
    Kind("command", "click:Command"),
)


class Registry:
    """The things of one kind that are registered, by name.

    Attributes:
        kind: Their kind.
        objects: Name to thing, in the order they came.
        collected: Whether the plug-ins have been asked for theirs.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.objects: dict[str, Any] = {}
        self.collected = False
        self._owners: dict[str, str] = {}

    def add(self, thing: object, plugin: str) -> None:
        """Add a thing on behalf of a plug-in.

        Raises:
            PluginError: It is a class, has no name, is of the wrong class, or its name is taken.
        """
        what = f"plug-in {plugin!r} registered an unusable {self.kind.name}"
        if isinstance(thing, type):
            raise PluginError(
                what,
                received=f"the class {thing.__qualname__}",
                expected="an instance",
                hint="Call the class first",
            )
        base = self.kind.base_class()
        if base is not None and not isinstance(thing, base):
            raise PluginError(
                what,
                received=f"an instance of {type(thing).__qualname__}",
                expected=f"an instance of {base.__module__}.{base.__qualname__}",
            )
        name = getattr(thing, "name", None)
        if not isinstance(name, str) or not name:
            raise PluginError(
                what,
                received=f"an instance of {type(thing).__qualname__} with name {name!r}",
                expected="a name that is a non-empty string",
            )
        if self.kind.name == "adapter":
            _check_classes(thing, what)
        if name in self.objects:
            raise PluginError(
                f"{what}: the name {name!r} is taken by that of plug-in {self._owners[name]!r}",
                hint="Rename it, or block the other plug-in",
            )
        self.objects[name] = thing
        self._owners[name] = plugin

    def drop(self, plugin: str) -> None:
        """Forget what a plug-in registered."""
        for name in [name for name, owner in self._owners.items() if owner == plugin]:
            del self.objects[name], self._owners[name]


def _check_classes(adapter: object, what: str) -> None:
    # A bare string would match by substring, silently claiming other people's models.
    classes = getattr(adapter, "classes", None)
    if not isinstance(classes, tuple | list) or not all(
        isinstance(path, str) and "." in path for path in classes
    ):
        raise PluginError(
            what,
            received=f"{getattr(adapter, 'name', '')!r} with classes {classes!r}",
            expected='a tuple of full class paths, e.g. ("torch.nn.modules.module.Module",)',
        )
