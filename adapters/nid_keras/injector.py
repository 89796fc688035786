"""CrossInjector as a callback of Keras; the classes, one a Keras, are in keras3.py and tf_keras2.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_keras.reserved import tower_of
from nid_plugins.callbacks.injector import CrossInjector as Core
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.schema import FeatureSchema

_Callback: Any = object  # as in callbacks.py

_RESERVED: dict[str, Any] = {"tower": {}, "l2": None, "frozen": False, "rate": 1.0}
"""Options of the core that a Keras model has from the start, with what they are when not given."""


class CrossInjectorMixin(_Callback):  # type: ignore[misc]
    """Trains the base for some epochs, then fills the best crosses into the running model and lets training go on.

    The model is one that :func:`nid_keras.reserved.reserve` (or :func:`nid_deepctr.reserved.reserve`) made room in. Its
    training step, its optimiser with all it knows, and its schedule of learning rates are left as they are.

    The crosses are a part of the model's weights from then on. So whatever saves these (``ModelCheckpoint``,
    ``BackupAndRestore``, ``model.save``) saves them, and an injector that finds crosses in the model when training
    starts does nothing.

    Args:
        schema: The model's fields; may be left out: the room says them.
        train: Training frame.
        label: Its labels, or the name of its column.
        valid: Frame of held-out rows.
        valid_label: Its labels, or the name of its column.
        **options: As for :class:`nid_plugins.callbacks.injector.CrossInjector`: ``after``, ``max_crosses``, ... What the
            tower of crosses is like (``tower``, ``l2``, ``frozen``) is said to ``reserve`` instead, and ``rate`` must
            be 1: a Keras optimiser has one learning rate.

    Attributes:
        core: What chooses; its ``status`` tells what has happened, its ``crosses`` what was chosen.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: Labels do not fit their frame.
    """

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        train: Any = None,
        label: Any = None,
        valid: Any = None,
        valid_label: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.core = Core(schema, train, label, valid, valid_label, **options)
        for name, unset in _RESERVED.items():
            if name in options and getattr(self.core, name) != unset:
                raise SettingError(
                    f"{name} is not for an injector of Keras",
                    received=repr(getattr(self.core, name)),
                    expected="a learning rate of the whole model's" if name == "rate" else "it left out",
                    hint="The optimiser has one learning rate" if name == "rate" else "Say it to reserve()",
                )

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Training begins.

        Raises:
            ModelError: The model has no room for crosses.
        """
        chooser, room = self.core.chooser, tower_of(self.model).room
        chooser.schema = room.schema if chooser.schema is None else chooser.schema

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch begins: by now whatever resumes a training has done so."""
        crosses = tower_of(self.model).crosses()
        if self.core.status == "waiting" and crosses is not None:
            self.core.status, self.core.crosses = "injected", crosses

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended: choose crosses and fill them in, if it is time to."""
        if not self.core.due(epoch):
            return
        tower = tower_of(self.model)
        self.core.apply(self.model, tower.fill, epoch=epoch, fitting=tower.fitting, most=tower.free)
