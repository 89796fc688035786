"""Checking a plug-in before it is registered, and writing down hook calls."""

from __future__ import annotations

import difflib
import inspect
import reprlib
import time
from typing import TYPE_CHECKING, Any

from nid_plugins.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pluggy

    Before = Callable[[str, Sequence[pluggy.HookImpl], Mapping[str, Any]], None]
    After = Callable[[pluggy.Result[Any], str, Sequence[pluggy.HookImpl], Mapping[str, Any]], None]


def hooks_of(pm: pluggy.PluginManager, plugin: object, name: str, known: AbstractSet[str]) -> tuple[str, ...]:
    """Return the names of the hooks a plug-in implements, sorted.

    Args:
        pm: The manager whose marker counts.
        plugin: A module or an instance.
        name: Its name, for messages.
        known: Names of all hooks.

    Raises:
        PluginError: A class or None instead of an instance, one without a hash, no hook at all, a hook that does not exist, one whose
            mark was forgotten, or a wrapper.
    """
    if plugin is None or isinstance(plugin, type):
        what = "nothing" if plugin is None else f"the class {plugin.__qualname__}"
        raise PluginError(
            f"plug-in {name!r} is not usable",
            received=what,
            expected="a module or an instance",
            hint="Call the class",
        )
    try:
        hash(plugin)
    except TypeError:
        raise PluginError(
            f"plug-in {name!r} is not usable",
            received=f"an instance of {type(plugin).__qualname__}, which has no hash",
            expected="a module or a hashable instance",
            hint="Write @dataclass(eq=False) if it is a dataclass",
        ) from None
    hooks: set[str] = set()
    for attribute in dir(plugin):
        options = pm.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            if attribute in known and inspect.isroutine(inspect.getattr_static(plugin, attribute, None)):
                raise PluginError(
                    f"plug-in {name!r} has a function {attribute!r} that is not marked",
                    hint="Put @hookimpl above it",
                )
            continue
        hook = options.get("specname") or attribute
        if hook not in known:
            close = difflib.get_close_matches(hook, known, n=1)
            raise PluginError(
                f"plug-in {name!r} implements a hook that does not exist",
                received=hook,
                expected=close[0] if close else f"one of {sorted(known)}",
                hint="Correct the name",
            )
        if options.get("wrapper") or options.get("hookwrapper"):
            raise PluginError(
                f"plug-in {name!r} implements {hook} as a wrapper",
                expected="a plain implementation: each is run on its own, so there is nothing to wrap",
            )
        hooks.add(hook)
    if not hooks:
        raise PluginError(
            f"plug-in {name!r} implements no hook",
            received=type(plugin).__name__,
            hint="Mark its functions with nid_plugins.hookimpl",
        )
    return tuple(sorted(hooks))


def one_line(error: BaseException | str) -> str:
    """Return an error as one line, its type included unless it is text already."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def traced(write: Callable[[str], object]) -> tuple[Before, After]:
    """Return the two functions pluggy calls before and after each hook call, writing one line each.

    Args:
        write: Takes a line without its end.
    """
    short = reprlib.Repr()
    short.maxother = short.maxstring = 60
    started: list[float] = []

    def before(hook: str, impls: Sequence[pluggy.HookImpl], arguments: Mapping[str, Any]) -> None:
        shown = ", ".join(f"{key}={short.repr(value)}" for key, value in arguments.items())
        write(f"nid: {hook}({shown}) -> {', '.join(impl.plugin_name for impl in impls) or 'no plug-in'}")
        started.append(time.perf_counter())

    def after(
        outcome: pluggy.Result[Any], hook: str, impls: Sequence[pluggy.HookImpl], arguments: Mapping[str, Any]
    ) -> None:
        del impls, arguments
        seconds = time.perf_counter() - started.pop()
        failed = outcome.exception
        result = (
            f"raised {one_line(failed)}"
            if failed is not None
            else f"returned {short.repr(outcome.get_result())}"
        )
        write(f"nid: {hook} {result} in {seconds * 1000:.1f} ms")

    return before, after
