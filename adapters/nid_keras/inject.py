"""Residual injection: a Keras model plus a tower of crosses on its logit, the same inputs, the same output shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nid_keras.copying import compiled_like, copied
from nid_keras.crossed import specs_of
from nid_keras.declared import Declared, declared_inputs, declared_output
from nid_keras.flavour import keras_of, layers_for
from nid_keras.ids import CrossIdsMixin
from nid_keras.layers import CrossEmbeddingMixin
from nid_keras.model import KerasPredictor, flat_layers, scores, untouched
from nid_keras.randomness import names_kept, random_kept
from nid_plugins.adapting.inputs import Inputs, check_extract
from nid_plugins.adapting.options import TowerOptions, flag
from nid_plugins.adapting.probe import probed_output, synthetic_rows
from nid_plugins.crosses.room import Room
from nid_plugins.errors import NidError, NidWarning, SettingError, UnsupportedError

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.crosses import CrossFeatures

Extract = Callable[..., Mapping[str, Any]]

_TRAINING = ("fit", "train_step", "test_step", "predict_step", "compute_loss")
"""Methods of a model that say how it is trained; they are not those of a model it is a part of."""


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
            ``seed``; see :class:`~nid_keras.keras3.CrossTower`.

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
    # What the head says goes before what its output on some rows looks like.
    known = probed_output(predictor, crosses, declared_output(model) if output == "auto" else output)
    args, kwargs = feed(synthetic_rows(crosses, 2))
    args, kwargs = tf.nest.map_structure(tf.convert_to_tensor, (args, kwargs))
    base = copied(model, fresh, lambda copy: copy(*args, **kwargs))
    _check_same(model, base, feed(synthetic_rows(crosses)))
    _tell_own_training(keras, model)
    layers = layers_for(keras)
    with random_kept(), names_kept():
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
            _rename(base, declared.names)
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
    made = [
        # In Keras 3 no layer's name has a slash, but a key of a mapping may.
        keras.Input(own.shape, dtype=own.dtype, name=None if "/" in own.name else own.name)
        for own in declared.inputs
    ]
    inputs: Any = made
    if declared.kind == "mapping":
        inputs = dict(zip(declared.names, made, strict=True))
    elif declared.kind == "single":
        inputs = made[0]
    out = base(inputs)
    out = out[0] if isinstance(out, list | tuple) else out
    delta = tower(_extracted(tower, members, inputs))
    return keras.Model(inputs, corrected([out, delta]), name=f"crossed_{base.name}")


def _extracted(tower: Any, members: Extract, inputs: Any) -> Any:
    """Return the members of the crosses, as symbolic tensors of one value a row.

    Raises:
        SettingError: A user's ``extract`` does not give them.
    """
    try:
        found = members(inputs)
    except NidError:
        raise
    except Exception as error:
        raise SettingError(
            f"extract raised {type(error).__name__}: {error}",
            expected="a function of the model's inputs, as it takes them, to a mapping of field name to tensor",
        ) from error
    if not isinstance(found, Mapping):
        if hasattr(found, "shape"):  # one matrix
            return found
        raise SettingError("extract does not return a mapping", received=type(found).__qualname__)
    for name in tower.fields:
        shape = getattr(found.get(name), "shape", None)
        if shape is None or len(shape) not in {1, 2} or (len(shape) == 2 and shape[1] not in {None, 1}):
            raise SettingError(
                "extract does not give this member of a cross",
                field=name,
                received=f"{sorted(found)}" if name not in found else f"shape {shape}",
                expected="a symbolic tensor of shape (n,) or (n, 1)",
            )
        dtype = tf.as_dtype(found[name].dtype)
        if not (dtype.is_integer or dtype.is_floating):
            raise SettingError(
                "a member of a cross must be a number", field=name, received=f"dtype {dtype.name}"
            )
    return {name: found[name] for name in tower.fields}


def _members(declared: Declared, names: tuple[str, ...]) -> Extract:
    def members(inputs: Any) -> Any:
        if declared.kind == "mapping":
            return inputs
        if declared.kind == "list":
            return dict(zip(names, inputs, strict=True))
        return inputs if len(names) > 1 else {names[0]: inputs}

    return members


def _check_same(model: Any, copy: Any, batch: tuple[Any, Any]) -> None:
    """Check that a copy returns what the model does, where the model returns the same twice.

    Raises:
        UnsupportedError: It does not: the model has state, or settings, its configuration leaves out.
    """
    args, kwargs = tf.nest.map_structure(tf.convert_to_tensor, batch)

    def asked(one: Any) -> npt.NDArray[Any]:
        with random_kept(), names_kept(), untouched(one):
            return scores(one(*args, training=False, **kwargs))

    first, second = asked(model), asked(copy)
    if np.array_equal(first, second, equal_nan=True) or not np.array_equal(
        first, asked(model), equal_nan=True
    ):
        return
    raise UnsupportedError(
        "a copy of the model does not return what the model does",
        received=f"a difference of {np.nanmax(np.abs(first - second)):.3g} on rows drawn from the crosses' schema",
        expected="a model whose get_config() and weights say all there is to it",
        hint="Pass fresh=, a function that returns a new, built model with the same settings",
    )


def _tell_own_training(keras: Any, model: Any) -> None:
    own = [name for name in _TRAINING if getattr(type(model), name) is not getattr(keras.Model, name)]
    if own:
        warnings.warn(
            f"the model has its own {', '.join(own)}, which the target has not: fit() trains the target as it trains any "
            "model, so train it in a loop of your own where that matters",
            NidWarning,
            stacklevel=4,
        )


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


def _rename(base: Any, taken: tuple[str, ...]) -> None:
    """Give a model that is called like an input another name: beside each other they would be two layers of one name."""
    name = base.name
    while name in taken:
        name += "_base"
    if name != base.name:
        # The name is an attribute in Keras 3, and a property without a setter in tf_keras.
        setattr(base, "_name" if isinstance(getattr(type(base), "name", None), property) else "name", name)


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
