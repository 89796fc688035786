"""Models inside models: a base that stays as it is, and a base that declares no inputs with crosses on its logit."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf


class FrozenMixin:
    """A model as a layer that is not trained and always runs in inference mode, whatever the mode of the model it is in.

    Args:
        base: The model.
        **kwargs: Of a Keras layer.
    """

    keras: ClassVar[Any]

    def __init__(self, base: Any, **kwargs: Any) -> None:
        kwargs = {**kwargs, "trainable": False, "autocast": False}
        super().__init__(**kwargs)
        base.trainable = False
        self.base = base

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the base is built."""
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the base's output in inference mode."""
        return self.base(inputs, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the base's output."""
        return self.base.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "base": self.keras.saving.serialize_keras_object(self.base)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Return the layer a config describes."""
        base = cls.keras.saving.deserialize_keras_object(config["base"], custom_objects)
        return cls(**{**config, "base": base})


class CrossedModelMixin:
    """A subclassed model with crosses on its logit; takes the base's inputs.

    Args:
        base: The copy of the model.
        tower: The ``CrossTower``.
        corrected: The ``Corrected``.
        names: Field names where the base takes one argument a field; None where it takes one argument.
        frozen: Whether the base runs in inference mode and does not learn.
        specs: What the base takes, as ``specs_of`` describes it: a new model is built on it when it is loaded.
        nid_inputs: How it takes a batch; see ``nid.wrap``.
        **kwargs: Of a Keras model: ``name``, ``dtype``, ``trainable``.
    """

    keras: ClassVar[Any]
    layers_module: ClassVar[str]

    def __init__(
        self,
        base: Any,
        tower: Any,
        corrected: Any,
        *,
        names: Any = None,
        frozen: bool = False,
        specs: Any = None,
        nid_inputs: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.tower = tower
        self.corrected = corrected
        self.nid_names = None if names is None else tuple(names)
        self.nid_frozen = frozen
        self.nid_specs = _Kept(specs)
        self.nid_inputs = nid_inputs
        if frozen:
            base.trainable = False

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of the crosses; the base makes its own when it is first called."""
        if not self.tower.built:
            self.tower.build(None)
        self.built = True

    def call(self, inputs: Any, *more: Any, training: bool | None = None) -> Any:
        """Return the base's output, corrected by the crosses; same shape and dtype."""
        members = (
            inputs if self.nid_names is None else dict(zip(self.nid_names, (inputs, *more), strict=True))
        )
        delta = self.tower(members, training=training)
        out = self.base(inputs, *more, training=False if self.nid_frozen else training)
        return self.corrected([out, delta])

    def get_config(self) -> dict[str, Any]:
        """Return what makes the model again."""
        serialized = self.keras.saving.serialize_keras_object
        parts = {name: serialized(getattr(self, name)) for name in ("base", "tower", "corrected")}
        return {
            "name": self.name,  # type: ignore[attr-defined]
            **parts,
            "names": None if self.nid_names is None else list(self.nid_names),
            "frozen": self.nid_frozen,
            "specs": self.nid_specs.value,
            "nid_inputs": self.nid_inputs,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Return the model a config describes, built."""
        importlib.import_module(cls.layers_module)
        made = cls.keras.saving.deserialize_keras_object
        parts = {name: made(config[name], custom_objects) for name in ("base", "tower", "corrected")}
        model = cls(**{**config, **parts})
        args, kwargs = zeros_of(config["specs"])
        model(*args, **kwargs)  # type: ignore[operator]
        return model

    def get_build_config(self) -> dict[str, Any]:
        """Return nothing: a model made from its config is built."""
        return {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Do nothing; see :meth:`get_build_config`."""

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        """Export a SavedModel whose signature takes the base's inputs with their own dtypes; see Keras's ``export``."""
        export = super().export  # type: ignore[misc]
        if "input_signature" in inspect.signature(export).parameters and self.nid_names is None:
            kwargs.setdefault("input_signature", [_tensor_specs(self.nid_specs.value[0][0])])
        return export(filepath, *args, **kwargs)


class _Kept:
    """A value Keras does not track, wrap or change."""

    def __init__(self, value: Any) -> None:
        self.value = value


def specs_of(args: Any, kwargs: Any) -> Any:
    """Return shape (without the batch) and dtype of every tensor of a call, JSON-ready."""

    def spec(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {"mapping": {name: spec(own) for name, own in value.items()}}
        if isinstance(value, list | tuple):
            return {"list": [spec(own) for own in value]}
        return {"shape": list(value.shape[1:]), "dtype": value.dtype.name}

    return [[spec(value) for value in args], {name: spec(value) for name, value in kwargs.items()}]


def zeros_of(specs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return a call on two rows of zeros, as :func:`specs_of` described it."""
    args, kwargs = specs
    return [_zeros(own) for own in args], {name: _zeros(own) for name, own in kwargs.items()}


def _zeros(spec: Any) -> Any:
    return _built(spec, lambda shape, dtype, name: tf.zeros([2, *shape], dtype, name=name))


def _tensor_specs(spec: Any) -> Any:
    return _built(spec, lambda shape, dtype, name: tf.TensorSpec([None, *shape], dtype, name=name))


def _built(spec: Any, make: Any, name: str | None = None) -> Any:
    if "mapping" in spec:
        return {key: _built(own, make, key) for key, own in spec["mapping"].items()}
    if "list" in spec:
        return [_built(own, make) for own in spec["list"]]
    return make(spec["shape"], spec["dtype"], name)
