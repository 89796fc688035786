"""Copies of Keras models, with equal weights, that share nothing with the original."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from nid_keras.declared import declared_inputs
from nid_keras.flavour import keras_of
from nid_keras.ids import value_of
from nid_keras.model import flat_layers
from nid_keras.randomness import random_kept
from nid_plugins.errors import NidError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

_HINT = (
    "Pass fresh=, a function that returns a new, built model of the same architecture: its weights are then set; "
    "or give its layers a get_config()"
)


def copied(
    model: Any, fresh: Callable[[], Any] | None = None, call: Callable[[Any], Any] | None = None
) -> Any:
    """Return a copy of a model with the same weights. All random state is left as it was.

    Args:
        model: The model.
        fresh: Returns a new model of the same architecture, where the model's configuration does not describe it.
        call: Calls a model on a batch: what builds a copy that declares no inputs.

    Raises:
        UnsupportedError: The model's configuration does not make it again.
        SettingError: ``fresh`` does not return such a model.
    """
    with random_kept():
        try:
            copy = _made_again(model) if fresh is None else fresh()
            if call is not None and not getattr(copy, "built", True):
                call(copy)
        except NidError:
            raise
        except Exception as error:
            raise UnsupportedError(
                f"the model cannot be {'copied' if fresh is None else 'made by fresh()'}: {type(error).__name__}: {error}",
                received=type(model).__qualname__,
                expected="a model that its own configuration describes",
                hint=_HINT,
            ) from error
        _set_weights(model, copy, fresh is not None)
    return copy


def _made_again(model: Any) -> Any:
    keras = keras_of(model)
    if type(model) in {keras.Sequential, keras.models.Model} or declared_inputs(model) is not None:
        with contextlib.suppress(Exception):
            copy = keras.models.clone_model(model)
            if type(copy) is type(model) and len(copy.weights) == len(model.weights):
                return copy
    return type(model).from_config(model.get_config())


def _set_weights(model: Any, copy: Any, given: bool) -> None:
    before, after = model.weights, copy.weights
    shapes = [[tuple(weight.shape) for weight in own] for own in (before, after)]
    if copy is model or type(copy) is not type(model) or shapes[0] != shapes[1]:
        problem = SettingError if given else UnsupportedError
        raise problem(
            "the copy is not a new model of the same architecture",
            received=f"{type(copy).__qualname__} with {len(after)} weights",
            expected=f"{type(model).__qualname__} with {len(before)} weights of the same shapes",
            hint=_HINT,
        )
    shared = {id(weight) for weight in before} & {id(weight) for weight in after}
    if shared:
        raise UnsupportedError(
            "the copy shares weights with the model", received=f"{len(shared)} of {len(before)}", hint=_HINT
        )
    copy.set_weights([value_of(weight) for weight in before])
    for own, other in zip(flat_layers(model), flat_layers(copy), strict=False):
        if own.trainable != other.trainable and type(own) is type(other):
            other.trainable = own.trainable


def compiled_like(model: Any, target: Any) -> str | None:
    """Compile a target with the settings of a compiled model, its optimiser new.

    Returns:
        Why that could not be done; None where it was, or where the model is not compiled.
    """
    if not getattr(model, "compiled", getattr(model, "_is_compiled", False)):
        return None
    try:
        with random_kept():
            target.compile_from_config(model.get_compile_config())
    except Exception as error:  # noqa: BLE001 - losses and metrics may be anything
        return f"{type(error).__name__}: {error}"
    return None
