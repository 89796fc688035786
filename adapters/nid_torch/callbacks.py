"""InteractionMonitor for a PyTorch training loop of one's own, which calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from nid_plugins.callbacks.shell import MonitorShell, core_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from torch import nn

    from nid_plugins.callbacks import InteractionMonitor as Core
    from nid_plugins.schema import FeatureSchema


class InteractionMonitor(MonitorShell):
    """Watches the interactions of a module while a loop trains it.

    The loop calls :meth:`step_end` after each step (needed for ``unit="step"`` only), :meth:`epoch_end` after each epoch,
    and :meth:`end` after the last; as a context manager it calls the last one itself::

        with InteractionMonitor(model, schema, valid, labels) as monitor:
            for epoch in range(epochs):
                for batch in loader:
                    ...
                    monitor.step_end()
                monitor.epoch_end(epoch, {"loss": loss})

    Training time is counted from here on, so make it where training begins.

    Args:
        model: The module.
        schema: Its fields.
        rows: Frame of rows the model is not trained on.
        labels: 0/1 labels of the rows, or the name of the frame's column.
        core: A core made before, in place of schema, rows, labels and options.
        **options: Further options of :class:`nid_plugins.callbacks.InteractionMonitor`.

    Raises:
        SettingError: An option is out of its domain, or both a core and options are given.
        FrameError: The frame or the labels do not fit the schema.
    """

    def __init__(
        self,
        model: nn.Module,
        schema: FeatureSchema | None = None,
        rows: Any = None,
        labels: Any = None,
        *,
        core: Core | None = None,
        **options: Any,
    ) -> None:
        given = {"schema": schema, "rows": rows, "labels": labels, **options}
        self.core = core_of(core, given if core is not None else {"model": model, **given})
        self.core.begin(model)

    def step_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Call it after every step; ``logs`` are numbers of the step, e.g. the loss."""
        self.core.step_end(logs)

    def epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Call it after every epoch, numbered from 0; ``logs`` are numbers of the epoch."""
        self.core.epoch_end(epoch, logs)

    def end(self) -> None:
        """Call it after training; the sinks are closed."""
        self.core.end()

    def __enter__(self) -> Self:
        self.core.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
