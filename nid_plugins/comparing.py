"""Two models measured on the same rows, such as one without and one with crosses, and how sure the difference is.

Every measure here is a smooth function of the rows' distribution, so that the standard error of a difference follows
from how much each row moves it: its influence (Hampel 1974). The rows being the same for both models, influences are
subtracted row by row before they are squared. For the AUC this is the method of DeLong, DeLong and Clarke-Pearson (1988),
with the structural components as influences; for means and ratios of means it is the delta method. Nothing is drawn, so
there is no seed, and a million rows take a second. Rows of one unit, whose clicks go together, can be summed first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.comparison import CalibrationBin, Measure, ModelComparison
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.frames import columns_of, numeric_column, read_label
from nid_plugins.metrics import row_losses, sigmoid
from nid_plugins.scores import Output, as_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]

BINS = 10
"""Bins of a model's predictions, of as many rows each as ties allow."""
SMALL = 1e-50
"""Least weight of a row in means: with less, the entropy's square could be 0."""
FEW = 50
"""Clicks, other rows or units below which an interval is rough."""


def compare(
    label: Any,
    before: Any,
    after: Any,
    *,
    output: Output = "auto",
    weights: Any = None,
    kept: float | None = None,
    units: Any = None,
    confidence: float = 0.95,
    epsilon: float = 1e-7,
    names: Sequence[str] = ("before", "after"),
) -> ModelComparison:
    """Compare the predictions of two models of the same rows, best rows neither was trained on.

    Args:
        label: 0/1 clicks, shape (n,).
        before: Scores of the first model, such as ``box.logits(test)`` of the model without crosses, shape (n,).
        after: Scores of the second one, such as the model with crosses, shape (n,).
        output: What the scores are: ``"logit"``, ``"probability"``, or ``"auto"``: logits, and those that all lie in
            0 .. 1 are refused.
        weights: How many rows of the traffic each row stands for, shape (n,); equal ones by default.
        kept: Share of the rows without a click that the log kept, where it was down-sampled: such a row then weighs
            ``1 / kept``. Instead of ``weights``. The scores are taken to be those of the whole traffic.
        units: Who each row belongs to, such as a user, shape (n,). Rows of one unit are not taken as independent.
        confidence: Of the intervals.
        epsilon: Clip of probabilities before the logit.
        names: What the two models are called.

    Returns:
        AUC, log-loss, relative information gain and calibration of both, and the interval of each difference.

    Raises:
        FrameError: Lengths differ, all labels are equal, a score is not finite, or scores are not what ``output`` says.
        SettingError: An option is out of its domain.
    """
    names = _two_names(names)
    _check(confidence, kept, weights)
    logits = [
        as_logits(s, output=output, what=n, epsilon=epsilon)
        for s, n in ((before, "before"), (after, "after"))
    ]
    n = len(logits[0])
    if len(logits[1]) != n:
        raise FrameError(
            "the two models have scores of different numbers of rows",
            received=f"{n:,} before and {len(logits[1]):,} after",
            expected="the same rows, in the same order",
        )
    clicked = read_label(label, {}, n)
    clicks = int(clicked.sum())
    if clicks in {0, n}:
        raise FrameError(
            "a comparison needs both clicks and rows without",
            received=f"{clicks:,} clicks in {n:,} rows",
            hint="Compare on more rows",
        )
    weight = _weights(weights, kept, clicked)
    unit, groups = _units(units, n)
    found = [_measured(clicked, one, weight) for one in logits]
    z = _quantile(confidence)
    measures = []
    for name, (value, influence) in found[0].items():
        other, its_influence = found[1][name]
        error = _error(its_influence - influence, unit, groups)
        change = other - value
        measures.append(Measure(name, value, other, change, change - z * error, change + z * error))
    settings: dict[str, Any] = {
        "output": output,
        "weights": "given" if weights is not None else None,
        "kept": None if kept is None else float(kept),
        "units": None if units is None else groups,
    }
    return ModelComparison(
        tuple(measures),
        rows=n,
        clicks=clicks,
        ctr=float(weight @ clicked / weight.sum()),
        confidence=float(confidence),
        names=names,
        calibration=(
            _calibration(clicked, logits[0], weight, unit, groups, z),
            _calibration(clicked, logits[1], weight, unit, groups, z),
        ),
        notes=tuple(_notes(clicks, n, settings, measures, same=bool((logits[0] == logits[1]).all()))),
        settings=settings,
    )


def _two_names(names: Any) -> tuple[str, str]:
    found = list(names) if isinstance(names, list | tuple) else []
    if len(found) != 2:
        raise SettingError("not the names of two models", received=repr(names), expected="two names")
    return str(found[0]), str(found[1])


def _check(confidence: object, kept: object, weights: object) -> None:
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise SettingError(
            "confidence out of range", received=repr(confidence), expected="0 < confidence < 1"
        )
    if kept is not None:
        if isinstance(kept, bool) or not isinstance(kept, int | float) or not 0 < kept <= 1:
            raise SettingError("kept is no share", received=repr(kept), expected="0 < kept <= 1")
        if weights is not None:
            raise SettingError("both weights and kept", hint="Give one: kept makes weights")


def _weights(weights: Any, kept: float | None, clicked: Floats) -> Floats:
    """Return weights of mean 1."""
    if weights is None:
        # Clicks by the share instead of the other rows by its inverse, which a tiny one has not.
        return _mean_one(np.ones_like(clicked) if kept is None else np.where(clicked == 1, kept, 1.0))
    array = columns_of({"weights": weights})["weights"]
    if array.shape != clicked.shape:
        raise FrameError("wrong number of weights", received=f"{len(array):,}", expected=f"{len(clicked):,}")
    given = numeric_column("weights", array)
    bad = ~(np.isfinite(given) & (given > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FrameError(
            "weights must be positive",
            received=f"{given[row]} at row {row} ({int(bad.sum()):,} such rows)",
            expected="finite numbers above 0",
            hint="Drop rows that stand for none",
        )
    # By the largest first: the sum of weights near the largest float would overflow.
    return _mean_one(given / given.max())


def _mean_one(weights: Floats) -> Floats:
    scaled: Floats = weights / weights.mean()
    if scaled.min() < SMALL:
        raise FrameError(
            "weights differ too much",
            received=f"the smallest is {scaled.min():.1g} of their mean",
            expected=f"at least {SMALL:g} of it",
        )
    return scaled


def _units(units: Any, n: int) -> tuple[npt.NDArray[np.intp] | None, int]:
    """Return the unit of each row by its number, and how many there are; None where each row is its own."""
    if units is None:
        return None, n
    import pandas as pd

    array = columns_of({"units": units})["units"]
    if len(array) != n:
        raise FrameError("wrong number of units", received=f"{len(array):,}", expected=f"{n:,}")
    try:
        codes, uniques = pd.factorize(array)
    except TypeError as error:
        raise FrameError(
            "units cannot be told apart", received=str(error), expected="numbers, text, or another id a row"
        ) from error
    if (codes < 0).any():
        raise FrameError(
            "a unit is missing",
            received=f"row {int(np.flatnonzero(codes < 0)[0])} ({int((codes < 0).sum()):,} such rows)",
            expected="a unit a row",
            hint="Drop these rows, or give each a unit of its own",
        )
    if len(uniques) < 2:
        raise FrameError("all rows are of one unit", received=str(uniques[0]), expected="two units or more")
    return codes, len(uniques)


def _measured(clicked: Floats, logits: Floats, weight: Floats) -> dict[str, tuple[float, Floats]]:
    """Return every measure of one model, and the influence of each row on it, shape (n,)."""
    n = len(clicked)
    # The other rows' share is summed by itself: 1 less the CTR would lose it where they weigh next to nothing.
    ctr, rest = float(weight @ clicked) / n, float(weight @ (1 - clicked)) / n
    losses = row_losses(clicked, logits)
    loss = float(weight @ losses) / n
    # RIG is 1 - loss / entropy of the rows' own CTR, which is itself estimated from them.
    entropy = -ctr * math.log(ctr) - rest * math.log(rest)
    slope = math.log(rest) - math.log(ctr)  # of the entropy by the CTR
    of_rig = -(losses - loss) / entropy + loss * slope / entropy**2 * (clicked - ctr)
    predicted = sigmoid(logits)
    ratio = float(weight @ predicted) / n / ctr
    return {
        "auc": _auc(clicked, logits, weight),
        "log_loss": (loss, weight * (losses - loss)),
        "rig": (1 - loss / entropy, weight * of_rig),
        "calibration": (ratio, weight * (predicted - ratio * clicked) / ctr),
    }


def _auc(clicked: Floats, logits: Floats, weight: Floats) -> tuple[float, Floats]:
    """Return the AUC, ties counting half, and DeLong's structural components about it as influences."""
    _, group = np.unique(logits, return_inverse=True)
    ups, downs = np.bincount(group, weight * clicked), np.bincount(group, weight * (1 - clicked))
    below = (np.cumsum(downs) - downs / 2) / downs.sum()  # share of other rows below a score
    above = 1 - (np.cumsum(ups) - ups / 2) / ups.sum()  # share of clicks above it
    area = float(ups @ below / ups.sum())
    n = len(clicked)
    of_click = weight * clicked * (below[group] - area) / ups.sum()
    of_other = weight * (1 - clicked) * (above[group] - area) / downs.sum()
    return area, n * (of_click + of_other)


def _error(influence: Floats, unit: npt.NDArray[np.intp] | None, groups: int) -> float:
    """Return the standard error of a measure from the influences of its rows, those of one unit summed."""
    n = len(influence)
    sums = influence if unit is None else np.bincount(unit, influence, groups)
    return float(np.sqrt((sums @ sums) * groups / (groups - 1))) / n


def _quantile(confidence: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri((1 - confidence) / 2))  # near 0, where numbers are dense: near 1 it may be infinite


def _calibration(
    clicked: Floats,
    logits: Floats,
    weight: Floats,
    unit: npt.NDArray[np.intp] | None,
    groups: int,
    z: float,
) -> tuple[CalibrationBin, ...]:
    """Return bins of a model's own predictions, from the smallest, equal predictions in one bin."""
    _, group = np.unique(logits, return_inverse=True)
    of_group = np.bincount(group, weight)
    middle = (np.cumsum(of_group) - of_group / 2) / of_group.sum()
    place = np.minimum((middle * BINS).astype(np.intp), BINS - 1)[group]
    predicted = sigmoid(logits)
    bins = []
    for k in np.unique(place):
        rows = place == k
        total, clicks = weight[rows].sum(), float(weight[rows] @ clicked[rows])
        promised = float(weight[rows] @ predicted[rows])
        low = high = math.nan
        if clicks:
            ratio = promised / clicks
            influence = np.where(rows, weight * (predicted - ratio * clicked), 0.0) * len(rows) / clicks
            error = _error(influence, unit, groups)
            low, high = ratio - 1 - z * error, ratio - 1 + z * error
        bins.append(
            CalibrationBin(
                int(rows.sum()),
                int(clicked[rows].sum()),
                float(promised / total),
                float(clicks / total),
                low,
                high,
            )
        )
    return tuple(bins)


def _notes(
    clicks: int, rows: int, settings: dict[str, Any], measures: list[Measure], *, same: bool
) -> list[str]:
    notes = []
    if same:
        notes.append(
            "All predictions are equal: a model with crosses predicts as the one without until it is trained on."
        )
    units = settings["units"]
    for count, what in ((clicks, "clicks"), (rows - clicks, "rows without a click"), (units, "units")):
        if count is not None and count < FEW:
            notes.append(f"There are few {what} ({count:,}): the intervals are rough.")
    kept = settings["kept"]
    ratio = next(one for one in measures if one.name == "calibration").before
    if kept is not None and kept < 1 and ratio > kept**-0.5:
        notes.append(
            f"The predictions add up to {ratio:.3g} times the clicks: if the models were trained on the down-sampled rows, add "
            f"log(kept) = {math.log(kept):.3f} to their logits."
        )
    return notes
