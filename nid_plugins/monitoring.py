"""Watching a model while it trains: finds the adapter, leaves the class of the callback to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from nid_plugins.schema import FeatureSchema


def monitor(
    model: Any,
    schema: FeatureSchema | None = None,
    valid: Any = None,
    label: Any = None,
    every: int = 1,
    **options: Any,
) -> Any:
    """Return a callback of the model's own framework that watches the model's interactions while it trains.

    Args:
        model: The model that will be trained.
        schema: Its fields; may be left out where the framework declares them.
        valid: Frame of rows it is not trained on; a fixed sample of them is explained at every check.
        label: 0/1 labels of these rows, or the name of the frame's column; with them the top crosses are screened.
        every: Epochs (or steps, with ``unit="step"``) from one check to the next.
        **options: Further options of :class:`nid_plugins.callbacks.InteractionMonitor`: budget, top_k, stop_after, sinks,
            background and more.

    Returns:
        What the framework takes as a callback, e.g. an element of ``model.fit(..., callbacks=[...])``; for a bare PyTorch
        loop an object whose ``step_end``, ``epoch_end`` and ``end`` the loop calls. Its ``history`` holds the checks.

    Raises:
        UnsupportedError: No adapter claims the model, or it has no callback.
        SettingError: An option is out of its domain.
        FrameError: The frame or the labels do not fit the schema.
    """
    from nid_plugins.callbacks import InteractionMonitor

    adapter = get_manager().adapter_for(model)
    return adapter.monitor(model, InteractionMonitor(model, schema, valid, label, every=every, **options))
