"""What the callbacks of all frameworks have in common: they hold a core and show what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from nid_plugins.callbacks.monitor import InteractionMonitor
    from nid_plugins.callbacks.record import Check
    from nid_plugins.schema import FeatureSchema


class MonitorShell:
    """Mix-in of a framework's callback class, in front of the framework's own. The class calls the core's four methods.

    Args:
        schema: As for :class:`nid_plugins.callbacks.InteractionMonitor`; so are the following.
        rows: See there.
        labels: See there.
        core: A core made before, in place of all the rest.
        **options: See there.

    Attributes:
        core: Does the work.

    Raises:
        SettingError: An option is out of its domain, or both a core and options are given.
        FrameError: The frame or the labels do not fit the schema.
    """

    core: InteractionMonitor

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        rows: Any = None,
        labels: Any = None,
        *,
        core: InteractionMonitor | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.core = core_of(core, {"schema": schema, "rows": rows, "labels": labels, **options})
        self._with_core()

    def _with_core(self) -> None:
        """Check the core, or get ready for it; for the framework's class to say what."""

    @property
    def history(self) -> list[Check]:
        """The checks so far."""
        return self.core.history

    @property
    def stable(self) -> bool:
        """Whether the top K has stayed the same for as many checks as were asked for."""
        return self.core.stable

    @property
    def share(self) -> float:
        """Seconds spent on checks for each second of training."""
        return self.core.share

    def to_frame(self) -> pd.DataFrame:
        """Return the history as a pandas frame; see :meth:`nid_plugins.callbacks.InteractionMonitor.to_frame`."""
        return self.core.to_frame()


def core_of(core: Any, options: dict[str, Any]) -> InteractionMonitor:
    """Return the core a shell was given, or one made from its options.

    Args:
        core: A core, or None.
        options: Arguments of :class:`nid_plugins.callbacks.InteractionMonitor`; those that are None count as not given.

    Raises:
        SettingError: Both a core and options, or something that is no core.
    """
    from nid_plugins.callbacks.monitor import InteractionMonitor
    from nid_plugins.errors import SettingError

    given = {name: value for name, value in options.items() if value is not None}
    if core is None:
        return InteractionMonitor(**options)
    if not isinstance(core, InteractionMonitor) or given:
        raise SettingError(
            "a shell takes a core, or the options of one",
            received=f"core={type(core).__name__}, options {sorted(given)}",
            expected="core=nid_plugins.callbacks.InteractionMonitor(...), or rows=... and other options",
        )
    return core
