"""A model that declares no inputs, with crosses on its logit."""

from __future__ import annotations

import importlib
from typing import Any


class CrossedModelMixin:
    """A subclassed model with crosses on its logit; takes the base's inputs.

    Args:
        base: The copy of the model.
        tower: The ``CrossTower``.
        corrected: The ``Corrected``.
        names: Field names where the base takes one argument a field; None where it takes one argument.
        frozen: Whether the base runs in inference mode and does not learn.
        **kwargs: Of a Keras model: ``name``, ``dtype``, ``trainable``.
    """

    keras: Any
    layers_module: str

    def __init__(
        self, base: Any, tower: Any, corrected: Any, *, names: Any = None, frozen: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.tower = tower
        self.corrected = corrected
        self.nid_names = None if names is None else list(names)
        self.nid_frozen = frozen
        if frozen:
            base.trainable = False

    def call(self, *inputs: Any, training: bool | None = None) -> Any:
        """Return the base's output, corrected by the crosses; same shape and dtype."""
        members = inputs[0] if self.nid_names is None else dict(zip(self.nid_names, inputs, strict=True))
        delta = self.tower(members, training=training)
        out = self.base(*inputs, training=False if self.nid_frozen else training)
        return self.corrected([out, delta])

    def get_config(self) -> dict[str, Any]:
        """Return what makes the model again."""
        serialized = self.keras.saving.serialize_keras_object
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        parts = {name: serialized(getattr(self, name)) for name in ("base", "tower", "corrected")}
        return {**config, **parts, "names": self.nid_names, "frozen": self.nid_frozen}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:  # noqa: ARG003 - Keras's contract
        """Return the model a config describes."""
        importlib.import_module(cls.layers_module)
        made = cls.keras.saving.deserialize_keras_object
        parts = {name: made(config[name]) for name in ("base", "tower", "corrected")}
        return cls(**{**config, **parts})
