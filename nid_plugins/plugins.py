"""The plug-in manager: answers what plug-ins registered, the built-in ones included; there is no second way in."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast

from nid_plugins.adapter import class_paths
from nid_plugins.errors import NidError, UnsupportedError
from nid_plugins.hookspecs import hookimpl
from nid_plugins.host import BUILTINS, PluginHost, PluginInfo, unknown, warn
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from nid_plugins.adapter import Adapter
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.executors import Executor
    from nid_plugins.domains import Domain

__all__ = ["BUILTINS", "PluginInfo", "PluginManager", "get_manager", "hookimpl", "use_manager"]


class PluginManager(PluginHost):
    """A set of plug-ins, asked for adapters, detectors and the rest. :func:`get_manager` returns the process-wide one.

    Takes the arguments of :class:`~nid_plugins.host.PluginHost`.
    """

    def find_adapter(self, model: object, name: str | None = None) -> Adapter | None:
        """Return the adapter for a model, or None.

        Of the adapters that know a class the model is an instance of, the one knowing the nearest class in the
        model's method resolution order wins; at equal distance the one registered later. The model's framework is
        not imported for this: classes are compared by path. An adapter whose ``claims`` raises is passed over with a
        warning, unless it raises a typed error, which is its way to say what is wrong with the model.

        Args:
            model: Any object.
            name: Name of an adapter, to overrule the choice.

        Raises:
            SettingError: There is no adapter of that name.
        """
        adapters = self.collected("adapter")
        if name is not None:
            return cast("Adapter", self._named("adapter", name))
        for path in class_paths(model):
            for adapter in reversed(adapters.values()):
                if path in adapter.classes and self._ask(adapter, "claims", model):
                    return cast("Adapter", adapter)
        return None

    def adapter_for(self, model: object) -> Adapter:
        """Return the adapter for a model; see :meth:`find_adapter`.

        Raises:
            UnsupportedError: No adapter claims it.
        """
        adapter = self.find_adapter(model)
        if adapter is None:
            raise UnsupportedError(
                "no adapter claims the model",
                received=class_paths(model)[0],
                expected=f"a model one of these adapters knows: {sorted(self.collected('adapter'))}",
                hint="Install the plug-in of its framework (`nid plugins` lists those at work), or wrap a function "
                "from a dict of columns to scores",
            )
        return adapter

    def adapter_for_columns(self, columns: object) -> Adapter:
        """Return the adapter whose framework the feature columns belong to; the one registered later if several.

        Raises:
            UnsupportedError: No adapter claims them.
        """
        adapters = self.collected("adapter")
        for adapter in reversed(adapters.values()):
            if self._ask(adapter, "claims_columns", columns):
                return cast("Adapter", adapter)
        raise UnsupportedError(
            "no adapter claims the feature columns",
            received=type(columns).__name__,
            expected=f"the feature columns of a framework one of these adapters knows: {sorted(adapters)}",
            hint="`nid plugins` lists the plug-ins at work",
        )

    def adapters(self) -> dict[str, Adapter]:
        """Return all adapters by name."""
        return cast("dict[str, Adapter]", dict(self.collected("adapter")))

    def detectors(self) -> dict[str, Detector]:
        """Return all detectors by name."""
        return cast("dict[str, Detector]", dict(self.collected("detector")))

    def detector(self, name: str) -> Detector:
        """Return a detector by name.

        Raises:
            SettingError: There is none of that name.
        """
        return cast("Detector", self._named("detector", name))

    def baselines(self) -> dict[str, Baseline]:
        """Return all baselines by name."""
        return cast("dict[str, Baseline]", dict(self.collected("baseline")))

    def baseline(self, name: str) -> Baseline:
        """Return a baseline by name.

        Raises:
            SettingError: There is none of that name.
        """
        return cast("Baseline", self._named("baseline", name))

    def executor(self, name: str) -> Executor:
        """Return an executor by name.

        Raises:
            SettingError: There is none of that name.
        """
        return cast("Executor", self._named("executor", name))

    def domains(self) -> dict[str, Domain]:
        """Return all domains by name."""
        return cast("dict[str, Domain]", dict(self.collected("domain")))

    def domain(self, name: str) -> Domain:
        """Return a domain by name.

        Raises:
            SettingError: There is none of that name.
        """
        return cast("Domain", self._named("domain", name))

    def commands(self) -> list[click.Command]:
        """Return all commands, in the order they were registered."""
        return cast("list[click.Command]", list(self.collected("command").values()))

    def _named(self, kind: str, name: str) -> Any:
        objects = self.collected(kind)
        if not isinstance(name, str) or name not in objects:
            raise unknown(kind, name, objects)
        return objects[name]

    def _ask(self, adapter: Any, question: str, argument: object) -> bool:
        try:
            return bool(getattr(adapter, question)(argument))
        except NidError:
            raise
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            warn(f"adapter {adapter.name!r} failed in {question}: {one_line(error)}")
            return False


_current: PluginManager | None = None
_current_lock = threading.Lock()


def get_manager() -> PluginManager:
    """Return the process-wide manager, made on first use."""
    global _current  # noqa: PLW0603 - the one process-wide object
    with _current_lock:
        if _current is None:
            _current = PluginManager()
        return _current


@contextlib.contextmanager
def use_manager(manager: PluginManager | None) -> Iterator[None]:
    """Make another manager the process-wide one for a while; None for a fresh one on next use."""
    global _current  # noqa: PLW0603 - the one process-wide object
    with _current_lock:
        before, _current = _current, manager
    try:
        yield
    finally:
        with _current_lock:
            _current = before
