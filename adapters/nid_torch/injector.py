"""CrossInjector for a training loop of one's own in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_plugins.adapting import check_extract
from nid_plugins.callbacks.injector import CrossInjector as Core
from nid_plugins.errors import SettingError
from nid_torch.growing import Growth, inner
from nid_torch.optimising import decay_of, schedulers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn
    from torch.optim import Optimizer

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema
    from nid_torch.inject import Extract


class CrossInjector:
    """Trains the base for some epochs, then puts the best crosses into the running model and lets training go on.

    The model stays the same object. The cross embeddings join the optimiser as a group of their own, with the settings
    of the first one, times ``rate`` for the learning rate; what it knows of the other parameters is kept, and schedulers
    go on as they would have. ``l2`` becomes the weight decay of that group, ``2 * l2``: for SGD, Adam and Adagrad the
    same as ``l2`` times the squared norm in a loss that is a mean. AdamW, whose decay is of another kind, keeps that of
    its first group unless ``l2`` is given.

    Args:
        schema: The model's fields.
        train: Training frame.
        label: Its labels, or the name of its column.
        valid: Frame of held-out rows.
        valid_label: Its labels, or the name of its column.
        extract: Needed where ``wrap={"inputs": ...}`` is a callable, as in :func:`nid_torch.inject.inject`.
        **options: As for :class:`nid_plugins.callbacks.injector.CrossInjector`: ``after``, ``max_crosses``, ``rate``, ...

    Attributes:
        core: What chooses; its ``status`` tells what has happened, its ``crosses`` what was chosen.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: Labels do not fit their frame.

    Example::

        injector = CrossInjector(schema, train, "click", valid, after=2).begin(model, optimiser, scheduler)
        for epoch in range(10):
            train_one_epoch(model, optimiser)
            scheduler.step()
            injector.epoch_end(epoch)
    """

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        train: Any = None,
        label: Any = None,
        valid: Any = None,
        valid_label: Any = None,
        *,
        extract: Extract | None = None,
        **options: Any,
    ) -> None:
        self.core = Core(schema, train, label, valid, valid_label, **options)
        if callable(self.core.wrap.get("inputs")):
            check_extract(self.core.wrap["inputs"], extract)
        self._extract = extract
        self._model: nn.Module | None = None
        self._optimiser: Optimizer | None = None
        self._scheduler: Any = None

    def begin(self, model: nn.Module, optimiser: Optimizer, scheduler: Any = None) -> CrossInjector:
        """Take on a model about to be trained; return this injector.

        Args:
            model: The module, or what ``torch.compile`` or ``DataParallel`` made of it.
            optimiser: What trains it.
            scheduler: The scheduler of its learning rates, or several.

        Raises:
            SettingError: The scheduler is not the optimiser's, or the model no module.
            UnsupportedError: The optimiser has a scheduler and none was given, or the model is distributed.
        """
        self._model = inner(model)
        schedulers_of(optimiser, scheduler)
        self._optimiser, self._scheduler = optimiser, scheduler
        return self

    def epoch_end(self, epoch: int) -> bool:
        """Inject if it is time to; call it at the end of each epoch, after the scheduler's step.

        Args:
            epoch: Counted from 0.

        Returns:
            Whether crosses were injected now.

        Raises:
            SettingError: :meth:`begin` was not called.
        """
        if self._model is None:
            raise SettingError("the injector has no model yet", hint="Call begin(model, optimiser) first")
        return self.core.due(epoch) and self.core.apply(self._model, self._put, epoch=epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside the states of model, optimiser and scheduler, ready for JSON."""
        return self.core.state_dict()

    def restore(
        self, model: nn.Module, optimiser: Optimizer, state: Mapping[str, Any], scheduler: Any = None
    ) -> CrossInjector:
        """Go on from a checkpoint, in place of :meth:`begin`; return this injector.

        The fresh model, optimiser and scheduler are given what they had at the checkpoint, so that all three states can
        be loaded then. Where the crosses were injected before, they are again; else training goes on until they are.

        Args:
            model: The base, made like that of the first run.
            optimiser: Of the base's parameters.
            state: What :meth:`state_dict` returned.
            scheduler: Of the optimiser, made before this.

        Raises:
            ArtefactError: The state is damaged, or of another version.
            SettingError: As for :meth:`begin`.
            UnsupportedError: As for :meth:`begin`; or the model or optimiser cannot take crosses.
            ModelError: The model is not one the crosses were chosen for.
            SchemaError: As before.
        """
        self.begin(model, optimiser, scheduler)
        self.core.load_state_dict(state)
        if self.core.crosses is not None:
            self._put(self.core.crosses)
            self.core.status = "injected"
        return self

    def _put(self, crosses: CrossFeatures) -> None:
        core = self.core
        Growth(
            self._model,  # type: ignore[arg-type]
            crosses,
            inputs=core.wrap.get("inputs", "auto"),
            output=core.output,
            extract=self._extract,
            frozen=core.frozen,
            optimiser=self._optimiser,
            schedulers=self._scheduler,
            rate=core.rate,
            weight_decay=decay_of(self._optimiser, core.l2),  # type: ignore[arg-type]
            **{"seed": core.seed, **core.tower},
        ).attach()
