"""Giving crosses to DeepCTR-Torch models: on the logit of one that exists, or as further columns of a fresh one."""

from __future__ import annotations

import contextlib
import inspect
import random
import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nid_torch.inject import check_tower_options, copied
from nid_torch.layers import CrossIds, CrossTower, check_embeddings, positive
from nid_torch.model import FLOAT32_IDS, check_exact_ids, home

from nid_deepctr_torch.layers import Builder, Rebuilt, Residual, crossed_class, table_of
from nid_deepctr_torch.model import check_single_task, schema_of, task_output
from nid_plugins.errors import ModelError, NidError, NidWarning, SchemaError, SettingError, UnsupportedError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    from torch import nn

    from nid_plugins.adapter import Output
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema


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
        UnsupportedError: A column or the kind of model has no counterpart here, or it has injected crosses already.
    """
    check_tower_options(tower)
    if isinstance(model, Residual):
        raise UnsupportedError(
            "the model has injected crosses already",
            received=list(model.nid_crosses),
            hint="Inject all crosses into the original model in one call",
        )
    declared = schema_of(model)
    _check_members(crosses, declared)
    device, dtype = home(model)
    check_exact_ids(declared, dtype)
    known = task_output(model) if output == "auto" else output
    if known not in {"probability", "logit"}:
        raise SettingError(
            "cannot tell what the model returns" if output == "auto" else "unknown output",
            received=f"output={output!r}, task={getattr(getattr(model, 'out', None), 'task', None)!r}",
            expected='output="probability" or output="logit"',
        )
    at = {name: j for j, name in enumerate(declared.names)}
    made = CrossTower(crosses, at, l2=l2, dtype=dtype, **tower).to(device).train(model.training)
    target: Any = copied(model)
    if frozen:
        target.requires_grad_(requires_grad=False)
        target.eval()
    target.__class__ = crossed_class("residual", type(model))
    target.cross_tower = made
    target.nid_crosses = crosses.names
    target.nid_output = known
    target.nid_frozen = frozen
    if made.l2:
        target.add_regularization_weight(made.embedding.weight, l2=made.l2)
    if getattr(target, "optim", None) is not None:
        _add_to_optimiser(target, list(made.parameters()))
    return target


def _add_to_optimiser(target: Any, parameters: list[nn.Parameter]) -> None:
    """Give the optimiser of a compiled model further parameters, with the settings of its first group."""
    optimiser = target.optim
    settings = {k: v for k, v in optimiser.param_groups[0].items() if k not in {"params", "param_names"}}
    try:
        # Some optimisers (Adagrad) make their state when they are constructed: a fresh one tells what it is, and
        # whether several groups are allowed.
        accepted = set(inspect.signature(type(optimiser)).parameters) & set(settings)
        groups = [{"params": [parameter]} for parameter in parameters]
        fresh = type(optimiser)(groups, **{name: settings[name] for name in accepted})
        optimiser.add_param_group({**settings, "params": parameters})
        optimiser.state.update(fresh.state)
    except (TypeError, ValueError) as error:  # LBFGS takes one group; others may take arguments of their own
        del target.optim
        warnings.warn(
            f"the optimiser {type(optimiser).__name__} takes no further parameters ({error}): call compile() again",
            NidWarning,
            stacklevel=2,
        )


def check_rebuild_options(options: Mapping[str, Any]) -> None:
    """Check the names of options meant for :func:`rebuild`.

    Raises:
        SettingError: An option it does not have.
    """
    allowed = [name for name in inspect.signature(rebuild).parameters if name not in {"builder", "crosses"}]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise SettingError(
            'unknown option of inject with mode="rebuild"', received=unknown, expected=f"of {allowed}"
        )


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
        ModelError: The builder leaves the crosses out, or does not return a DeepCTR-Torch model.
    """
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models.basemodel import BaseModel

    linear, deep = _pair(columns)
    _check_sizes(crosses)
    dim = _common_dim(deep) if embedding_dim is None else positive("embedding_dim", embedding_dim)
    given = check_embeddings(embeddings, crosses.names, crosses.vocabulary_sizes, dim)
    names = _column_names(crosses, {column.name for column in (*linear, *deep)})
    added = [
        SparseFeat(name, size + 1, embedding_dim=dim)
        for name, size in zip(names, crosses.vocabulary_sizes, strict=True)
    ]
    with _random_state_kept():
        try:
            model = builder([*linear, *added], [*deep, *added])
        except NidError:
            raise
        except Exception as error:
            raise ModelError(
                f"the builder raised {type(error).__name__}: {error}",
                expected="a function of (linear columns, deep columns), e.g. lambda linear, deep: DeepFM(linear, deep)",
                hint="Call it with these columns by hand",
            ) from error
    if not isinstance(model, BaseModel) or isinstance(model, Rebuilt):
        raise ModelError(
            "the builder does not return a fresh DeepCTR-Torch model",
            received=type(model).__qualname__,
            expected="e.g. lambda linear, deep: DeepFM(linear, deep)",
        )
    check_single_task(model)
    absent = [name for name in names if name not in model.feature_index]
    if absent:
        raise ModelError(
            "the builder leaves crosses out",
            received=f"no column {absent}",
            hint="Use the columns it is called with",
        )
    return _without_crosses(model, crosses, names, given)


def _without_crosses(
    model: Any, crosses: CrossFeatures, names: list[str], given: Mapping[str, npt.NDArray[np.float64]]
) -> Any:
    """Turn a model with columns for the crosses into one that takes inputs without them."""
    model.__class__ = crossed_class("rebuilt", type(model))
    model.nid_columns = tuple(names)
    model.nid_rebuilt = crosses.names
    declared = schema_of(model)
    _check_members(crosses, declared)
    device, dtype = home(model)
    check_exact_ids(declared, dtype)
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
    return model


def _check_members(crosses: CrossFeatures, declared: FeatureSchema) -> None:
    for name in dict.fromkeys(name for cross in crosses.crosses for name in cross.fields):
        if name not in declared.names:
            raise SchemaError(
                "a cross of a field that is not a column of the model",
                field=name,
                expected=f"one of {list(declared.names)}",
                hint="Fit the crosses with nid.FeatureSchema.of(model)",
            )
        mine, own = crosses.schema[name], declared[name]
        if isinstance(mine, SparseField) != isinstance(own, SparseField):
            raise SchemaError(
                "the model's column is of another kind",
                field=name,
                received=repr(own),
                expected=repr(mine),
                hint="Fit the crosses with nid.FeatureSchema.of(model)",
            )


def _pair(columns: Any) -> tuple[list[Any], list[Any]]:
    parts = list(columns)
    if len(parts) == 2 and all(
        isinstance(part, list | tuple) and not hasattr(part, "_fields") for part in parts
    ):
        return list(parts[0]), list(parts[1])
    if parts and all(hasattr(part, "_fields") for part in parts):
        return parts, parts
    raise SettingError(
        "columns are neither a list of feature columns nor a pair of such lists",
        received=repr(columns)[:200],
        expected="(linear_columns, deep_columns), or one list for both",
    )


def _check_sizes(crosses: CrossFeatures) -> None:
    # DeepCTR-Torch casts all its inputs to float32.
    for cross in crosses.crosses:
        if cross.vocabulary + 1 > FLOAT32_IDS:
            raise SettingError(
                f"cross {cross.name!r} has more ids than float32 tells apart",
                received=cross.vocabulary + 1,
                expected=f"at most 2**24 = {FLOAT32_IDS}",
                hint="Raise min_count in nid.fit_crosses",
            )


def _common_dim(columns: Sequence[Any]) -> int:
    dims = Counter(int(column.embedding_dim) for column in columns if hasattr(column, "embedding_dim"))
    if not dims:
        raise SettingError(
            "there is no deep sparse column to take the embedding's length from",
            expected="embedding_dim=",
            hint="Pass embedding_dim",
        )
    return dims.most_common(1)[0][0]


def _column_names(crosses: CrossFeatures, taken: set[str]) -> list[str]:
    """Return a column name for each cross: its own, but for dots, which PyTorch forbids in a module's name."""
    names: list[str] = []
    for name in crosses.names:
        plain = free = re.sub(r"\.", "_", name)
        number = 2
        while free in taken or free in names:
            if free == name:
                raise SettingError("a cross has the name of a column", field=name, hint="Rename the column")
            free, number = f"{plain}__{number}", number + 1
        names.append(free)
    return names


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    # DeepCTR-Torch's constructors seed torch globally.
    cpu = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a builder may touch
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - as above
