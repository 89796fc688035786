"""The loop of ``nid demo``: one for every framework, for a model and for what crosses make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from nid_plugins.metrics import log_loss

if TYPE_CHECKING:
    from nid_plugins.cli.frameworks import Fitting, Recipe
    from nid_plugins.frames import FloatMatrix

_DECAY = 0.2  # of the learning rate, when a pass makes nothing better


def train(
    fitting: Fitting,
    size: int,
    validation: tuple[FloatMatrix, npt.NDArray[np.int64]],
    recipe: Recipe,
    *,
    seed: int,
    title: str,
) -> int:
    """Train a model and leave it at its best validation log-loss.

    The state the model comes in counts as the first candidate, so that training never makes it worse on validation.

    Args:
        fitting: The model, its training rows and its optimiser.
        size: Number of training rows.
        validation: Rows in schema order and clicks that decide when to stop.
        recipe: Epochs and patience.
        seed: Of the order of rows.
        title: For the progress bar.

    Returns:
        Number of passes made.
    """
    rows, clicks = validation
    rng = np.random.default_rng(seed)
    best, kept = log_loss(clicks, fitting.logits(rows)), fitting.state()
    worse = made = 0
    with tqdm(total=recipe.epochs, unit="epoch", desc=title, leave=False, disable=None) as bar:
        while made < recipe.epochs and worse < recipe.patience:
            fitting.epoch(rng.permutation(size))
            made += 1
            reached = log_loss(clicks, fitting.logits(rows))
            bar.set_postfix_str(f"validation log-loss {reached:.4f}")
            bar.update()
            if reached < best:
                best, kept = reached, fitting.state()
                continue
            worse += 1
            fitting.restore(kept)
            fitting.slower(_DECAY)
    fitting.restore(kept)
    return made
