"""Training a PyTorch module that takes a matrix, pass by pass."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nid_plugins.cli.frameworks.base import EPSILON, Fitting, Floats

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor, nn

    from nid_plugins.cli.frameworks.base import Recipe
    from nid_plugins.frames import FloatMatrix


class TorchFitting(Fitting):
    """A module in training.

    Args:
        model: Takes a matrix (n, p) and returns n scores; trained in place.
        rows: Training rows, shape (n, p).
        clicks: Their clicks, shape (n,).
        recipe: Learning rate and batch.
        probability: Whether its scores are probabilities, else logits.
        penalty: Called after each forward pass; returns what is added to the summed loss.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: FloatMatrix,
        clicks: npt.NDArray[np.int64],
        recipe: Recipe,
        *,
        probability: bool,
        penalty: Callable[[], Tensor],
    ) -> None:
        self._model = model
        self._rows = torch.from_numpy(rows.astype(np.float32))
        self._clicks = torch.from_numpy(clicks.astype(np.float32))
        self._batch = recipe.batch
        self._probability = probability
        self._penalty = penalty
        trained = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(trained, lr=recipe.rate, fused=True)

    def epoch(self, order: npt.NDArray[np.int64]) -> None:
        """Make one pass over the training rows."""
        functional = torch.nn.functional
        log_loss = (
            functional.binary_cross_entropy
            if self._probability
            else functional.binary_cross_entropy_with_logits
        )
        self._model.train()
        shuffled = torch.from_numpy(order)
        for start in range(0, len(order), self._batch):
            part = shuffled[start : start + self._batch]
            predicted = self._model(self._rows[part]).reshape(-1)
            loss = log_loss(predicted, self._clicks[part], reduction="sum")
            self._optimiser.zero_grad()
            (loss + self._penalty()).sum().backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        self._model.eval()

    @torch.no_grad()
    def logits(self, rows: FloatMatrix, batch: int = 4096) -> Floats:
        """Return the model's logits, shape (n,); the model is left in eval mode."""
        self._model.eval()
        x = torch.from_numpy(rows.astype(np.float32))
        parts = [self._model(x[start : start + batch]).reshape(-1) for start in range(0, len(x), batch)]
        out = torch.cat(parts).double()
        if self._probability:
            out = torch.logit(out.clamp(EPSILON, 1 - EPSILON))
        values: Floats = out.numpy()
        return values

    def state(self) -> Any:
        """Return a copy of all weights."""
        return copy.deepcopy(self._model.state_dict())

    def restore(self, state: Any) -> None:
        """Set all weights to a copy taken before."""
        self._model.load_state_dict(state)

    def slower(self, factor: float) -> None:
        """Multiply the learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] *= factor
