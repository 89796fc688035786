"""Giving crosses to a model: finds the adapter, tells the plug-ins, leaves the work to the adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nid_plugins.errors import SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nid_plugins.crosses import CrossFeatures

Mode = Literal["residual", "rebuild"]


def inject(
    model: Any, crosses: CrossFeatures, mode: Mode = "residual", *, columns: Any = None, **options: Any
) -> Any:
    """Return a new model that has the crosses as learned embeddings, and takes the same inputs.

    Args:
        model: A model some adapter claims; it is left unchanged. With ``mode="rebuild"`` a function from feature
            columns to a fresh model.
        crosses: The crosses to add.
        mode: ``"residual"`` adds their embeddings to the model's logit, starting from exactly the model's output;
            ``"rebuild"`` makes them further fields of a fresh model, as GLIDER does (Tsang et al., 2020, section 4.2).
        columns: The feature columns of the fresh model, for ``mode="rebuild"``.
        **options: What the adapter offers besides, e.g. whether the base is frozen.

    Returns:
        A model of the same framework.

    Raises:
        SettingError: Unknown mode, not crosses, or ``columns`` and ``mode`` do not go together.
        UnsupportedError: No adapter claims the model or the columns, or it cannot inject.
    """
    if mode not in ("residual", "rebuild"):
        raise SettingError(
            "unknown mode of injection", received=repr(mode), expected='"residual" or "rebuild"'
        )
    from nid_plugins.crosses import CrossFeatures

    if not isinstance(crosses, CrossFeatures):
        raise SettingError(
            "not crosses",
            received=type(crosses).__name__,
            expected="CrossFeatures",
            hint="Call nid.fit_crosses on the report or the pairs first",
        )
    manager = get_manager()
    if mode == "rebuild":
        if not callable(model) or columns is None:
            raise SettingError(
                'mode="rebuild" makes a fresh model from feature columns',
                received=f"{type(model).__qualname__}, columns={'None' if columns is None else 'given'}",
                expected="a function from feature columns to a model, and columns=",
                hint='Use mode="residual" to add crosses to a model that exists',
            )
        adapter = manager.adapter_for_columns(columns)
        options["columns"] = columns
    else:
        if columns is not None:
            raise SettingError(
                'mode="residual" takes no columns',
                received="columns=",
                hint='Leave it out, or use mode="rebuild"',
            )
        adapter = manager.adapter_for(model)
    manager.notify("nid_before_inject", model=model, crosses=crosses)
    target = adapter.inject(model, crosses, mode=mode, **options)
    manager.notify("nid_after_inject", model=model, target=target, crosses=crosses)
    return target


def cross_embeddings(target: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return the learned embeddings of an injected model, to look at or to carry to another framework.

    Args:
        target: What :func:`inject` returned, trained or not.

    Returns:
        Cross name to array of shape (vocabulary + 1, dim); row 0 is for combinations outside the vocabulary.

    Raises:
        UnsupportedError: The model has no injected crosses.
    """
    return get_manager().adapter_for(target).cross_embeddings(target)
