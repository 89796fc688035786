"""PyTorch models as functions of rows, left exactly as they were found."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nid_plugins.adapter import Output, Predictor
from nid_plugins.adapting import check_exact_ids, check_inputs
from nid_plugins.blackbox import arguments
from nid_plugins.errors import ModelError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema


class TorchPredictor(Predictor):
    """A module as a function of rows.

    Args:
        model: The module.
        schema: Its fields.
        inputs: How it takes a batch. ``"auto"``: see :func:`resolve_inputs`.
        output: What it returns. ``"auto"``: see :func:`declared_output`.

    Raises:
        SettingError: ``inputs`` is unknown, or does not fit the model's signature.
        SchemaError: Ids of a field would be rounded in a float32 matrix.
        UnsupportedError: Not a module.
    """

    def __init__(
        self, model: nn.Module, schema: FeatureSchema, *, inputs: Inputs = "auto", output: Output = "auto"
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UnsupportedError(
                "not a PyTorch model", received=type(model).__qualname__, expected="torch.nn.Module"
            )
        self._model = model
        self._schema = schema
        self._inputs = resolve_inputs(model, schema) if inputs == "auto" else check_inputs(inputs)
        self.output = declared_output(model) if output == "auto" else output
        if self._inputs == "matrix":
            check_exact_matrix(schema, home(model)[1])
        self._session = Session(model)

    @property
    def row_dtype(self) -> npt.DTypeLike:
        """float32 where the model takes a matrix of it."""
        return matrix_dtype(self._session.home()[1]) if self._inputs == "matrix" else np.float64

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        """Return the model's output for rows (n, p)."""
        device, dtype = self._session.home()
        args, kwargs = batch(rows, self._schema, self._inputs, device, dtype)
        with self._session, torch.no_grad():
            return scores(self._model(*args, **kwargs))

    def session(self) -> Session:
        """Return a context in which the model is in eval mode and, at the end, as it was."""
        return self._session


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for a while; then restore the mode of every submodule, buffers and torch's random state.

    Flags are set directly: ``train`` and ``eval`` may be overridden with side effects.
    """
    # Walks over parameters and buffers by the public iterators cost as much as a small model's prediction: the tree is
    # walked once, a module's own buffers are looked up, and parameters only where there is a GPU in use.
    modules = _tree(model)
    training = [module for module in modules if module.training]
    buffers = [
        (module, name, tensor, tensor.clone())
        for module in modules
        if module._buffers and not getattr(module, "nid_constant", False)  # noqa: SLF001 - see above
        for name, tensor in module.named_buffers(recurse=False)
    ]
    cpu = torch.get_rng_state()
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = {tensor.device for tensor in model.parameters() if tensor.is_cuda} if used else set()
    states = [(gpu, torch.cuda.get_rng_state(gpu)) for gpu in gpus]
    try:
        _set_training(training, False)
        yield
    finally:
        _set_training(training, True)
        _restore(buffers)
        torch.set_rng_state(cpu)
        for gpu, state in states:
            torch.cuda.set_rng_state(state, gpu)


def _set_training(modules: list[nn.Module], training: bool) -> None:
    for module in modules:
        # The attribute's own way is slow: it asks first whether it is given a parameter, a module or a buffer.
        if type(module).__setattr__ is nn.Module.__setattr__:
            module.__dict__["training"] = training
        else:  # a scripted module keeps it elsewhere
            module.training = training


def _tree(model: nn.Module) -> list[nn.Module]:
    """Return all modules of a model, each once; ``modules()`` spends most of its time on their names."""
    found = {id(model): model}
    todo = [model]
    while todo:
        for child in todo.pop()._modules.values():  # noqa: SLF001 - see above
            if child is not None and id(child) not in found:
                found[id(child)] = child
                todo.append(child)
    return list(found.values())


class Session:
    """:func:`untouched` for one model; entered again inside itself, it costs nothing.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._open: list[contextlib.AbstractContextManager[None]] = []
        self._depth = 0
        self._look = Home(model)
        self._home: tuple[torch.device, torch.dtype] | None = None

    def home(self) -> tuple[torch.device, torch.dtype]:
        """Return :func:`home` of the model, looked up once as long as the session lasts."""
        found = self._home or self._look()
        if self._depth:
            self._home = found
        return found

    def __enter__(self) -> None:
        if not self._depth:
            context = untouched(self._model)
            context.__enter__()
            self._open.append(context)
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._home = None
            self._open.pop().__exit__(*error)  # type: ignore[arg-type]


@torch.no_grad()
def _restore(buffers: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    # Some models count or keep statistics whatever their mode.
    for module, name, tensor, before in buffers:
        if getattr(module, name, None) is not tensor:
            setattr(module, name, tensor)
        if not torch.equal(tensor, before):
            tensor.copy_(before)


def home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device of a model's first parameter or buffer, and the dtype its inputs have: float32 or float64."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    if first is None:
        return torch.device("cpu"), torch.float32
    double = any(parameter.dtype == torch.float64 for parameter in model.parameters())
    return first.device, torch.float64 if double else torch.float32


def own_matrix(rows: npt.NDArray[Any], dtype: torch.dtype) -> npt.NDArray[Any]:
    """Return rows as a matrix for a tensor of this dtype. A model may write to it: float64 rows are somebody else's."""
    return rows.astype(matrix_dtype(dtype), copy=rows.dtype != np.float32)


def matrix_dtype(dtype: torch.dtype) -> type[np.float32 | np.float64]:
    """Return NumPy's dtype of a matrix whose tensor has this dtype, one of :func:`home`."""
    return np.float64 if dtype == torch.float64 else np.float32


class Home:
    """:func:`home` of one model, worked out again only when its first parameter has moved or changed its dtype.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first: tuple[torch.device, torch.dtype] | None = None
        self._home = home(model)

    def __call__(self) -> tuple[torch.device, torch.dtype]:
        """Return device and input dtype."""
        first = next(itertools.chain(self._model.parameters(), self._model.buffers()), None)
        seen = None if first is None else (first.device, first.dtype)
        if seen != self._first:
            self._first, self._home = seen, home(self._model)
        return self._home


def batch(
    rows: FloatMatrix, schema: FeatureSchema, inputs: Inputs, device: torch.device, dtype: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return ``(args, kwargs)`` of tensors: ids int64, dense values and matrices float32 (float64 for such a model)."""
    if inputs == "matrix":
        matrix = own_matrix(rows, dtype)
        return (torch.from_numpy(matrix).to(device),), {}
    args, kwargs = arguments(rows, schema, inputs)
    # A callable chooses its own dtypes; it may return arrays or tensors.
    wanted = None if callable(inputs) else dtype
    return tuple(_tensors(a, device, wanted) for a in args), {
        k: _tensors(v, device, wanted) for k, v in kwargs.items()
    }


def _tensors(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        return value.to(device, dtype if dtype is not None and value.is_floating_point() else value.dtype)
    if isinstance(value, Mapping):
        return {name: _tensors(own, device, dtype) for name, own in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_tensors(own, device, dtype) for own in value)
    return value


def scores(out: Any) -> npt.NDArray[Any]:
    """Return a model's output as an array.

    Raises:
        ModelError: It is not a tensor.
    """
    if not isinstance(out, Tensor):
        raise ModelError(
            "the model does not return a tensor",
            received=type(out).__qualname__,
            expected="a tensor of shape (n,) or (n, 1)",
            hint="Wrap it in a module that picks one output",
        )
    out = out.detach()
    if out.is_floating_point() and out.dtype != torch.float64:
        out = out.to(torch.float32)  # NumPy has no bfloat16
    return np.asarray(out.cpu().numpy())


def resolve_inputs(model: nn.Module, schema: FeatureSchema) -> Inputs:
    """Return how a model takes a batch, by the signature of its ``forward``.

    ``"positional"`` when it has one required parameter a field and there are several fields, ``"mapping"`` when its one
    parameter is annotated as a mapping, else ``"matrix"``.

    Raises:
        SettingError: The parameters are named like the fields, in another order.
    """
    own = getattr(model, "nid_inputs", None)  # an injected model knows
    if own is not None:
        return own  # type: ignore[no-any-return]
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # e.g. compiled to C++
        return "matrix"
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if len(required) == 1:
        return "mapping" if _is_mapping(_annotation(model, required[0])) else "matrix"
    if len(required) != len(schema) or not required:
        return "matrix"
    names = tuple(p.name for p in required)
    if names != schema.names and set(names) == set(schema.names):
        raise SettingError(
            "the model takes the schema's fields in another order",
            received=f"forward{names}",
            expected=f"the schema's order {schema.names}",
            hint='Order the schema as forward does, or pass inputs="positional" if its order is meant',
        )
    return "positional"


def _annotation(model: nn.Module, parameter: inspect.Parameter) -> Any:
    try:
        return typing.get_type_hints(type(model).forward).get(parameter.name, parameter.annotation)
    except Exception:  # noqa: BLE001 - a name that only type checkers can resolve; the text will have to do
        return parameter.annotation


def _is_mapping(annotation: Any) -> bool:
    if isinstance(annotation, str):
        name = annotation.strip("\"' ").split("[")[0].rsplit(".", 1)[-1].lower()
        return name in {"dict", "mapping", "mutablemapping", "ordereddict", "typeddict"}
    if typing.is_typeddict(annotation):
        return True
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def declared_output(model: nn.Module) -> Output:
    """Return ``"probability"`` when the module tree ends in a sigmoid, else ``"auto"``: only values can tell."""
    own = getattr(model, "nid_output", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    return "probability" if leaves and isinstance(leaves[-1], nn.Sigmoid) else "auto"


def check_exact_matrix(schema: FeatureSchema, dtype: torch.dtype) -> None:
    """Check that a matrix of this dtype holds every id exactly.

    Raises:
        SchemaError: A field has more ids than float32 tells apart.
    """
    if dtype != torch.float64:
        check_exact_ids(schema)
