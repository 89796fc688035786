"""Callbacks for the trainer of ``lightning.pytorch``; those of ``pytorch_lightning`` are in ``pl_callbacks``."""

from __future__ import annotations

from lightning.pytorch import Callback

from nid_lightning.injecting import InjectorHooks
from nid_lightning.monitoring import LoggerSink, MonitorHooks

__all__ = ["CrossInjector", "InteractionMonitor", "LoggerSink"]


class InteractionMonitor(MonitorHooks, Callback):
    """Watches the interactions of a LightningModule while a trainer trains it.

    Args:
        schema: The module's fields.
        rows: Frame of rows the module is not trained on.
        labels: 0/1 labels of the rows, or the name of the frame's column.
        core: A core made before, in place of all the rest.
        **options: Further options of :class:`nid_plugins.callbacks.InteractionMonitor`.

    Raises:
        SettingError: An option is out of its domain, or both a core and options are given.
        FrameError: The frame or the labels do not fit the schema.

    Example::

        monitor = InteractionMonitor(schema, valid, "click")
        Trainer(max_epochs=5, callbacks=[monitor]).fit(module, loader)
        print(monitor.history[-1].report)
    """


class CrossInjector(InjectorHooks, Callback):
    """Puts crosses into a LightningModule on the way; see :class:`nid_lightning.injecting.InjectorHooks`.

    Args:
        schema: The module's fields.
        train: Training frame.
        label: Its labels, or the name of its column.
        valid: Frame of held-out rows.
        valid_label: Its labels, or the name of its column.
        optimiser: Place in the trainer's list of the optimiser that is to train the crosses.
        extract: Needed where ``wrap={"inputs": ...}`` is a callable, as in :func:`nid_torch.inject.inject`.
        **options: As for :class:`nid_plugins.callbacks.CrossInjector`: ``after``, ``max_crosses``, ``rate``, ...

    Attributes:
        core: What chooses; its ``status`` tells what has happened, its ``crosses`` what was chosen.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: Labels do not fit their frame.

    Example::

        injector = CrossInjector(schema, train, "click", valid, after=2)
        Trainer(max_epochs=10, callbacks=[injector]).fit(module, loader)
    """
