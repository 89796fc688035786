"""Copying DeepCTR's models exactly, those included whose layers leave something out of their config."""

from __future__ import annotations

from typing import Any

import tf_keras
from deepctr.layers import custom_objects

from nid_deepctr.graph import layers_in, model_of
from nid_deepctr.saving import made_again, saveable


def twin(model: Any, table_rows: int | None = None) -> Any:
    """Return a model of the same structure, whose weights are its own and not yet those of the model.

    Cloning by config alone is not exact for all models; see :func:`nid_deepctr.saving.saveable`.

    Args:
        model: A functional tf_keras model.
        table_rows: Rows of every embedding table of the copy; by default as many as the model's.
    """

    def copied(layer: Any) -> Any:
        inner = model_of(layer)
        if inner is not None:
            copy = twin(inner, table_rows)
            return copy if inner is layer else type(layer)(copy, name=layer.name)
        if isinstance(layer, tf_keras.layers.Lambda):
            return _lambda_twin(layer)
        config = layer.get_config()
        if table_rows is not None and isinstance(layer, tf_keras.layers.Embedding):
            config["input_dim"] = table_rows
        with tf_keras.utils.custom_object_scope({**custom_objects, **_own_objects(layer)}):
            return made_again(layer, config)

    return saveable(_with_flags(model, tf_keras.models.clone_model(model, clone_function=copied)))


def _lambda_twin(layer: Any) -> Any:
    return tf_keras.layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,  # noqa: SLF001 - Keras keeps it nowhere else
        mask=layer.mask,
        arguments=dict(layer.arguments),
        name=layer.name,
        trainable=layer.trainable,
        dtype=layer.dtype_policy if hasattr(layer, "dtype_policy") else layer.dtype,
    )


def _own_objects(layer: Any) -> dict[str, Any]:
    """Return initialisers and the like of a layer by name, for those that are the user's own and not registered."""
    found: dict[str, Any] = {}
    for part in vars(layer).values():
        named = part if hasattr(part, "__name__") and callable(part) else type(part)
        if named is part or hasattr(part, "get_config"):
            found[named.__name__] = named
    return {name: part for name, part in found.items() if not part.__module__.startswith("tf_keras.")}


def _with_flags(model: Any, made: Any) -> Any:
    """Give a copy the flags that say what is trained; parents first, since setting one sets those of its parts."""
    for layer, own in zip(layers_in(model), layers_in(made), strict=True):
        if own.trainable != layer.trainable:
            own.trainable = layer.trainable
    return made


def give_weights(made: Any, model: Any) -> None:
    """Give a copy the model's weights, those of embedding layers excepted."""
    for layer, own in zip(layers_in(model), layers_in(made), strict=True):
        if isinstance(layer, tf_keras.layers.Embedding):
            continue
        for target, weight in zip(_weights(own), _weights(layer), strict=True):
            target.assign(weight)


def _weights(layer: Any) -> list[Any]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]  # noqa: SLF001 - its own, not those of its parts
