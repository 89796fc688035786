"""InteractionMonitor in DeepCTR-Torch's own list of callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepctr_torch.callbacks import Callback

from nid_plugins.callbacks.shell import MonitorShell
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping


class InteractionMonitor(MonitorShell, Callback):  # type: ignore[misc]  # DeepCTR-Torch is untyped
    """Watches the interactions of a model while ``fit`` trains it: ``model.fit(..., callbacks=[monitor])``.

    Args:
        schema: The model's fields; may be left out, since its feature columns declare them.
        rows: Frame of rows the model is not trained on.
        labels: 0/1 labels of the rows, or the name of the frame's column.
        core: A core made before, in place of all the rest.
        **options: Further options of :class:`nid_plugins.callbacks.InteractionMonitor`. ``unit="step"`` is not among
            them: DeepCTR-Torch tells its callbacks of epochs only.

    Raises:
        SettingError: An option is out of its domain, or both a core and options are given.
        FrameError: The frame or the labels do not fit the schema.
    """

    def _with_core(self) -> None:
        if self.core.options.unit != "epoch":
            raise SettingError(
                "DeepCTR-Torch tells its callbacks of epochs only",
                received=f"unit={self.core.options.unit!r}",
                expected='unit="epoch"',
                hint="Train in a loop of your own with nid_torch.callbacks.InteractionMonitor to look at steps",
            )

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Training begins."""
        self.core.begin(self.model)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended."""
        self.core.epoch_end(epoch, logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Training has ended."""
        self.core.end()
