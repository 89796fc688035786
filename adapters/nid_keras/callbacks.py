"""InteractionMonitor as a callback of Keras; the classes, one a Keras, are in keras3.py and tf_keras2.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.callbacks.shell import MonitorShell

if TYPE_CHECKING:
    from collections.abc import Mapping

# The callback's class is only known once a Keras is chosen; to the type checker the mixin below is a plain class.
_Callback: Any = object


class InteractionMonitorMixin(MonitorShell, _Callback):  # type: ignore[misc]
    """Watches the interactions of a model while ``fit`` trains it: ``model.fit(..., callbacks=[monitor])``.

    Args:
        schema: The model's fields; may be left out for a DeepCTR model, which declares them.
        rows: Frame of rows the model is not trained on.
        labels: 0/1 labels of the rows, or the name of the frame's column.
        core: A core made before, in place of all the rest.
        **options: Further options of :class:`nid_plugins.callbacks.InteractionMonitor`. With ``unit="step"`` a step is
            what Keras reports as one: with ``steps_per_execution=k`` that is k batches.

    Raises:
        SettingError: An option is out of its domain, or both a core and options are given.
        FrameError: The frame or the labels do not fit the schema.
    """

    def _with_core(self) -> None:
        if self.core.options.unit == "epoch":
            # Keras waits for the numbers of every batch once a callback has a method of its own for it.
            self.on_train_batch_end = super().on_train_batch_end  # type: ignore[method-assign]

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Training begins."""
        self.core.begin(self.model)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """A step has ended."""
        self.core.step_end(logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended."""
        if self.core.options.unit == "epoch":
            self.core.step = steps_of(self.model, self.core.step)
        self.core.epoch_end(epoch, logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Training has ended."""
        self.core.end()


def steps_of(model: Any, otherwise: int) -> int:
    """Return the number of steps a model's optimiser has made; ``otherwise`` where it does not count them."""
    try:
        return int(model.optimizer.iterations)
    except (AttributeError, TypeError, ValueError):
        return otherwise
