"""Asking a callable for scores of raw instances, and turning the scores of one class into a target."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import ModelError, NidError, NidWarning, PluginError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.detection.masks import Floats, Masks
    from nid_plugins.domains.domain import Features

Output = Literal["auto", "probability", "logit", "score"]
BATCH_BYTES = 64 * 2**20
"""Bytes of raw instances in a batch, where its size is not given."""
BATCH_ROWS = 512
"""Most instances in a batch, where its size is not given."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said of an instance under masks.

    Args:
        values: The target, shape (M,).
        score: The model's own score of the instance for the class.
        target: The class explained, or the column of the scores.
        output: How the scores were read.
        clipped: How many values the clip changed.
        queries: Instances the model was asked for.
    """

    values: Floats
    score: float
    target: int
    output: str
    clipped: int
    queries: int


def function_of(model: Any) -> tuple[Callable[[Any], Any], str]:
    """Return a function from a batch to scores, and how its scores read: ``"auto"`` where the model does not say.

    Raises:
        UnsupportedError: Nothing that can be called.
    """
    from nid_plugins.blackbox import BlackBox

    if isinstance(model, BlackBox):
        return model.logits, "logit"
    if isinstance(model, type):
        raise UnsupportedError(
            "a class is no model",
            received=model.__qualname__,
            expected="an instance",
            hint="Call the class first",
        )
    if callable(model):
        return model, "auto"
    if callable(getattr(model, "predict_proba", None)):
        return model.predict_proba, "probability"
    raise UnsupportedError(
        "not a model of a domain",
        received=type(model).__name__,
        expected="a callable from a batch of raw instances to scores, or an object with predict_proba",
    )


def ask(
    model: Any,
    features: Features,
    masks: Masks,
    rng: np.random.Generator,
    *,
    output: Output = "auto",
    target: int | None = None,
    epsilon: float = 1e-7,
    batch_size: int | None = None,
) -> Answers:
    """Ask a model for an instance under masks, the first of which must be all on.

    Scores (n,) or (n, 1) are those of class 1 of two; of scores (n, classes) one column a class. The target is the
    log-odds of the class, the same whether the model gives probabilities or logits; ``"score"`` is taken as it is.

    Raises:
        ModelError: The model raised, or its scores have a wrong shape, number or range, or are not finite.
        SettingError: An option is out of its domain.
        UnsupportedError: Nothing that can be called.
    """
    function, known = function_of(model)
    _check(output, target, epsilon, batch_size)
    output = known if output == "auto" else output  # type: ignore[assignment]
    if features.drawn:
        distinct, back = masks, np.arange(len(masks))
    else:
        distinct, back = _distinct(masks)
    size = batch_size or max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, features.nbytes)))
    values = np.empty(len(distinct))
    width, clipped, score = 0, np.zeros(len(distinct), dtype=bool), 0.0
    for start in range(0, len(distinct), size):
        part = slice(start, min(start + size, len(distinct)))
        scores = _scores(function, features, distinct[part], rng, start)
        if start == 0:
            width = scores.shape[1]
            output = _judged(scores) if output == "auto" else output
            target = _target(scores[0], output, target)
            score = (
                float(scores[0, target])
                if width > 1 or output == "score"
                else _own(scores[0, 0], output, target)
            )
        elif scores.shape[1] != width:
            raise ModelError(
                "the number of classes changes from batch to batch",
                received=f"{scores.shape[1]} and {width}",
                expected="the same columns for every batch",
            )
        assert target is not None
        values[part], clipped[part] = _to_target(scores, output, target, epsilon)
    assert target is not None
    return Answers(values[back], score, target, output, int(clipped.sum()), len(distinct))


def _check(output: str, target: int | None, epsilon: float, batch_size: int | None) -> None:
    if output not in {"auto", "probability", "logit", "score"}:
        raise SettingError(
            "unknown output", received=repr(output), expected='"auto", "probability", "logit" or "score"'
        )
    if target is not None and (
        isinstance(target, bool) or not isinstance(target, int | np.integer) or target < 0
    ):
        raise SettingError("target is not a class", received=repr(target), expected="its number, from 0")
    if not isinstance(epsilon, float) or not 0 < epsilon < 0.5:
        raise SettingError("epsilon out of range", received=repr(epsilon), expected="0 < epsilon < 0.5")
    if batch_size is not None and (
        isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
    ):
        raise SettingError(
            "batch_size out of range", received=repr(batch_size), expected="a positive integer"
        )


def _distinct(masks: Masks) -> tuple[Masks, npt.NDArray[np.intp]]:
    """Return the different masks in the order of their first rows, and which of them each row is."""
    packed = np.packbits(masks, axis=1)
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(first), dtype=np.intp)
    rank[order] = np.arange(len(first))
    return masks[first[order]], rank[inverse.ravel()]


def _scores(
    function: Callable[[Any], Any], features: Features, on: Masks, rng: np.random.Generator, start: int
) -> Floats:
    """Return the checked scores of one batch, shape (n, columns)."""
    try:
        batch = features.batch(on, rng)
    except NidError:
        raise
    except Exception as error:
        raise PluginError(f"the domain raised {type(error).__name__} in batch: {error}") from error
    if len(batch) != len(on):
        raise PluginError(
            "the domain made a batch of another size", received=len(batch), expected=f"{len(on)} instances"
        )
    where = f"instances {start}..{start + len(on) - 1}"
    try:
        raw = function(batch)
        if hasattr(raw, "detach"):
            raw = raw.detach().cpu()
            if str(raw.dtype) == "torch.bfloat16":  # which NumPy has not
                raw = raw.float()
        array = np.asarray(raw)
    except NidError:
        raise
    except Exception as error:
        empty = "; the instance with every feature off is one of them" if not on.any(axis=1).all() else ""
        raise ModelError(
            f"the model raised {type(error).__name__} on {where}{empty}: {error}",
            hint="Call it with such a batch by hand",
        ) from error
    n = len(on)
    if array.shape == () and n == 1 and array.dtype.kind != "O":
        array = array.reshape(1)
    if array.ndim not in {1, 2} or len(array) != n or 0 in array.shape:
        raise ModelError(
            "the model's scores have the wrong shape",
            received=f"{array.shape} for {n} instances",
            expected=f"({n},) or ({n}, classes)",
        )
    if array.dtype.kind not in "biuf":
        raise ModelError(
            "the model's scores are not numbers", received=f"dtype {array.dtype}", expected="floats"
        )
    scores = array.astype(np.float64).reshape(n, -1)
    bad = np.isnan(scores).any(axis=1)
    if bad.any():
        raise ModelError(
            "the model returned NaN",
            received=f"{int(bad.sum())} of {where}, first at {start + int(np.flatnonzero(bad)[0])}",
            expected="numbers",
        )
    return scores


def _judged(scores: Floats) -> Output:
    if scores.min() < 0 or scores.max() > 1:
        return "logit"
    if scores.shape[1] > 1 and np.abs(scores.sum(axis=1) - 1).max() < 1e-3:
        return "probability"
    warnings.warn(
        f"the model's {len(scores)} first scores all lie in [0, 1]: read as probabilities; "
        'pass output="probability", "logit" or "score" to be sure',
        NidWarning,
        stacklevel=6,
    )
    return "probability"


def _target(first: Floats, output: str, target: int | None) -> int:
    """Return the class to explain: the one asked for, else the predicted one."""
    count = len(first) if len(first) > 1 or output == "score" else 2
    if target is None:
        if count == len(first):
            return int(first.argmax())
        return int(first[0] > (0.5 if output == "probability" else 0.0))
    if target >= count:
        raise SettingError("no such class", received=target, expected=f"0 to {count - 1}")
    return int(target)


def _own(value: float, output: str, target: int) -> float:
    if target == 1:
        return float(value)
    return float(1.0 - value if output == "probability" else -value)


def _to_target(
    scores: Floats, output: str, target: int, epsilon: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the target of each row and whether the clip changed it."""
    limit = float(np.log1p(-epsilon) - np.log(epsilon))
    if output == "score":
        if not np.isfinite(scores).all():
            raise ModelError(
                "the model's scores are not finite", received="infinity", expected="finite scores"
            )
        return scores[:, target], np.zeros(len(scores), dtype=bool)
    if output == "probability":
        if scores.min() < 0 or scores.max() > 1:
            raise ModelError(
                "not probabilities",
                received=f"values from {scores.min():.6g} to {scores.max():.6g}",
                expected="values in [0, 1]",
                hint='Pass output="logit" if the model returns logits',
            )
        single = scores[:, 0] if target == 1 else 1.0 - scores[:, 0]
        chosen = single if scores.shape[1] == 1 else scores[:, target]
        clipped = np.clip(chosen, epsilon, 1.0 - epsilon)
        return np.log(clipped) - np.log1p(-clipped), clipped != chosen
    if scores.shape[1] == 1:
        odds = scores[:, 0] if target == 1 else -scores[:, 0]
    else:
        from scipy.special import logsumexp

        # log p / (1 - p) of a softmax: the class's logit less those of the others, as the sum of their exponentials.
        with np.errstate(invalid="ignore"):
            odds = scores[:, target] - logsumexp(np.delete(scores, target, axis=1), axis=1)
        if np.isnan(odds).any():
            raise ModelError(
                "the model's logits are infinite for several classes at once", expected="finite logits"
            )
    clipped = np.clip(odds, -limit, limit)
    return clipped, clipped != odds
