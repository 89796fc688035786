"""The hooks of InteractionMonitor, for the callback classes of both of Lightning's packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.callbacks.shell import MonitorShell
from nid_plugins.callbacks.sinks import scalars_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.callbacks import Check


class MonitorHooks(MonitorShell):
    """Mixed into a callback class: watches the interactions of a LightningModule while its trainer trains it.

    Its steps are those of the optimiser. Where several processes train, the first one looks, has the ``history`` and
    writes to the sinks; the others wait for it where the next gradients are averaged.
    """

    _steps = 0

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint, so that one monitor of epochs and one of steps can go together."""
        options = self.core.options
        return f"InteractionMonitor(every={options.every}, unit={options.unit!r}, seed={options.seed})"

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Training begins."""
        self._steps = trainer.global_step
        if trainer.is_global_zero:
            self.core.begin(pl_module)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch has been trained on; a step is over unless gradients are being accumulated."""
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        if trainer.is_global_zero:
            self.core.step_end(outputs if isinstance(outputs, dict) else {"loss": outputs})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """An epoch has ended."""
        # Asked for on every rank: working out what is logged by epoch may take all of them.
        logs = dict(trainer.callback_metrics)
        if trainer.is_global_zero:
            self.core.epoch_end(trainer.current_epoch, logs)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Training has ended."""
        self._end(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Training was broken off; sinks are closed."""
        self._end(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the monitor."""
        return self.core.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ArtefactError: Its state is damaged, or of a newer version.
        """
        self.core.load_state_dict(state_dict)

    def _end(self, trainer: Any) -> None:
        if trainer.is_global_zero:
            self.core.end()


class LoggerSink:
    """Writes what a monitor finds to one of Lightning's loggers, under the names TensorBoard's curves have.

    Args:
        logger: E.g. ``trainer.logger``, or what the trainer is given as ``logger=``.
        top: Interactions that are logged, from the top of each ranking.
    """

    def __init__(self, logger: Any, *, top: int = 10) -> None:
        self.logger = logger
        self.top = top

    def write(self, check: Check) -> None:
        """Log the finite numbers of a check, at its step."""
        self.logger.log_metrics(scalars_of(check, self.top), step=check.step)

    def close(self) -> None:
        """Have the logger write out what it holds."""
        self.logger.save()
