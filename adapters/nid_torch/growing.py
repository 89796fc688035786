"""Crosses for a model that is being trained: it stays the same object, and its class becomes a subclass of its own.

The loop, the optimiser and whatever else holds the model go on holding it. :func:`nid_torch.inject.inject` is for a
model that is at rest; it copies.
"""

from __future__ import annotations

import contextlib
import inspect
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from nid_plugins.adapting import TowerOptions, check_extract, check_inputs, check_names, flag, probed_output
from nid_plugins.errors import SettingError, UnsupportedError
from nid_torch.inject import corrected, keywords_of, members_of
from nid_torch.layers import CrossTower
from nid_torch.model import TorchPredictor, check_exact_matrix, declared_output, home, resolve_inputs
from nid_torch.optimising import Newcomers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.optim import Optimizer

    from nid_plugins.adapter import Output
    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.crosses import CrossFeatures
    from nid_torch.inject import Extract

TOWER = "cross_tower"
"""Name of the submodule a model gains, under which its state has the crosses."""

# The models' classes are only known at run time; to the type checker the class below is a plain module.
_Model: Any = nn.Module if TYPE_CHECKING else object


class Grown(_Model):  # type: ignore[misc]
    """Mixed into the class of a model that has grown a tower of crosses.

    Attributes:
        cross_tower: The :class:`~nid_torch.layers.CrossTower`.
        nid_inputs: How it takes a batch.
        nid_output: What it returns, ``"probability"`` or ``"logit"``.
        nid_frozen: Whether all but the tower stays in eval mode.
    """

    cross_tower: CrossTower
    nid_inputs: Inputs
    nid_output: Literal["probability", "logit"]
    nid_frozen: bool
    nid_names: tuple[str, ...]
    nid_keywords: dict[str, str]
    nid_extract: Extract | None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the model's output, corrected by the crosses; same shape and dtype."""
        # Read first: a model may write to its inputs.
        members = members_of(
            args,
            kwargs,
            self.nid_inputs,
            names=self.nid_names,
            keywords=self.nid_keywords,
            extract=self.nid_extract,
        )
        delta = self.cross_tower(members)
        return corrected(super().forward(*args, **kwargs), delta, self.nid_output)

    def train(self, mode: bool = True) -> Any:
        """Set the mode; a frozen model stays in eval mode, its own flag included."""
        super().train(mode and not self.nid_frozen)
        self.cross_tower.train(mode)
        return self

    def penalty(self) -> Tensor:
        """Return the regularisation of the cross embeddings, to be added to the loss; 0 unless ``l2`` was given."""
        return self.cross_tower.penalty()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        admit_earlier(self.cross_tower, state_dict, f"{prefix}{TOWER}.")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def admit_earlier(tower: CrossTower, state: dict[str, Any], prefix: str) -> None:
    """Complete a state saved before the crosses came: with it the model returns what it returned then.

    Early stopping goes back to the best weights, and those may be from before.

    Args:
        tower: The tower.
        state: State about to be loaded; left as it is when it has a tower.
        prefix: Of the tower's names in it.
    """
    if any(name.startswith(prefix) for name in state):
        return
    for name, value in tower.state_dict().items():
        state[prefix + name] = torch.zeros_like(value) if name == "embedding.weight" else value


class Growth:
    """What will give a model crosses in place. Made first, which may fail and changes nothing; then attached.

    Until the next step of training the model returns exactly what it did. Its parameters and buffers stay the same
    objects; its state has further names under ``cross_tower.``, and states saved before can still be loaded.

    Args:
        model: A module that returns one score a row.
        crosses: The crosses; their schema is the model's.
        inputs: How the model takes a batch, as in ``nid.wrap``.
        output: What it returns, as in :func:`nid_torch.inject.inject`.
        extract: As in :func:`nid_torch.inject.inject`.
        frozen: Whether everything else is kept as it is: it takes no gradient and stays in eval mode.
        optimiser: What trains the model, and is to train the tower too; None if it is not at work yet.
        schedulers: Every scheduler of its learning rates.
        rate: Learning rate of the tower over that of the optimiser's first group.
        weight_decay: Of the tower; None for that of the first group.
        **tower: ``dim``, ``hidden``, ``dropout``, ``l2``, ``embeddings``, ``train_embeddings``, ``train_projection``,
            ``seed``; see :class:`~nid_torch.layers.CrossTower`.

    Attributes:
        model: As given.
        tower: The tower; a submodule of the model once attached.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: Ids of a member would be rounded in a float32 matrix.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: The model has crosses already or cannot change its class, or the optimiser takes no further
            parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        crosses: CrossFeatures,
        *,
        inputs: Inputs = "auto",
        output: Output = "auto",
        extract: Extract | None = None,
        frozen: bool = False,
        optimiser: Optimizer | None = None,
        schedulers: Any = None,
        rate: float = 1.0,
        weight_decay: float | None = None,
        **tower: Any,
    ) -> None:
        check_names(tower, TowerOptions.names(), "unknown option of the tower")
        frozen = flag("frozen", frozen)
        check_pliable(model)
        schema = crosses.schema
        inputs = resolve_inputs(model, schema) if inputs == "auto" else check_inputs(inputs)
        check_extract(inputs, extract)
        device, dtype = home(model)
        if inputs == "matrix" and extract is None:
            check_exact_matrix(schema, dtype)
        predictor = TorchPredictor(model, schema, inputs=inputs, output=output)
        known = probed_output(predictor, crosses, output, declared_output(model))
        self.model = model
        self.tower = CrossTower(crosses, dtype=dtype, **tower).to(device).train(model.training)
        self._frozen = frozen
        self._thawed: list[nn.Parameter] = []
        self._class = grown_class(type(model))
        self._attributes = {
            "nid_inputs": inputs,
            "nid_output": known,
            "nid_frozen": frozen,
            "nid_names": schema.names,
            "nid_keywords": keywords_of(model, schema.names) if inputs == "positional" else {},
            "nid_extract": extract,
        }
        check_room(model, self._class, (TOWER, *self._attributes))
        self._newcomers = None
        if optimiser is not None:
            self._newcomers = Newcomers(
                optimiser,
                named(self.tower),
                rate=rate,
                weight_decay=weight_decay,
                schedulers=schedulers,
            )

    def attach(self) -> CrossTower:
        """Give the model its tower; return that.

        Raises:
            UnsupportedError: The optimiser takes no group after all; nothing has changed.
        """
        if self._newcomers is not None:
            self._newcomers.join()  # first: what follows cannot fail
        drop_lent_forward(self.model)
        self.model.__class__ = self._class
        for name, value in {TOWER: self.tower, **self._attributes}.items():
            setattr(self.model, name, value)
        if self._frozen:
            own = {id(parameter) for parameter in self.tower.parameters()}
            self._thawed = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
            freeze(self.model)
        return self.tower

    def detach(self) -> CrossTower:
        """Make the model what it was before, for training to start anew; return the tower, with what it has learned.

        The optimiser goes on training the tower: make another one.
        """
        training = self.tower.training
        drop_lent_forward(self.model)
        self.model.__class__ = self._class.nid_base
        for name in (TOWER, *self._attributes):
            delattr(self.model, name)
        if self._frozen:
            for parameter in self._thawed:
                parameter.requires_grad = True
            self.model.train(training)
        return self.tower


def named(tower: CrossTower) -> dict[str, nn.Parameter]:
    """Return the parameters of a tower by their names in the model that has it."""
    return {f"{TOWER}.{name}": parameter for name, parameter in tower.named_parameters()}


def check_pliable(model: nn.Module) -> None:
    """Check that a model can gain a tower and a class.

    Raises:
        UnsupportedError: It has injected crosses, is compiled to TorchScript, or has a ``forward`` of its own beside
            its class's.
    """
    own_towers = [module for module in model.modules() if isinstance(module, CrossTower)]
    if own_towers:
        raise UnsupportedError(
            "the model has injected crosses already",
            received=[name for tower in own_towers for name in tower.names],
            hint="Inject all crosses into the original model at once",
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedError(
            "a scripted model cannot take crosses while it is trained",
            received=type(model).__qualname__,
            hint="Train the module itself, and script it afterwards; or use nid.inject",
        )
    if "forward" in vars(model) and not _is_lent(model):
        raise UnsupportedError(
            "the model's forward was replaced on the object",
            received=repr(vars(model)["forward"]),
            expected="a forward of its class",
            hint="Subclass the model instead",
        )


def check_room(model: nn.Module, grown: type[Any], names: Iterable[str]) -> None:
    """Check that a model can be of another class, and has no attributes of these names.

    Raises:
        UnsupportedError: It cannot, or has.
    """
    taken = sorted(name for name in names if hasattr(model, name))
    if taken:
        raise UnsupportedError(
            "the model has attributes of these names", received=taken, hint="Rename them to inject crosses"
        )
    before = type(model)
    try:
        model.__class__ = grown
    except TypeError as error:
        raise UnsupportedError(
            f"the model's class cannot be changed: {error}", received=before.__qualname__
        ) from error
    model.__class__ = before


def drop_lent_forward(model: nn.Module) -> None:
    """Remove a ``forward`` on the object that is only its class's.

    Lightning's strategies lend a model another forward for a while, and leave the usual one behind as an attribute,
    which would shadow that of the new class.
    """
    if _is_lent(model):
        del model.__dict__["forward"]


def _is_lent(model: nn.Module) -> bool:
    own = vars(model).get("forward")
    return isinstance(own, MethodType) and own.__self__ is model and own.__func__ is type(model).forward


def freeze(model: nn.Module) -> None:
    """Freeze all but the tower: no gradients, those of the last step dropped, and eval mode."""
    tower = {id(parameter) for parameter in getattr(model, TOWER).parameters()}
    for parameter in model.parameters():
        if id(parameter) not in tower:
            parameter.requires_grad = False
            parameter.grad = None  # an optimiser would go on applying it
    model.train(getattr(model, TOWER).training)


_CLASSES: dict[type, Any] = {}


def grown_class(base: type[nn.Module]) -> Any:
    """Return the subclass of a model's class that has a tower; the same one each time, so that pickle finds it."""
    if base not in _CLASSES:

        def forward(self: Any, *args: Any, **kwargs: Any) -> Tensor:
            return Grown.forward(self, *args, **kwargs)

        # Trainers look at the signature, and torch.export names inputs by it.
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            forward.__signature__ = inspect.signature(base.forward)  # type: ignore[attr-defined]
        forward.__doc__ = Grown.forward.__doc__
        body = {
            "forward": forward,
            "__module__": __name__,
            "__reduce_ex__": _reduce,
            "nid_base": base,
        }
        return _CLASSES.setdefault(base, type(f"Grown{base.__name__}", (Grown, base), body))
    return _CLASSES[base]


def _reduce(self: Any, protocol: Any) -> tuple[Any, ...]:  # noqa: ARG001 - the signature of __reduce_ex__
    return (_blank, (self.nid_base,), self.__dict__)


def _blank(base: type[nn.Module]) -> Any:
    made = grown_class(base)
    return made.__new__(made)


def inner(model: nn.Module) -> nn.Module:
    """Return the model inside what ``torch.compile`` or ``DataParallel`` made of it.

    Raises:
        SettingError: Not a module.
        UnsupportedError: It is distributed: the reducer of its gradients would not know of further parameters.
    """
    if not isinstance(model, nn.Module):
        raise SettingError(
            "not a PyTorch model", received=type(model).__qualname__, expected="torch.nn.Module"
        )
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise UnsupportedError(
            "a distributed model cannot take crosses while it is trained",
            received=type(model).__qualname__,
            hint="Use the callback of nid_lightning, or inject before the model is wrapped",
        )
    for name, kind in (("_orig_mod", None), ("module", nn.DataParallel)):
        own = getattr(model, name, None)
        if isinstance(own, nn.Module) and (kind is None or isinstance(model, kind)):
            return inner(own)
    return model
