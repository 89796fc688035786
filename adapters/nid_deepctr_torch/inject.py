"""Giving crosses to DeepCTR-Torch models: on the logit of one that exists, or as further columns of a fresh one."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from nid_torch.growing import named
from nid_torch.inject import copied
from nid_torch.layers import CrossIds, CrossTower
from nid_torch.model import check_exact_matrix, home
from nid_torch.optimising import Newcomers

from nid_deepctr_torch.layers import Builder, Rebuilt, Residual, crossed_class, table_of
from nid_deepctr_torch.model import DeepCTRTorchPredictor, check_single_task, schema_of, task_output
from nid_plugins.adapting import (
    TowerOptions,
    built_by,
    check_all_used,
    check_embeddings,
    check_exact_crosses,
    check_members,
    check_names,
    column_names,
    common_dim,
    flag,
    pair_of,
    positive,
    probed_output,
    python_random_kept,
)
from nid_plugins.errors import ModelError, NidWarning, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.crosses import CrossFeatures


def residual(
    model: Any,
    crosses: CrossFeatures,
    *,
    output: Output = "auto",
    frozen: bool = False,
    l2: float = 1e-5,
    **tower: Any,
) -> Any:
    """Return a copy of a model with a tower of crosses on its logit; at first it returns exactly what the model does.

    If the model was compiled, so is the copy, which keeps the optimiser's state; ``fit`` goes on at once.

    Args:
        model: The model; it is left unchanged.
        crosses: The crosses; their members are columns of the model.
        output: What the model returns. ``"auto"``: what its task says.
        frozen: Whether the model is kept as it is: its parameters take no gradient and it stays in eval mode.
        l2: Weight of the squared norm of the cross embeddings in the loss of ``fit``; DeepCTR-Torch's own default for
            embeddings. Note that its loss is a sum over the batch.
        **tower: ``dim``, ``hidden``, ``dropout``, ``embeddings``, ``train_embeddings``, ``train_projection``, ``seed``;
            see :class:`~nid_torch.layers.CrossTower`.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: A member of a cross is not a column of the model, or of another kind.
        ModelError: The model fails on rows that fit its columns, or does not return one score a row.
        UnsupportedError: A column or the kind of model has no counterpart here, or it has injected crosses already.
    """
    frozen = flag("frozen", frozen)
    known, made = tower_for(model, crosses, output=output, l2=l2, **tower)
    target: Any = copied(model)
    if frozen:
        target.requires_grad_(requires_grad=False)
        target.eval()
    become_residual(target, made, known, frozen=frozen)
    if getattr(target, "optim", None) is not None:
        try:
            Newcomers(target.optim, named(made), schedulers=()).join()
        except UnsupportedError as error:
            del target.optim
            warnings.warn(f"{error} Call compile() again.", NidWarning, stacklevel=2)
    return target


def tower_for(
    model: Any, crosses: CrossFeatures, *, output: Output = "auto", **tower: Any
) -> tuple[Literal["probability", "logit"], CrossTower]:
    """Return what a model returns, and a tower of crosses for it, on its device and in its mode.

    Args:
        model: The model; it is left unchanged.
        crosses: The crosses.
        output: As in :func:`residual`.
        **tower: Options of the tower, ``l2`` among them.

    Raises:
        SettingError: As for :func:`residual`.
        SchemaError: As there.
        ModelError: As there.
        UnsupportedError: As there.
    """
    check_names(tower, TowerOptions.names(), "unknown option of inject")
    if isinstance(model, Residual):
        raise UnsupportedError(
            "the model has injected crosses already",
            received=list(model.nid_crosses),
            hint="Inject all crosses into the original model in one call",
        )
    declared = schema_of(model)
    check_members(crosses, declared)
    device, dtype = home(model)
    check_exact_matrix(declared, dtype)
    known = task_output(model) if output == "auto" else output
    if known not in ("probability", "logit"):
        raise SettingError(
            "cannot tell what the model returns" if output == "auto" else "unknown output",
            received=f"output={output!r}, task={getattr(getattr(model, 'out', None), 'task', None)!r}",
            expected='output="probability" or output="logit"',
        )
    probed_output(DeepCTRTorchPredictor(model, declared), crosses, known, schema=declared)
    at = {name: j for j, name in enumerate(declared.names)}
    made = CrossTower(crosses, at, dtype=dtype, **tower).to(device).train(model.training)
    return known, made


def become_residual(
    model: Any, tower: CrossTower, output: Literal["probability", "logit"], *, frozen: bool
) -> None:
    """Turn a model into one with a tower on its logit, the penalty of the tower's embeddings in its loss."""
    model.__class__ = crossed_class("residual", type(model))
    model.cross_tower = tower
    model.nid_crosses = tower.names
    model.nid_output = output
    model.nid_frozen = frozen
    if tower.l2:
        model.add_regularization_weight(tower.embedding.weight, l2=tower.l2)


def check_rebuild_options(options: Mapping[str, Any]) -> None:
    """Check the names of options meant for :func:`rebuild`.

    Raises:
        SettingError: An option it does not have.
    """
    allowed = [name for name in inspect.signature(rebuild).parameters if name not in {"builder", "crosses"}]
    check_names(options, allowed, 'unknown option of inject with mode="rebuild"')


def rebuild(
    builder: Builder,
    crosses: CrossFeatures,
    *,
    columns: Any,
    embedding_dim: int | None = None,
    embeddings: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Any:
    """Return a fresh model that has the crosses as further sparse columns, and takes inputs without them.

    This is how GLIDER gives interactions to a model (Tsang et al., ICLR 2020, section 4.2). Unlike there the ids are
    computed in the model's own ``forward``.

    Args:
        builder: Called with linear and deep columns, returns a fresh model; whatever it does to the random state of
            torch, NumPy and ``random`` is undone.
        crosses: The crosses; their members are among the columns.
        columns: A pair ``(linear, deep)`` of lists of feature columns, or one list for both.
        embedding_dim: Of the crosses. By default that of the other deep columns, where most agree.
        embeddings: Cross name to array (V + 1, dim) to start from.

    Raises:
        SettingError: Columns or embeddings do not fit.
        SchemaError: A member of a cross is not a column, or of another kind.
        ModelError: The builder leaves the crosses out, or does not return a DeepCTR-Torch model of one score a row.
    """
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models.basemodel import BaseModel

    linear, deep = pair_of(columns)
    check_exact_crosses(crosses)  # DeepCTR-Torch casts all its inputs to float32
    dim = common_dim(deep) if embedding_dim is None else positive("embedding_dim", embedding_dim)
    given = check_embeddings(embeddings, crosses.names, crosses.vocabulary_sizes, dim)
    # PyTorch forbids dots in a module's name.
    names = column_names(crosses, {column.name for column in (*linear, *deep)}, forbidden=r"\.")
    added = [
        SparseFeat(name, size + 1, embedding_dim=dim)
        for name, size in zip(names, crosses.vocabulary_sizes, strict=True)
    ]
    with _random_state_kept():
        model = built_by(builder, [*linear, *added], [*deep, *added])
    if not isinstance(model, BaseModel) or isinstance(model, Rebuilt):
        raise ModelError(
            "the builder does not return a fresh DeepCTR-Torch model",
            received=type(model).__qualname__,
            expected="e.g. lambda linear, deep: DeepFM(linear, deep)",
        )
    check_single_task(model)
    check_all_used(names, model.feature_index)
    return _without_crosses(model, crosses, names, given)


def _without_crosses(
    model: Any, crosses: CrossFeatures, names: list[str], given: Mapping[str, npt.NDArray[np.float64]]
) -> Any:
    """Turn a model with columns for the crosses into one that takes inputs without them."""
    model.__class__ = crossed_class("rebuilt", type(model))
    model.nid_columns = tuple(names)
    model.nid_rebuilt = crosses.names
    declared = schema_of(model)
    check_members(crosses, declared)
    device, dtype = home(model)
    check_exact_matrix(declared, dtype)
    model.cross_ids = CrossIds(crosses, {name: j for j, name in enumerate(declared.names)}).to(device)
    side_by_side = [*declared.names, *names]
    order = [side_by_side.index(name) for name in model.feature_index]
    model.register_buffer("nid_order", torch.tensor(order, device=device), persistent=False)
    with torch.no_grad():
        for name, values in given.items():
            table = table_of(model, names[crosses.names.index(name)])
            if table.shape != values.shape:
                raise SettingError(
                    f"embeddings of cross {name!r} do not fit the fresh model",
                    received=values.shape,
                    expected=tuple(table.shape),
                    hint="The builder uses the crosses in the linear part only",
                )
            table.copy_(torch.from_numpy(values))
    known = task_output(model)
    probed_output(DeepCTRTorchPredictor(model, declared), crosses, known, known, schema=declared)
    return model


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    # DeepCTR-Torch's constructors seed torch globally.
    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with python_random_kept():
            yield
    finally:
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
