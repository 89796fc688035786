"""A minibatch loop over tensors in memory, with early stopping on validation log-loss."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import binary_cross_entropy

from nid_plugins.metrics import log_loss

if TYPE_CHECKING:
    from benchmarks.lift.data import Part


@dataclass(frozen=True)
class Fit:
    """How a model is fitted.

    Attributes:
        optimiser: ``"adam"`` or ``"adagrad"``.
        rate: Learning rate.
        rate_linear: Learning rate of one-dimensional tables (the linear part); None for ``rate``.
        decay: L2 of embedding tables, as weight decay on the mean loss.
        decay_linear: The same for one-dimensional tables; None for ``decay``.
        decay_dense: L2 of every other weight.
        rate_cross: Learning rate of injected crosses.
        decay_cross: L2 of injected crosses.
        batch: Rows a step.
        epochs: At most so many passes.
        patience: Passes without a better validation log-loss before stopping.
        checks: Validations per pass.
    """

    optimiser: str = "adam"
    rate: float = 1e-3
    rate_linear: float | None = None
    decay: float = 0.0
    decay_linear: float | None = None
    decay_dense: float = 0.0
    rate_cross: float = 1e-2
    decay_cross: float = 1e-5
    batch: int = 1024
    epochs: int = 15
    patience: int = 2
    checks: int = 1


def logits_of(model: torch.nn.Module, rows: torch.Tensor, batch: int = 8192) -> npt.NDArray[np.float64]:
    """Return the logits of a model that returns probabilities, in eval mode, shape (n,), float64."""
    model.eval()
    with torch.no_grad():
        parts = [model(rows[i : i + batch]).reshape(-1) for i in range(0, len(rows), batch)]
    return np.asarray(torch.cat(parts).double().clamp(1e-7, 1 - 1e-7).logit().numpy())


def groups_of(model: torch.nn.Module, fit: Fit) -> list[dict[str, object]]:
    """Return optimiser groups: tables of the linear part, other embedding tables, injected crosses, and the rest."""
    tables = {id(m.weight): m.embedding_dim for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    parts: dict[str, list[torch.nn.Parameter]] = {"linear": [], "deep": [], "cross": [], "rest": []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            dim = tables.get(id(p))
            crossed = name.startswith("cross_tower")
            parts["cross" if crossed else "rest" if dim is None else "linear" if dim == 1 else "deep"].append(
                p
            )
    rate_linear = fit.rate if fit.rate_linear is None else fit.rate_linear
    decay_linear = fit.decay if fit.decay_linear is None else fit.decay_linear
    groups = [
        {"params": parts["linear"], "weight_decay": decay_linear, "lr": rate_linear},
        {"params": parts["deep"], "weight_decay": fit.decay, "lr": fit.rate},
        {"params": parts["cross"], "weight_decay": fit.decay_cross, "lr": fit.rate_cross},
        {"params": parts["rest"], "weight_decay": fit.decay_dense, "lr": fit.rate},
    ]
    return [g for g in groups if g["params"]]


def train(model: torch.nn.Module, train_part: Part, valid_part: Part, fit: Fit, *, seed: int) -> list[float]:
    """Fit a model in place; it ends with the weights of its best validation log-loss.

    Returns:
        The validation log-losses, the first before any step.
    """
    x = torch.from_numpy(train_part.rows.astype(np.float32))
    y = torch.from_numpy(train_part.labels.astype(np.float32))
    xv = torch.from_numpy(valid_part.rows.astype(np.float32))
    maker = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[fit.optimiser]
    options = {"fused": True} if fit.optimiser == "adam" else {}
    optimiser = maker(groups_of(model, fit), lr=fit.rate, **options)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    history = [log_loss(valid_part.labels, logits_of(model, xv))]
    best, state, waited = history[0], copy.deepcopy(model.state_dict()), 0
    steps = int(np.ceil(len(y) / fit.batch))
    marks = {round(steps * (k + 1) / fit.checks) - 1 for k in range(fit.checks)}
    for _ in range(fit.epochs):
        order = torch.randperm(len(y), generator=generator)
        for step in range(steps):
            model.train()
            index = order[step * fit.batch : (step + 1) * fit.batch]
            optimiser.zero_grad(set_to_none=True)
            loss = binary_cross_entropy(model(x[index]).reshape(-1), y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if step in marks:
                history.append(log_loss(valid_part.labels, logits_of(model, xv)))
                if history[-1] < best - 1e-6:
                    best, state, waited = history[-1], copy.deepcopy(model.state_dict()), 0
                else:
                    waited += 1
                    if waited >= fit.patience:
                        model.load_state_dict(state)
                        return history
    model.load_state_dict(state)
    return history
