"""Measures of click prediction: AUC, log-loss, calibration. NumPy only, so that they need no extra."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError
from nid_plugins.frames import read_label

Floats = npt.NDArray[np.float64]


def sigmoid(logit: npt.ArrayLike) -> Floats:
    """Return ``1 / (1 + exp(-logit))``, without overflow."""
    values = np.asarray(logit, dtype=np.float64)
    small = np.exp(-np.abs(values))  # in (0, 1]
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def auc(label: Any, score: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: how likely a click scores above a non-click, ties counting half.

    By ranks, as in the Mann-Whitney statistic, tied scores sharing their mean rank.

    Args:
        label: 0 and 1, shape (n,).
        score: Any increasing function of the predicted probability, shape (n,).

    Raises:
        FrameError: Labels are not 0/1 or all equal, lengths differ, or a score is NaN.
    """
    clicked, scores = _checked(label, score)
    positives = int(clicked.sum())
    negatives = len(clicked) - positives
    if not positives or not negatives:
        raise FrameError(
            "AUC needs both clicks and non-clicks",
            received=f"{positives} clicks in {len(clicked)} rows",
            hint="Evaluate on more rows, or split so that each part has both",
        )
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # rank of the last of each group of ties, from 1
    ranks = (last - (counts - 1) / 2.0)[group]
    rank_sum = float(ranks[clicked == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def log_loss(label: Any, logit: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood in nats, computed from logits: exact where probabilities saturate.

    Args:
        label: 0 and 1, shape (n,).
        logit: Shape (n,).

    Raises:
        FrameError: Labels are not 0/1, lengths differ, no rows, or a logit is NaN.
    """
    return float(row_losses(label, logit).mean())


def row_losses(label: Any, logit: npt.ArrayLike) -> Floats:
    """Return each row's negative log-likelihood, shape (n,); see :func:`log_loss`.

    Raises:
        FrameError: As for :func:`log_loss`.
    """
    clicked, logits = _checked(label, logit)
    losses: Floats = np.logaddexp(0.0, np.where(clicked == 1, -logits, logits))
    return losses


def calibration(label: Any, logit: npt.ArrayLike) -> float:
    """Return predicted over observed click-through rate; 1 is right on average.

    Args:
        label: 0 and 1, shape (n,).
        logit: Shape (n,).

    Raises:
        FrameError: As for :func:`log_loss`, or there is no click.
    """
    clicked, logits = _checked(label, logit)
    if not clicked.any():
        raise FrameError("calibration needs clicks", received=f"0 clicks in {len(clicked)} rows")
    return float(sigmoid(logits).mean() / clicked.mean())


def _checked(label: Any, score: npt.ArrayLike) -> tuple[Floats, Floats]:
    scores = np.asarray(score, dtype=np.float64)
    if scores.ndim != 1:
        raise FrameError("scores must be 1-D", received=f"shape {scores.shape}", expected="shape (n,)")
    if not len(scores):
        raise FrameError("no rows to measure", received="0 rows", expected="at least one row")
    clicked = read_label(label, {}, len(scores))
    if np.isnan(scores).any():
        raise FrameError("a score is NaN", received=f"{int(np.isnan(scores).sum())} of {len(scores)}")
    return clicked, scores
