"""Screening: what each cross adds, on held-out rows, to a model that exists already.

Every cross is given one offset an id on top of the base logit, fitted on some folds and judged on the rest. That takes
milliseconds where injecting the cross and training takes minutes, and it tells apart what random crosses, frequent
pairs and detected interactions are worth. (AutoCross, Luo et al., KDD 2019, screens crosses by field-wise logistic
regression in the same spirit.)
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.features import CrossFeatures
from nid_plugins.crosses.held_out import Floats, HeldOutBase, Ids
from nid_plugins.crosses.offsets import softplus
from nid_plugins.crosses.screen_report import ScreenedCross, ScreenReport
from nid_plugins.errors import FrameError, SettingError
from nid_plugins.frames import read_label, read_matrix


def screen(
    crosses: CrossFeatures,
    frame: Any,
    label: Any,
    base_logits: npt.ArrayLike,
    *,
    folds: int | npt.ArrayLike = 5,
    l2: float | None = None,
    main_effects: bool = True,
    greedy: bool = False,
    smaller_first: bool = False,
    errors: float = 0.0,
    picks: int = 40,
    seed: int = 0,
) -> ScreenReport:
    """Measure what each cross adds to a model: its gain in held-out log-loss on top of the model's logit.

    The logits must be of rows the model was not trained on: on its training rows a model is too sure of itself, and
    what it has learned by heart hides what it lacks. Gains are small, so many rows matter. Where the validation set is
    small, screen on the training rows with out-of-fold logits: train the base on all parts but one, predict that one,
    and so on.

    Args:
        crosses: The candidates.
        frame: A frame of the crosses' schema, n rows; NaN and unknown ids are allowed, as in ``transform``.
        label: 0/1 labels, shape (n,), or the name of the frame's column.
        base_logits: The model's logits of these rows, shape (n,), e.g. ``nid.wrap(model, schema).logits(frame)``.
        folds: Number of folds, drawn at random and stratified by label; or the fold of each row, shape (n,), to keep
            days, users or sessions together. Each fold is held out once.
        l2: Penalty on the offsets of a cross. None: chosen for each cross and fold on the rows that are not held out.
        main_effects: First recalibrate the base (intercept and slope) and give every member field offsets of its own,
            on the same folds, so that a cross is credited only with what its fields cannot do one by one. False
            credits it with everything it adds, including the repair of a field the base fits badly, which every
            cross of that field then claims.
        greedy: Pick crosses one after the other, each judged on top of the offsets of those picked before, so that
            crosses that say the same are not all taken. Picking is lazy: a cross's gain is measured again only while
            its last one is ahead of the best fresh one, which takes the best each time as long as picking a cross does not
            raise another's gain.
        smaller_first: When greedy, pick pairs before triples, and so on: a triple is then credited only with what pairs
            cannot do. Without it a triple that holds two strong pairs may be picked in their place.
        errors: When greedy, pick only crosses whose gain is above 0 by this many standard errors.
        picks: Most crosses to pick when greedy; it stops before when none is left with a gain above 0, all of
            them measured again.
        seed: Of the folds.

    Returns:
        The crosses sorted by gain; with ``greedy`` those picked in the order they were, then the others by what they
        would add to all of these. Gains of picked crosses carry the optimism of picking the best of many.

    Raises:
        FrameError: The frame does not fit the schema or is empty, a label is missing or all are equal, lengths differ,
            or a logit is not finite.
        SettingError: An option is out of range.
    """
    if not isinstance(crosses, CrossFeatures):
        raise SettingError(
            "not crosses",
            received=type(crosses).__name__,
            expected="CrossFeatures",
            hint="Call nid.fit_crosses on the report or the pairs first",
        )
    _check_seed(seed)
    rows = read_matrix(frame, crosses.schema, missing=True, known_only=False)
    y = read_label(label, frame, len(rows))
    logits = checked_logits(base_logits, len(rows))
    _check_options(l2, picks, errors)
    if y.min() == y.max():
        raise FrameError(
            "screening needs both clicks and non-clicks",
            received=f"{len(y)} labels, all {y[0]:g}",
            hint="Screen on more rows",
        )
    fold_of = _folds(folds, y, seed)
    order = np.argsort(fold_of, kind="stable")
    rows, y, logits, fold_of = rows[order], y[order], logits[order], fold_of[order]
    ids = np.ascontiguousarray(crosses.transform_matrix(rows).T)
    base = HeldOutBase(logits, y, fold_of, l2)
    main_effects_gain = base.add_main_effects(rows, crosses) if main_effects else 0.0

    sizes = [size + 1 for size in crosses.vocabulary_sizes]
    alone = [base.gain(ids[k], sizes[k]) for k in range(len(crosses))]
    picked: list[int] = []
    gains = list(alone)
    if greedy:
        orders = [len(cross.fields) for cross in crosses.crosses]
        levels = [[k for k, own in enumerate(orders) if own == order] for order in sorted(set(orders))]
        levels = levels if smaller_first else [list(range(len(orders)))]
        picked = _pick(base, ids, sizes, gains, picks, levels, errors)
    rest = sorted(set(range(len(crosses))) - set(picked), key=lambda k: (-gains[k][0], k))
    screened = [
        ScreenedCross(
            name=crosses.names[k],
            fields=crosses.crosses[k].fields,
            gain=gains[k][0],
            error=gains[k][1],
            alone=alone[k][0],
            vocabulary=crosses.vocabulary_sizes[k],
            coverage=float((ids[k] > 0).mean()),
            picked=k in picked,
        )
        for k in [*picked, *rest]
    ]
    return ScreenReport(
        screened,
        rows=len(rows),
        base_loss=float((softplus(logits) - y * logits).mean()),
        main_effects_gain=main_effects_gain,
        settings={
            "folds": folds if isinstance(folds, int) else len(base.folds),
            "l2": l2,
            "main_effects": main_effects,
            "greedy": greedy,
            "smaller_first": smaller_first,
            "errors": errors,
            "picks": picks,
            "seed": seed,
        },
    )


def _pick(
    base: HeldOutBase,
    ids: Ids,
    sizes: list[int],
    gains: list[tuple[float, float]],
    picks: int,
    levels: list[list[int]],
    errors: float,
) -> list[int]:
    """Pick crosses greedily and add their offsets to the base; ``gains`` are replaced by those on top of the picked.

    A heap holds each cross of a level with its last gain; ``measured`` says after how many picks that was measured.
    """
    picked: list[int] = []
    measured = [0] * len(sizes)

    def measure(k: int) -> None:
        if measured[k] < len(picked):
            gains[k], measured[k] = base.gain(ids[k], sizes[k]), len(picked)

    for level in levels:
        heap = [(-gains[k][0], k) for k in level]
        heapq.heapify(heap)
        while heap and len(picked) < picks:
            minus_gain, k = heap[0]
            if measured[k] == len(picked) and minus_gain < 0:
                heapq.heappop(heap)
                if gains[k][0] > errors * gains[k][1]:
                    base.add(ids[k], sizes[k])
                    picked.append(k)
                continue
            # The best last gain is old, or none is above 0: then all are measured, as picking may have raised one.
            stale = [other for _, other in heap if measured[other] < len(picked)] if minus_gain >= 0 else [k]
            if not stale:
                break
            for other in stale:
                measure(other)
            heap = [(-gains[other][0], other) for _, other in heap]
            heapq.heapify(heap)
    for k in set(range(len(sizes))) - set(picked):
        measure(k)
    return picked


def _folds(folds: int | npt.ArrayLike, label: Floats, seed: int) -> npt.NDArray[np.intp]:
    n = len(label)
    if isinstance(folds, int | np.integer) and not isinstance(folds, bool):
        if not 2 <= folds <= n:
            raise SettingError("folds out of range", received=folds, expected=f"2 .. {n}, the number of rows")
        shuffled = np.random.default_rng(seed).permutation(n)
        by_label = shuffled[np.argsort(label[shuffled], kind="stable")]
        fold_of = np.empty(n, dtype=np.intp)
        fold_of[by_label] = np.arange(n) % folds
        return fold_of
    given = np.asarray(folds)
    if given.shape != (n,):
        raise SettingError(
            "folds are neither a number nor one for each row",
            received=f"{type(folds).__name__} of shape {given.shape}",
            expected=f"an integer of at least 2, or an array of shape ({n},)",
        )
    values, fold_of = np.unique(given, return_inverse=True)
    if len(values) < 2:
        raise SettingError(
            "one fold leaves nothing to fit on", received=f"all {values[0]!r}", expected="2 or more"
        )
    return fold_of.astype(np.intp, copy=False)


def checked_logits(base_logits: npt.ArrayLike, n: int) -> Floats:
    """Return a model's logits of n rows, float64, shape (n,).

    Raises:
        FrameError: Not so many numbers, or one is not finite.
    """
    logits = np.asarray(base_logits)
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits[:, 0]
    if logits.shape != (n,) or logits.dtype.kind not in "iuf":
        raise FrameError(
            "base_logits do not fit the frame",
            received=f"{logits.dtype} of shape {logits.shape}",
            expected=f"numbers of shape ({n},)",
            hint="Pass nid.wrap(model, schema).logits(frame) of the same rows",
        )
    logits = logits.astype(np.float64)
    bad = ~np.isfinite(logits)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FrameError(
            "base_logits are not finite",
            received=f"{logits[row]} at row {row} ({int(bad.sum())} such rows)",
            expected="finite logits",
            hint="nid.wrap clips saturated probabilities; a model that returns NaN must be repaired",
        )
    return logits


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError("seed out of range", received=repr(seed), expected="a non-negative integer")


def _check_options(l2: object, picks: object, errors: object) -> None:
    if (
        isinstance(errors, bool)
        or not isinstance(errors, int | float | np.number)
        or not 0 <= float(errors) < np.inf
    ):
        raise SettingError("errors out of range", received=repr(errors), expected="a number from 0")
    if l2 is not None and (
        isinstance(l2, bool) or not isinstance(l2, int | float | np.number) or not 0 < float(l2) < np.inf
    ):
        raise SettingError(
            "l2 out of range", received=repr(l2), expected="a positive finite number, or None to choose"
        )
    if isinstance(picks, bool) or not isinstance(picks, int | np.integer) or picks < 1:
        raise SettingError("picks out of range", received=repr(picks), expected="an integer of at least 1")
