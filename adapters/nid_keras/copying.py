"""Copies of Keras models, with equal weights, that share nothing with the original."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nid_keras.declared import declared_inputs
from nid_keras.flavour import keras_of
from nid_keras.model import flat_layers, is_variable
from nid_keras.randomness import names_kept, random_kept
from nid_plugins.errors import NidError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

_HINT = (
    "Pass fresh=, a function that returns a new, built model of the same architecture: its weights are then set; "
    "or give its layers a get_config()"
)
_ADAPTED = "keras.src.layers.preprocessing."
"""Where the layers are that learn from data without training; those of tf_keras keep all they learn in their weights."""


def copied(
    model: Any, fresh: Callable[[], Any] | None = None, call: Callable[[Any], Any] | None = None
) -> Any:
    """Return a copy of a model with the same weights. All random state, and the numbers of automatic names, are left as it was.

    Args:
        model: The model.
        fresh: Returns a new model of the same architecture, where the model's configuration does not describe it.
        call: Calls a model on a batch: what builds a copy that declares no inputs.

    Raises:
        UnsupportedError: The model's configuration does not make it again.
        SettingError: ``fresh`` does not return such a model.
    """
    with random_kept(), names_kept():
        try:
            copy = _made_again(model) if fresh is None else fresh()
            if call is not None and type(copy) is type(model) and not copy.built:
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

    def cloned(layer: Any) -> Any:
        # Keras 3 makes no lambda again from its config, which might be code from elsewhere: this is not.
        if type(layer) is keras.layers.Lambda:
            return _lambda_again(layer)
        return (
            _made_again(layer)
            if isinstance(layer, keras.models.Model)
            else type(layer).from_config(layer.get_config())
        )

    lambdas = keras.__name__ == "keras" and any(
        type(layer) is keras.layers.Lambda for layer in flat_layers(model)
    )
    options = {"clone_function": cloned} if lambdas else {}
    if type(model) in {keras.Sequential, keras.models.Model} or declared_inputs(model) is not None:
        with contextlib.suppress(Exception):
            copy = keras.models.clone_model(model, **options)
            if type(copy) is type(model) and len(copy.weights) == len(model.weights):
                return copy
    return type(model).from_config(model.get_config())


def _lambda_again(layer: Any) -> Any:
    return type(layer)(
        layer.function,
        output_shape=layer._output_shape,  # noqa: SLF001 - Keras keeps it nowhere else
        mask=layer.mask,
        arguments=dict(layer.arguments),
        name=layer.name,
        trainable=layer.trainable,
        dtype=layer.dtype_policy,
    )


def _set_weights(model: Any, copy: Any, given: bool) -> None:
    before, after = model.weights, copy.weights if type(copy) is type(model) else []
    shapes = [
        [tuple(weight.shape) if is_variable(weight) else None for weight in own] for own in (before, after)
    ]
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
    copy.set_weights(model.get_weights())
    for own, other in zip(flat_layers(model), flat_layers(copy), strict=False):
        if type(own) is type(other):
            _give_state(own, other)
    for own, other in zip(flat_layers(model), flat_layers(copy), strict=False):
        if own.trainable != other.trainable and type(own) is type(other):
            other.trainable = own.trainable


def _give_state(own: Any, other: Any) -> None:
    """Give a layer of Keras 3 what another has beside its weights, as its files do: adapted statistics and vocabularies."""
    if not any(base.__module__.startswith(_ADAPTED) for base in type(own).__mro__):
        return
    store: dict[str, Any] = {}
    own.save_own_variables(store)
    other.load_own_variables(store)
    if hasattr(own, "save_assets") and hasattr(other, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            own.save_assets(folder)
            other.load_assets(folder)


def compiled_like(model: Any, target: Any) -> str | None:
    """Compile a target with the settings of a compiled model, its optimiser new.

    Returns:
        Why that could not be done; None where it was, or where the model is not compiled.
    """
    if not getattr(model, "compiled", getattr(model, "_is_compiled", False)):
        return None
    try:
        with random_kept():
            target.compile_from_config(_renamed(model.get_compile_config(), model, target))
    except Exception as error:  # noqa: BLE001 - losses and metrics may be anything
        return f"{type(error).__name__}: {error}"
    if not getattr(target, "compiled", getattr(target, "_is_compiled", False)):
        return "Keras cannot make them again from their description"  # of a function, say
    return None


def _renamed(config: dict[str, Any], model: Any, target: Any) -> dict[str, Any]:
    """Return compile settings where losses and metrics given by a model's output are by the target's."""
    names = [list(getattr(one, "output_names", None) or []) for one in (model, target)]
    if len(names[0]) != 1 or len(names[1]) != 1:
        return config
    (old,), (new,) = names
    return {
        key: {new: value[old]} if isinstance(value, Mapping) and set(value) == {old} else value
        for key, value in config.items()
    }
