"""CrossInjector for DeepCTR-Torch's ``fit``: a callback that gives the running model crosses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepctr_torch.callbacks import Callback
from nid_torch.growing import TOWER, check_room, freeze, named
from nid_torch.optimising import Newcomers, schedulers_of

from nid_deepctr_torch.inject import become_residual, tower_for
from nid_plugins.callbacks.injector import L2_OF_SUM
from nid_plugins.callbacks.injector import CrossInjector as Core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema


class CrossInjector(Callback):  # type: ignore[misc]
    """Trains the base for some epochs, then puts the best crosses into the running model; ``fit`` goes on.

    The model stays the same object. The cross embeddings join ``model.optim`` as a group of their own, with the settings
    of the first one, times ``rate`` for the learning rate, and ``l2`` times their squared norm joins the loss, which
    DeepCTR-Torch sums over the batch. Early stopping may go back to weights from before the crosses came.

    Args:
        schema: The model's fields; None for those of its columns.
        train: Training frame.
        label: Its labels, or the name of its column.
        valid: Frame of held-out rows.
        valid_label: Its labels, or the name of its column.
        scheduler: The scheduler of the learning rates of ``model.optim``, or several, where there is one.
        **options: As for :class:`nid_plugins.callbacks.injector.CrossInjector`: ``after``, ``max_crosses``, ``l2``, ...

    Attributes:
        core: What chooses; its ``status`` tells what has happened, its ``crosses`` what was chosen.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: Labels do not fit their frame.

    Example::

        injector = CrossInjector(train=train, label="click", valid=valid, after=2)
        model.fit(x, y, epochs=10, callbacks=[injector])
    """

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        train: Any = None,
        label: Any = None,
        valid: Any = None,
        valid_label: Any = None,
        *,
        scheduler: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.core = Core(schema, train, label, valid, valid_label, **options)
        self._scheduler = scheduler

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that the optimiser's schedulers are known.

        Raises:
            SettingError: One is not the optimiser's.
            UnsupportedError: The optimiser has one, and it was not given.
        """
        schedulers_of(self.model.optim, self._scheduler)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Inject if it is time to."""
        if self.core.due(epoch) and not getattr(self.model, "stop_training", False):
            self.core.apply(self.model, lambda crosses: self._put(self.model, crosses), epoch=epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside the states of model and optimiser, ready for JSON."""
        return self.core.state_dict()

    def restore(self, model: Any, state: Mapping[str, Any]) -> CrossInjector:
        """Go on from a checkpoint; return this callback, for ``fit(initial_epoch=..., callbacks=[...])``.

        The fresh, compiled model and its optimiser are given the crosses they had, so that both states can be loaded
        then. Where crosses were not injected yet, training goes on until they are.

        Args:
            model: The base, made and compiled like that of the first run.
            state: What :meth:`state_dict` returned.

        Raises:
            ArtefactError: The state is damaged, or of another version.
            SettingError: The scheduler is not the optimiser's.
            SchemaError: A member of a cross is not a column of the model.
            ModelError: The model fails on rows that fit its columns.
            UnsupportedError: The model or its optimiser cannot take crosses, or a scheduler was not given.
        """
        self.core.load_state_dict(state)
        if self.core.crosses is not None:
            self._put(model, self.core.crosses)
            self.core.status = "injected"
        return self

    def _put(self, model: Any, crosses: CrossFeatures) -> None:
        core = self.core
        options = {"seed": core.seed, "l2": L2_OF_SUM if core.l2 is None else core.l2, **core.tower}
        known, tower = tower_for(model, crosses, output=core.output, **options)
        check_room(model, type(model), (TOWER,))
        newcomers = Newcomers(
            model.optim,
            named(tower),
            rate=core.rate,
            weight_decay=0.0 if "weight_decay" in model.optim.param_groups[0] else None,  # l2 is in the loss
            schedulers=self._scheduler,
        )
        newcomers.join()  # first: what follows cannot fail
        become_residual(model, tower, known, frozen=core.frozen)
        model.nid_grown = True
        if core.frozen:
            freeze(model)
