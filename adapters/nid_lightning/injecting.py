"""The hooks of CrossInjector, for the callback classes of both of Lightning's packages."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from nid_torch.growing import TOWER, Growth
from nid_torch.optimising import decay_of

from nid_lightning.ranks import Ranks
from nid_plugins.adapting import check_extract
from nid_plugins.callbacks.injector import CrossInjector as Core
from nid_plugins.errors import ArtefactError, NidWarning, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_torch.inject import Extract
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

_PREFIX = f"{TOWER}."


class InjectorHooks:
    """Mixed into a callback class: puts crosses into a LightningModule on the way, and lets training go on.

    The module stays the same object; ``self(...)`` in its ``training_step`` is corrected by the crosses from then on.
    They join an optimiser as a group of their own, with the settings of its first one, times ``rate`` for the learning
    rate; what it knows of the other parameters is kept, and schedulers go on as they would have.

    Where several processes train (DDP), the first one chooses while the others wait, all put the same crosses in between
    the same two steps or none does, and the gradients of the crosses are averaged after each backward pass.

    A checkpoint holds the crosses. ``trainer.fit(module, ckpt_path=...)`` with a fresh base and this callback goes on
    from it, before or after the injection; so do ``validate``, ``test`` and ``predict``.
    """

    core: Core

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        train: Any = None,
        label: Any = None,
        valid: Any = None,
        valid_label: Any = None,
        *,
        optimiser: int = 0,
        extract: Extract | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.core = Core(schema, train, label, valid, valid_label, **options)
        if callable(self.core.wrap.get("inputs")):
            check_extract(self.core.wrap["inputs"], extract)
        if isinstance(optimiser, bool) or not isinstance(optimiser, int) or optimiser < 0:
            raise SettingError(
                "optimiser is a place in the trainer's list",
                received=repr(optimiser),
                expected="an integer from 0",
            )
        self._optimiser = optimiser
        self._extract = extract
        self._ranks = Ranks()
        self._fresh = self.core.state_dict()
        self._module: nn.Module | None = None
        self._growth: Growth | None = None
        self._weights: dict[str, Tensor] = {}
        self._loaded = self._told = False
        self._hook: Any = None
        self._unused = False

    # The life of a run

    def setup(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:
        """Get ready, before the trainer makes the optimisers and loads a checkpoint.

        Raises:
            UnsupportedError: The strategy or the freezing of the base cannot be had while this trainer trains.
        """
        self._loaded = self._unused = False
        if stage == "fit":
            self._ranks = Ranks.of(trainer)
            if self.core.frozen and self._ranks.size > 1:
                raise UnsupportedError(
                    "distributed training expects gradients of all it began with",
                    received="frozen=True",
                    expected="frozen=False, or a single process",
                    hint="Call nid.inject(model, crosses, frozen=True) and train the result",
                )
            self._take_out(pl_module)
        if not hasattr(pl_module, TOWER):
            # A checkpoint's crosses come in after the base's weights and before the optimisers' states.
            module: Any = pl_module
            self._hook = module._register_load_state_dict_pre_hook(self._before_load)  # noqa: SLF001 - public since 2.5

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Put in what a checkpoint, or the run before, had; the optimisers are there and their states still to come.

        Raises:
            ArtefactError: The checkpoint has weights of crosses, but not the crosses.
            SettingError: There is no such optimiser.
        """
        optimiser = self._optimiser_of(trainer)
        self._check_loaded()
        if not self._told and (self._loaded or pl_module is not self._module):
            self.core.load_state_dict(
                self._fresh
            )  # another model, or other weights, than those of the run before
        self._module = pl_module
        self._put_back(trainer, pl_module, optimiser)

    def on_train_epoch_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Inject if it is time to."""
        epoch = trainer.current_epoch - 1
        if not self.core.due(epoch):
            return
        if self._ranks.size == 1:
            self.core.choose(pl_module, epoch=epoch)
        else:
            state = self._ranks.from_first(lambda: self._chosen(pl_module, epoch))
            if self._ranks.rank:
                self.core.load_state_dict(state)
        if self.core.crosses is not None:
            optimiser = self._optimiser_of(trainer)
            self.core.put(
                pl_module,
                self.core.crosses,
                lambda crosses: self._put(trainer, pl_module, crosses, optimiser),
            )

    def on_after_backward(self, trainer: Any, pl_module: nn.Module) -> None:
        """Average the gradients of the crosses over the ranks."""
        if self._growth is None:
            return
        parameters = [p for p in self._growth.tower.parameters() if p.requires_grad]
        if parameters and not self._unused and all(p.grad is None for p in parameters):
            self._unused = True
            warnings.warn(
                "the injected crosses take no part in the loss: training_step does not call the module's forward",
                NidWarning,
                stacklevel=2,
            )
        # False while gradients are accumulated: they are averaged once, with DDP's own.
        if getattr(trainer.strategy.model, "require_backward_grad_sync", True):
            self._ranks.average(parameters)

    def on_validation_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Put in what a checkpoint had, for ``trainer.validate``.

        Raises:
            ArtefactError: As for :meth:`on_fit_start`.
        """
        self._check_loaded()
        if self._told:
            self._put_back(trainer, pl_module)

    def on_test_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Put in what a checkpoint had, for ``trainer.test``.

        Raises:
            ArtefactError: As for :meth:`on_fit_start`.
        """
        self._check_loaded()
        if self._told:
            self._put_back(trainer, pl_module)

    def on_predict_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Put in what a checkpoint had, for ``trainer.predict``.

        Raises:
            ArtefactError: As for :meth:`on_fit_start`.
        """
        self._check_loaded()
        if self._told:
            self._put_back(trainer, pl_module)

    def teardown(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:
        """Leave nothing behind but the crosses."""
        self._unhook()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        """As :meth:`teardown`, which is not called then."""
        self._unhook()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the injector: what has happened, and the crosses themselves."""
        return self.core.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ArtefactError: Its state is damaged, or of another version.
        """
        self.core.load_state_dict(state_dict)
        self._told = True

    # Inside

    def _chosen(self, module: nn.Module, epoch: int) -> dict[str, Any]:
        """Return the core's state once it has chosen; whatever fails, the other ranks are waiting for it."""
        self.core.choose(module, epoch=epoch)
        try:
            return self.core.state_dict()
        except Exception as error:  # noqa: BLE001 - e.g. a full disk; training goes on
            warnings.warn(
                f"no crosses were injected, they cannot be passed on: {error}; training goes on without",
                NidWarning,
                stacklevel=2,
            )
            self.core.crosses, self.core.status = None, "failed"
            return self.core.state_dict()

    def _put(
        self, trainer: Any, module: nn.Module, crosses: CrossFeatures, optimiser: Optimizer | None
    ) -> Growth:
        """Put crosses into the module on all ranks, or on none."""
        core = self.core
        schedulers = [
            config.scheduler
            for config in trainer.lr_scheduler_configs
            if optimiser is not None and getattr(config.scheduler, "optimizer", None) is optimiser
        ]
        growth, problem = None, None
        try:
            # Evaluation may run in inference mode, whose tensors cannot be trained later on.
            with torch.inference_mode(mode=False):
                growth = Growth(
                    module,
                    crosses,
                    inputs=core.wrap.get("inputs", "auto"),
                    output=core.output,
                    extract=self._extract,
                    frozen=core.frozen,
                    optimiser=optimiser,
                    schedulers=schedulers,
                    rate=core.rate,
                    weight_decay=None if optimiser is None else decay_of(optimiser, core.l2),
                    **{"seed": core.seed, **core.tower},
                )
        except Exception as error:  # noqa: BLE001 - raised below, once all ranks know
            problem = error
        if not self._ranks.all_of(growth is not None):
            raise problem or UnsupportedError("the crosses could not be put in on another rank")
        assert growth is not None
        growth.attach()
        self._growth = growth
        return growth

    def _check_loaded(self) -> None:
        self._unhook()
        if self._loaded and not self._told and self._weights:
            raise ArtefactError(
                "the checkpoint has weights of crosses, but not the crosses",
                received=sorted(self._weights)[:3],
                expected="a checkpoint of a run with this callback, not of weights only",
            )

    def _put_back(self, trainer: Any, module: nn.Module, optimiser: Optimizer | None = None) -> None:
        """Put the core's crosses into a module that has none, with the weights they had."""
        weights, self._weights = self._weights, {}
        self._loaded = self._told = False
        if hasattr(module, TOWER) or self.core.crosses is None:
            return
        growth = self._put(trainer, module, self.core.crosses, optimiser)
        if weights:
            growth.tower.load_state_dict(weights)
        self.core.status = "injected"

    def _take_out(self, module: nn.Module) -> None:
        """Take out crosses this callback has put in, for optimisers that are made anew, until :meth:`_put_back`."""
        growth, self._growth = self._growth, None
        self._weights = {}
        if growth is not None and growth.model is module and hasattr(module, TOWER):
            self._weights = dict(growth.detach().state_dict())

    def _before_load(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        self._loaded = True
        self._weights = {
            name.removeprefix(_PREFIX): state.pop(name)
            for name in [name for name in state if name.startswith(_PREFIX)]
        }

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _optimiser_of(self, trainer: Any) -> Optimizer:
        optimisers = trainer.optimizers
        if self._optimiser >= len(optimisers):
            raise SettingError(
                "the trainer has fewer optimisers",
                received=f"optimiser={self._optimiser}",
                expected=f"below {len(optimisers)}",
            )
        return optimisers[self._optimiser]  # type: ignore[no-any-return]
