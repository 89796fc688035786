"""Residual injection: a PyTorch model plus a tower of crosses on its logit, the same inputs, the same output shape."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from nid_plugins.adapting import TowerOptions, check_extract, check_inputs, check_names, flag, probed_output
from nid_plugins.errors import FrameError, UnsupportedError
from nid_torch.layers import CrossTower
from nid_torch.model import TorchPredictor, check_exact_matrix, declared_output, home, resolve_inputs

if TYPE_CHECKING:
    from nid_plugins.adapter import Output
    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.crosses import CrossFeatures

Extract = Callable[..., Mapping[str, Tensor]]


class CrossedModule(nn.Module):
    """A model with crosses on its logit. Made by :func:`inject`; takes the base's inputs.

    Attributes:
        base: The copy of the model.
        tower: The :class:`~nid_torch.layers.CrossTower`.
        frozen: Whether the base stays in eval mode.
        nid_inputs: How it takes a batch.
        nid_output: What it returns, ``"probability"`` or ``"logit"``.
    """

    def __init__(
        self,
        base: nn.Module,
        tower: CrossTower,
        *,
        inputs: Inputs,
        output: Literal["probability", "logit"],
        names: tuple[str, ...] = (),
        keywords: Mapping[str, str] | None = None,
        extract: Extract | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.base = base
        self.tower = tower
        self.frozen = frozen
        self.nid_inputs = inputs
        self.nid_output = output
        self._names = names
        self._keywords = dict(keywords or {})
        self._extract = extract
        # Not self.train(): a part of the base that is in another mode than the rest stays so until that is called.
        self.training = base.training
        tower.train(base.training)
        if frozen:
            base.requires_grad_(requires_grad=False)
            base.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the base's output, corrected by the crosses; same shape and dtype."""
        # Read first: a base may write to its inputs.
        members = members_of(
            args, kwargs, self.nid_inputs, names=self._names, keywords=self._keywords, extract=self._extract
        )
        delta = self.tower(members)
        return corrected(self.base(*args, **kwargs), delta, self.nid_output)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class was made at run time; pickle and deepcopy find it by the base's.
        return (_blank, (type(self.base),), self.__dict__)

    def train(self, mode: bool = True) -> CrossedModule:
        """Set the mode; a frozen base stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.base.eval()
        return self

    def penalty(self) -> Tensor:
        """Return the regularisation of the cross embeddings, to be added to the loss; see ``l2`` of :func:`inject`."""
        return self.tower.penalty()


def members_of(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    inputs: Inputs,
    *,
    names: tuple[str, ...],
    keywords: Mapping[str, str],
    extract: Extract | None,
) -> Tensor | Mapping[str, Tensor]:
    """Return what of a model's arguments the crosses are computed from.

    Args:
        args: Positional arguments.
        kwargs: The others.
        inputs: How the model takes a batch.
        names: Names of the fields, for ``"positional"``.
        keywords: Parameter of ``forward`` to name of the field, for ``"positional"``.
        extract: Does it all where it is given.

    Raises:
        FrameError: There are no arguments.
    """
    if extract is not None:
        return extract(*args, **kwargs)
    if inputs == "positional":
        columns = dict(zip(names, args, strict=False))
        for keyword, name in keywords.items():
            if keyword in kwargs:
                columns[name] = kwargs[keyword]
        return columns
    if not args and not kwargs:
        raise FrameError("the model was called without inputs", expected="what the base takes")
    first: Tensor | Mapping[str, Tensor] = args[0] if args else next(iter(kwargs.values()))
    return first


_CLASSES: dict[type, type[CrossedModule]] = {}


def crossed_class(base: type[nn.Module]) -> type[CrossedModule]:
    """Return the :class:`CrossedModule` whose ``forward`` has the signature of the base's.

    That is what ``torch.export`` names inputs by, and what trainers look at.
    """
    if base not in _CLASSES:

        def forward(self: CrossedModule, *args: Any, **kwargs: Any) -> Tensor:
            return CrossedModule.forward(self, *args, **kwargs)

        # Of what is compiled the class may not know the signature: any arguments, then.
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            forward.__signature__ = inspect.signature(base.forward)  # type: ignore[attr-defined]
        forward.__doc__ = CrossedModule.forward.__doc__
        body = {"forward": forward, "__module__": __name__}
        return _CLASSES.setdefault(base, type(f"Crossed{base.__name__}", (CrossedModule,), body))
    return _CLASSES[base]


def _blank(base: type[nn.Module]) -> CrossedModule:
    made = crossed_class(base)
    return made.__new__(made)


def corrected(out: Tensor, delta: Tensor, output: Output) -> Tensor:
    """Return a model's output with ``delta`` added to its logit: exactly ``out`` where delta is 0.

    A probability p becomes ``p + (sigmoid(l + delta) - sigmoid(l))`` with ``l = logit(p)``; taking the logit and coming
    back would lose the last bits. The logit is taken of p clipped to ``[eps, 1 - eps]``, so that a saturated p is
    finite, and can still be moved; the sum is clipped to [0, 1].

    Args:
        out: Shape (n,) or (n, 1); or () for one row.
        delta: Shape (n, 1).
        output: What ``out`` is.
    """
    # A base that ends in squeeze() makes a scalar of one row.
    delta = (delta if out.ndim == 2 else delta.squeeze(1) if out.ndim == 1 else delta.squeeze()).to(out.dtype)
    if output != "probability":
        return out + delta
    logit = torch.logit(out, eps=torch.finfo(out.dtype).eps)
    return (out + (torch.sigmoid(logit + delta) - torch.sigmoid(logit))).clamp(0.0, 1.0)


def inject(
    model: nn.Module,
    crosses: CrossFeatures,
    *,
    inputs: Inputs = "auto",
    output: Output = "auto",
    extract: Extract | None = None,
    frozen: bool = False,
    **tower: Any,
) -> CrossedModule:
    """Return a module that has the crosses and, until it is trained, returns exactly what the model does.

    Args:
        model: Any module that returns one score a row; it is copied, not changed.
        crosses: The crosses; their schema is the model's.
        inputs: How the model takes a batch, as in ``nid.wrap``.
        output: What it returns. ``"auto"``: what the module tree says; else what its output on 256 rows drawn from the
            schema looks like, with a warning where that is a guess.
        extract: Needed where ``inputs`` is a callable: called with the model's arguments, returns a mapping of field
            name to tensor of shape (n,) for at least the members of the crosses.
        frozen: Whether the base is kept as it is: its parameters take no gradient and it stays in eval mode.
        **tower: ``dim``, ``hidden``, ``dropout``, ``l2``, ``embeddings``, ``train_embeddings``, ``train_projection``,
            ``seed``; see :class:`~nid_torch.layers.CrossTower`. The penalty of ``l2`` is the target's ``penalty()``,
            to be added to the loss.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: Ids of a member would be rounded in a float32 matrix.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: The model cannot be copied, or has one of these crosses already.
    """
    check_names(tower, TowerOptions.names(), "unknown option of inject")
    frozen = flag("frozen", frozen)
    schema = crosses.schema
    inputs = resolve_inputs(model, schema) if inputs == "auto" else check_inputs(inputs)
    check_extract(inputs, extract)
    taken = sorted(
        {name for m in model.modules() if isinstance(m, CrossTower) for name in m.names} & set(crosses.names)
    )
    if taken:
        raise UnsupportedError(
            "the model has these crosses already",
            received=taken,
            hint="Go on training the injected model, or inject into the original one",
        )
    device, dtype = home(model)
    if inputs == "matrix" and extract is None:
        check_exact_matrix(schema, dtype)
    predictor = TorchPredictor(model, schema, inputs=inputs, output=output)
    known = probed_output(predictor, crosses, output, declared_output(model))
    base = copied(model)
    made = CrossTower(crosses, dtype=dtype, **tower).to(device)
    return crossed_class(type(base))(
        base,
        made,
        inputs=inputs,
        output=known,
        names=schema.names,
        keywords=keywords_of(model, schema.names) if inputs == "positional" else None,
        extract=extract,
        frozen=frozen,
    )


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy.

    Raises:
        UnsupportedError: The model holds something that cannot be copied.
    """
    # Layers that remember their last result (attention scores, say) hold tensors that deepcopy refuses.
    results = [
        tensor
        for module in model.modules()
        for tensor in _tensors_in(
            [v for k, v in vars(module).items() if k not in {"_parameters", "_modules"}]
        )
        if not tensor.is_leaf
    ]
    try:
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results})
    except Exception as error:
        raise UnsupportedError(
            f"the model cannot be copied: {error}",
            received=type(model).__qualname__,
            expected="a module that copy.deepcopy takes",
            hint="Remove locks, open files and the like from its attributes",
        ) from error


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)


def keywords_of(model: nn.Module, names: tuple[str, ...]) -> dict[str, str]:
    """Return by parameter of ``forward`` the field it takes, for a model with a parameter a field."""
    # Positional parameters may be passed by keyword too.
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return {}
    return dict(zip((p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD), names, strict=False))
