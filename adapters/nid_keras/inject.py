"""Residual injection: a Keras model plus a tower of crosses on its logit, the same inputs, the same output shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from nid_keras.copying import compiled_like, copied
from nid_keras.crossed import specs_of
from nid_keras.declared import Declared, declared_inputs, declared_output
from nid_keras.flavour import keras_of, layers_for
from nid_keras.ids import CrossIdsMixin
from nid_keras.layers import CrossEmbeddingMixin
from nid_keras.model import KerasPredictor, flat_layers
from nid_keras.randomness import random_kept
from nid_plugins.adapting.inputs import Inputs, check_extract
from nid_plugins.adapting.options import TowerOptions, flag
from nid_plugins.adapting.probe import probed_output, synthetic_rows
from nid_plugins.crosses.room import Room
from nid_plugins.errors import NidWarning, SettingError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.crosses import CrossFeatures

Extract = Callable[..., Mapping[str, Any]]


def residual(
    model: Any,
    crosses: CrossFeatures,
    *,
    inputs: Inputs = "auto",
    output: Output = "auto",
    extract: Extract | None = None,
    frozen: bool = False,
    fresh: Callable[[], Any] | None = None,
    **tower: Any,
) -> Any:
    """Return a model that has the crosses and, until it is trained, returns exactly what the model does.

    The copy of the model is one layer of the target, under the model's own name. If the model was compiled, so is the
    target, with an optimiser of the same settings and no state.

    Args:
        model: A built Keras model that returns one score a row; it is copied, not changed.
        crosses: The crosses; their schema is the model's. Or room for crosses: see :func:`nid_keras.reserved.reserve`.
        inputs: How the model takes a batch, as in ``nid.wrap``.
        output: What it returns. ``"auto"``: what its head's activation says; else what its output on 256 rows drawn
            from the schema looks like, with a warning where that is a guess.
        extract: Needed where ``inputs`` is a callable: called with the model's inputs, returns a mapping of field name
            to tensor of shape (n,) or (n, 1) for at least the members of the crosses.
        frozen: Whether the base is kept as it is: its weights are not trained and it runs in inference mode.
        fresh: Returns a new model of the same architecture, where a model's configuration does not describe it.
        **tower: ``dim``, ``hidden``, ``dropout``, ``l2``, ``embeddings``, ``train_embeddings``, ``train_projection``,
            ``seed``; see :class:`~nid_keras.layers.CrossTowerMixin`.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: The crosses' schema does not fit the model's inputs.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: The model cannot be copied, or has one of these crosses already.
    """
    TowerOptions.of(crosses, **tower)
    frozen = flag("frozen", frozen)
    if fresh is not None and not callable(fresh):
        raise SettingError(
            "fresh is not callable", received=repr(fresh), expected="a function that returns a model"
        )
    keras = keras_of(model)
    predictor = KerasPredictor(model, crosses.schema, inputs=inputs, output=output)
    feed = predictor.feed
    check_extract(feed.inputs, extract)
    _check_new(model, crosses)
    known = probed_output(predictor, crosses, output, declared_output(model))
    args, kwargs = feed(synthetic_rows(crosses, 2))
    args, kwargs = tf.nest.map_structure(tf.convert_to_tensor, (args, kwargs))
    base = copied(model, fresh, lambda copy: copy(*args, **kwargs))
    layers = layers_for(keras)
    with random_kept():
        kind = layers.ReservedTower if isinstance(crosses, Room) else layers.CrossTower
        made = kind(crosses, name=_free_name("cross_tower", base), **tower)
        corrected = layers.Corrected(known, name=_free_name("corrected", base))
        declared = declared_inputs(base)
        if declared is None:
            _check_wrapping(keras, base, feed.inputs, extract)
            target = layers.CrossedModel(
                base,
                made,
                corrected,
                names=crosses.schema.names if feed.inputs == "positional" else None,
                frozen=frozen,
                specs=specs_of(args, kwargs),
                nid_inputs=feed.inputs,
                name=f"crossed_{base.name}",
            )
            target(*args, **kwargs)
        else:
            members = extract or _members(declared, feed.names)
            kept = layers.Frozen(base, name=base.name) if frozen else base
            target = _functional(keras, kept, made, corrected, declared, members)
    problem = compiled_like(model, target)
    if problem is not None:
        warnings.warn(
            f"the model's compile settings could not be used again ({problem}): call compile() on the target",
            NidWarning,
            stacklevel=2,
        )
    return target


def _functional(
    keras: Any, base: Any, tower: Any, corrected: Any, declared: Declared, members: Extract
) -> Any:
    """Return a functional model of inputs like the base's."""
    made = [keras.Input(own.shape, dtype=own.dtype, name=own.name) for own in declared.inputs]
    inputs: Any = made
    if declared.kind == "mapping":
        inputs = dict(zip(declared.names, made, strict=True))
    elif declared.kind == "single":
        inputs = made[0]
    out = base(inputs)
    out = out[0] if isinstance(out, list | tuple) else out
    delta = tower(members(inputs))
    return keras.Model(inputs, corrected([out, delta]), name=f"crossed_{base.name}")


def _members(declared: Declared, names: tuple[str, ...]) -> Extract:
    def members(inputs: Any) -> Any:
        if declared.kind == "mapping":
            return inputs
        if declared.kind == "list":
            return dict(zip(names, inputs, strict=True))
        return inputs if len(names) > 1 else {names[0]: inputs}

    return members


def _check_wrapping(keras: Any, base: Any, inputs: Inputs, extract: Extract | None) -> None:
    by_column = inputs == "positional" and keras.__name__.startswith("tf_keras")
    if extract is not None or callable(inputs) or by_column:
        # tf_keras would take the second of several arguments for the mode.
        raise UnsupportedError(
            "crosses on a model that declares no inputs",
            received=f"{type(base).__qualname__}, inputs={inputs if isinstance(inputs, str) else 'a callable'!r}",
            expected="a functional model, or a model that takes one mapping or matrix",
            hint="Make it functional: keras.Model(inputs, model(inputs))",
        )


def _check_new(model: Any, crosses: CrossFeatures) -> None:
    own = {name for layer in flat_layers(model) if isinstance(layer, CrossIdsMixin) for name in layer.names}
    taken = sorted(own & set(crosses.names))
    if taken:
        raise UnsupportedError(
            "the model has these crosses already",
            received=taken,
            hint="Go on training the injected model, or inject into the original one",
        )


def _free_name(name: str, base: Any) -> str:
    taken = {layer.name for layer in flat_layers(base)}
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def embeddings_of(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return the embeddings of a model's injected crosses, whatever layer holds them; empty when there are none."""
    found: dict[str, npt.NDArray[np.float32]] = {}
    for layer in flat_layers(model):
        if isinstance(layer, CrossEmbeddingMixin):
            found.update(layer.cross_embeddings())
    return found
