"""Training for ``nid demo``: a DeepFM of DeepCTR-Torch, and one loop for it and for what crosses make of it."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from nid_plugins.errors import MissingExtraError, SchemaError
from nid_plugins.frames import read_matrix
from nid_plugins.metrics import log_loss
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nid_plugins.schema import FeatureSchema

Floats = npt.NDArray[np.float64]

_DECAY = 0.2  # of the learning rate, when a pass makes nothing better


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is built and trained.

    Args:
        dim: Length of an embedding.
        hidden: Widths of the deep part.
        dropout: Its dropout.
        l2: Penalty on embeddings (``l2_reg_embedding`` of DeepCTR-Torch, whose loss is a sum over the batch).
        init_std: Of embeddings. DeepCTR-Torch's default, 1e-4, leaves products of two embeddings without a gradient
            for the first epochs.
        rate: Learning rate of Adam.
        batch: Rows a step.
        epochs: Most passes over the training rows.
        patience: Times a pass may leave validation log-loss no better. After each, training goes on from the best
            state with smaller steps; then it stops.
    """

    dim: int = 8
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = 0.0
    l2: float = 1.0
    init_std: float = 0.05
    rate: float = 3e-3
    batch: int = 512
    epochs: int = 20
    patience: int = 3


def need_deepctr_torch() -> Any:
    """Import DeepCTR-Torch and return it.

    It asks the network for a newer version in a thread and prints when it cannot; that is kept off the screen.

    Raises:
        MissingExtraError: It, or PyTorch, is not installed.
    """
    for package in ("torch", "deepctr_torch", "requests"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"the demo trains a DeepCTR-Torch model and needs {package}",
                hint="pip install 'nid-plugins[deepctr-torch]'",
            )
    before = set(threading.enumerate())
    with contextlib.redirect_stdout(io.StringIO()):
        import deepctr_torch

        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=2.0)
    return deepctr_torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: steps this small gain nothing by more, and on a busy machine lose ten times over."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def deepfm(schema: FeatureSchema, recipe: Recipe, seed: int) -> Any:
    """Return a DeepFM on all fields of a schema.

    Raises:
        MissingExtraError: DeepCTR-Torch is not installed.
        SchemaError: It cannot take a field of this name.
    """
    need_deepctr_torch()
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    columns = [
        SparseFeat(field.name, field.cardinality, recipe.dim)
        if isinstance(field, SparseField)
        else DenseFeat(field.name, 1)
        for field in schema
    ]
    try:
        return DeepFM(
            columns,
            columns,
            dnn_hidden_units=recipe.hidden,
            dnn_dropout=recipe.dropout,
            l2_reg_embedding=recipe.l2,
            init_std=recipe.init_std,
            seed=seed,
        )
    except (
        KeyError
    ) as error:  # embeddings are kept in a ModuleDict, which wants names that could be attributes
        raise SchemaError(
            "DeepCTR-Torch cannot take a field of this name",
            received=str(error.args[0]),
            expected="names without dots that torch.nn.ModuleDict does not use itself (type, values, keys, ...)",
            hint="Rename the column, or leave it out with --exclude",
        ) from error


def train(
    model: Any,
    schema: FeatureSchema,
    training: tuple[Mapping[str, Any], npt.NDArray[np.int64]],
    validation: tuple[Mapping[str, Any], npt.NDArray[np.int64]],
    recipe: Recipe,
    *,
    penalty: Callable[[], Any],
    seed: int,
    title: str,
) -> int:
    """Train a model that takes a matrix and returns probabilities, and leave it at its best validation log-loss.

    The state the model comes in counts as the first candidate, so that training never makes it worse on validation.

    Args:
        model: The module; trained in place.
        schema: Order of the matrix's columns.
        training: Frame and clicks to fit.
        validation: Frame and clicks that decide when to stop.
        recipe: Learning rate, batch, epochs, patience.
        penalty: Called after each forward pass; returns what is added to the summed loss.
        seed: Of the order of rows.
        title: For the progress bar.

    Returns:
        Number of passes made.
    """
    import torch

    rows = torch.from_numpy(read_matrix(training[0], schema).astype(np.float32))
    clicks = torch.from_numpy(training[1].astype(np.float32))
    held = read_matrix(validation[0], schema).astype(np.float32)
    optimiser = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=recipe.rate, fused=True
    )
    order = torch.Generator().manual_seed(seed)
    best, kept, worse, made = (
        log_loss(validation[1], logits(model, held)),
        copy.deepcopy(model.state_dict()),
        0,
        0,
    )
    with tqdm(total=recipe.epochs, unit="epoch", desc=title, leave=False, disable=None) as bar:
        while made < recipe.epochs and worse < recipe.patience:
            model.train()
            shuffled = torch.randperm(len(rows), generator=order)
            for start in range(0, len(rows), recipe.batch):
                part = shuffled[start : start + recipe.batch]
                predicted = model(rows[part]).reshape(-1)
                loss = torch.nn.functional.binary_cross_entropy(predicted, clicks[part], reduction="sum")
                optimiser.zero_grad()
                (loss + penalty()).sum().backward()
                optimiser.step()
            made += 1
            reached = log_loss(validation[1], logits(model, held))
            bar.set_postfix_str(f"validation log-loss {reached:.4f}")
            bar.update()
            if reached < best:
                best, kept = reached, copy.deepcopy(model.state_dict())
                continue
            worse += 1
            model.load_state_dict(kept)
            for group in optimiser.param_groups:
                group["lr"] *= _DECAY
    model.load_state_dict(kept)
    model.eval()
    return made


def logits(model: Any, rows: npt.NDArray[np.float32], batch: int = 4096) -> Floats:
    """Return the logits of a model that returns probabilities, shape (n,)."""
    import torch

    model.eval()
    with torch.no_grad():
        tensor = torch.from_numpy(rows)
        parts = [model(tensor[start : start + batch]).reshape(-1) for start in range(0, len(rows), batch)]
        probability = torch.cat(parts).double().clamp(1e-7, 1 - 1e-7)
    return torch.logit(probability).numpy()
