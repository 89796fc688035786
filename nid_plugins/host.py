"""The plug-in host: finds plug-ins, guards them from each other, and calls their hooks.

A plug-in that is broken is reported by its name, in :attr:`PluginHost.problems` and as a
:class:`~nid_plugins.errors.NidWarning`; the others go on working. Entry points are read when something is first asked
for, never at import.

Environment variables: ``NID_DISABLE_PLUGINS`` and ``NID_LOAD_PLUGINS`` (names separated by commas, the second one
the only entry points to load) and ``NID_TRACE_PLUGINS=1``.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy

from nid_plugins import __version__, hookspecs
from nid_plugins.errors import NidWarning, PluginError, SettingError
from nid_plugins.hookspecs import NAMESPACE
from nid_plugins.registry import KINDS, Registry
from nid_plugins.validation import hooks_of, one_line, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Source = Literal["built-in", "entry point", "registered"]

BUILTINS = {
    "detection": "nid_plugins.detection.builtin",
    "cli": "nid_plugins.cli.builtin",
    "domains": "nid_plugins.domains.builtin",
}
"""Plug-ins that are part of the package, by name."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What is known of a plug-in.

    Attributes:
        name: Its name: of the entry point, or as registered.
        version: Version of the distribution it came with, else its ``__version__``, else None.
        hooks: Names of the hooks it implements, sorted.
        source: How it came in.
    """

    name: str
    version: str | None
    hooks: tuple[str, ...]
    source: Source


class PluginHost:
    """A set of plug-ins, and what they registered by kind and name.

    Args:
        builtins: Built-in plug-ins to load, name to module path.
        entry_points: Whether to load plug-ins from the entry points of installed distributions.
        block: Names of plug-ins not to load, besides those in ``NID_DISABLE_PLUGINS``.
        trace: Whether to print every hook call to stderr; by default what ``NID_TRACE_PLUGINS`` says.
        environ: Environment variables.
    """

    def __init__(
        self,
        *,
        builtins: Mapping[str, str] = BUILTINS,
        entry_points: bool = True,
        block: Iterable[str] = (),
        trace: bool | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._pm = pluggy.PluginManager(NAMESPACE)
        self._pm.add_hookspecs(hookspecs)
        self._hook_names = frozenset(name for name in vars(hookspecs) if name.startswith("nid_"))
        self._builtins = dict(builtins)
        self._use_entry_points = entry_points
        self._only = _names(environ["NID_LOAD_PLUGINS"]) if "NID_LOAD_PLUGINS" in environ else None
        self._blocked = {*block, *_names(environ.get("NID_DISABLE_PLUGINS", ""))}
        self._infos: dict[str, PluginInfo] = {}
        self._seen: set[str] = set()
        self._registries = {kind.name: Registry(kind) for kind in KINDS}
        self._problems: list[str] = []
        self._unsaid: list[str] = []
        self._loaded = False
        self._lock = threading.RLock()
        if trace or (trace is None and environ.get("NID_TRACE_PLUGINS", "") not in {"", "0"}):
            self.trace()

    # Plug-ins

    def register(self, plugin: object, name: str) -> None:
        """Add a plug-in: a module or an instance with functions marked :data:`hookimpl`.

        Does nothing when the name is blocked.

        Raises:
            PluginError: The plug-in is unusable: a class, a misspelt hook, a wrong argument, a name already taken.
        """
        with self._lock:
            self._load()
            self._add(plugin, name, "registered", getattr(plugin, "__version__", None))

    def unregister(self, name: str) -> None:
        """Remove a plug-in and all it registered.

        Raises:
            SettingError: There is no plug-in of that name.
        """
        with self._lock:
            self._load()
            if name not in self._infos:
                raise unknown("plug-in", name, self._infos)
            self._drop(name)

    def block(self, name: str) -> None:
        """Keep a plug-in out, now and later; one that is there is removed with all it registered."""
        with self._lock:
            self._blocked.add(name)
            if name in self._infos:
                self._drop(name)

    def has(self, plugin: object) -> bool:
        """Return whether a plug-in, a module or an instance, is at work under any name."""
        with self._lock:
            self._load()
            return bool(self._pm.is_registered(plugin))

    def plugins(self) -> list[PluginInfo]:
        """Return the plug-ins at work, in the order they were loaded."""
        with self._lock:
            self._load()
            return list(self._infos.values())

    @property
    def names(self) -> frozenset[str]:
        """Names of all plug-ins met so far, at work, blocked or broken."""
        with self._lock:
            self._load()
            return frozenset(self._seen)

    @property
    def problems(self) -> list[str]:
        """What is wrong with plug-ins, one sentence each. Makes every plug-in register all it has."""
        with self._lock:
            for kind in KINDS:
                self.collected(kind.name)
            return list(self._problems)

    def trace(self, write: Callable[[str], object] | None = None) -> Callable[[], None]:
        """Write two lines for each hook call from now on: what is called with what, and what came of it.

        Args:
            write: Takes one line without its end; stderr by default.

        Returns:
            A function that stops it.
        """
        return self._pm.add_hookcall_monitoring(*traced(write or _to_stderr))

    # Events

    def notify(self, hook: str, /, **arguments: Any) -> list[Any]:
        """Call a life-cycle hook, each plug-in's implementation on its own.

        An implementation that raises is reported by its plug-in's name as a warning; the others still run.

        Args:
            hook: Name of the hook, e.g. ``"nid_after_detect"``.
            **arguments: Its arguments.

        Returns:
            What the implementations returned, without None, the plug-in registered last first.

        Raises:
            SettingError: There is no such hook, or it takes other arguments.
        """
        with self._lock:
            self._load()
            names = [impl.plugin_name for impl in reversed(self._hook(hook, arguments).get_hookimpls())]
        results: list[Any] = []
        for name in dict.fromkeys(names):
            try:
                results += self._call(hook, name, arguments)
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
                # Not among the problems: those tell what is wrong with a plug-in, this may be one bad event.
                warn(f"plug-in {name!r} failed in {hook}: {one_line(error)}")
        return results

    # Inside

    def _load(self) -> None:
        with self._lock:
            if self._loaded:
                return
            self._loaded = True  # first, so that a plug-in may ask the manager while it is being loaded
            for name, path in self._builtins.items():
                self._try(name, "built-in", __version__, functools.partial(importlib.import_module, path))
            found = metadata.entry_points(group=NAMESPACE) if self._use_entry_points else ()
            for point in found:
                if self._only is None or point.name in self._only:
                    version = point.dist.version if point.dist is not None else None
                    self._try(point.name, "entry point", version, point.load)
            for name in sorted((self._only or set()) - {point.name for point in found}):
                self._report(name, "named in NID_LOAD_PLUGINS but not installed")
            self._say()

    def _try(self, name: str, source: Source, version: str | None, load: Callable[[], object]) -> None:
        self._seen.add(name)
        if name in self._blocked:
            return
        try:
            plugin = load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - importing a plug-in may raise anything
            self._report(name, f"failed to import: {one_line(error)}")
            return
        try:
            self._add(plugin, name, source, version or getattr(plugin, "__version__", None))
        except PluginError as error:
            self._report(name, str(error), prefix=False)
        except Exception as error:  # noqa: BLE001 - so may looking at it
            self._report(name, f"failed to register: {one_line(error)}")

    def _add(self, plugin: object, name: str, source: Source, version: object) -> None:
        self._seen.add(name)
        if name in self._blocked:
            return
        if name in self._infos:
            raise PluginError(
                f"plug-in {name!r}: the name is taken by another plug-in", hint="Give it another name"
            )
        if self._pm.is_registered(plugin):
            raise PluginError(f"plug-in {name!r} is already registered as {self._pm.get_name(plugin)!r}")
        hooks = hooks_of(self._pm, plugin, name, self._hook_names)
        try:
            self._pm.register(plugin, name)
        except pluggy.PluginValidationError as error:
            if self._pm.has_plugin(name):  # older pluggy checks after it has begun to register
                self._pm.unregister(name=name)
            # The last line comes to the point; those before it repeat the plug-in.
            raise PluginError(f"plug-in {name!r}: {one_line(str(error).splitlines()[-1])}") from error
        version = version if isinstance(version, str) else None
        self._infos[name] = PluginInfo(name, version, hooks, source)
        for registry in self._registries.values():
            if registry.collected:
                self._collect(registry, name)
        if source == "registered":
            self._say()

    def _drop(self, name: str) -> None:
        self._pm.unregister(name=name)
        del self._infos[name]
        for registry in self._registries.values():
            registry.drop(name)

    def collected(self, kind: str) -> dict[str, Any]:
        """Return what was registered of a kind, by name, asking the plug-ins first if that was not done yet."""
        with self._lock:
            self._load()
            registry = self._registries[kind]
            if not registry.collected:
                registry.collected = True
                for name in list(self._infos):
                    self._collect(registry, name)
                self._say()
            return registry.objects

    def _collect(self, registry: Registry, name: str) -> None:
        hook = registry.kind.hook
        if hook not in self._infos[name].hooks:
            return

        def register(thing: object) -> None:
            try:
                registry.add(thing, name)
            except PluginError as error:
                self._report(name, str(error), prefix=False)

        try:
            self._call(hook, name, {"register": register})
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self._report(name, f"failed in {hook}: {one_line(error)}")

    def _call(self, hook: str, name: str, arguments: dict[str, Any]) -> list[Any]:
        """Call one plug-in's implementation of a hook."""
        mine = self._pm.get_plugin(name)
        others = [plugin for plugin in self._pm.get_plugins() if plugin is not mine]
        return cast("list[Any]", self._pm.subset_hook_caller(hook, others)(**arguments))

    def _hook(self, name: str, arguments: dict[str, Any]) -> pluggy.HookCaller:
        if name not in self._hook_names:
            raise unknown("hook", name, self._hook_names)
        caller = cast("pluggy.HookCaller", getattr(self._pm.hook, name))
        expected = caller.spec.argnames if caller.spec is not None else ()
        if set(arguments) != set(expected):
            raise SettingError(
                f"wrong arguments for the hook {name}", received=sorted(arguments), expected=sorted(expected)
            )
        return caller

    def _report(self, name: str, problem: str, *, prefix: bool = True) -> None:
        sentence = f"plug-in {name!r} {problem}" if prefix else problem
        self._problems.append(sentence)
        self._unsaid.append(sentence)

    def _say(self) -> None:
        # Last of all: where warnings are errors, the first one must not leave the other plug-ins unloaded.
        while self._unsaid:
            warn(self._unsaid.pop(0))


def _names(listed: str) -> set[str]:
    return {name.strip() for name in listed.split(",") if name.strip()}


def unknown(what: str, name: str, known: Iterable[str]) -> SettingError:
    """Return the error for a name nothing is registered under."""
    return SettingError(
        f"unknown {what}",
        received=repr(name),
        expected=f"one of {sorted(known)}",
        hint="`nid plugins` lists plug-ins",
    )


def warn(sentence: str) -> None:
    """Warn of something wrong with a plug-in."""
    warnings.warn(sentence, NidWarning, stacklevel=2)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the trace is asked for
