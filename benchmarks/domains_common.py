"""What the benchmarks of domains share: explaining many instances, and the shares and means of what came out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

import nid_plugins as nid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nid_plugins.domains import LocalExplanation

DETECTORS = ("least_squares", "nid", "gradient_nid", "archdetect")


def explain_all(
    model: Callable[..., Any], instances: Iterable[Any], options: Sequence[dict[str, Any]], **settings: Any
) -> tuple[list[LocalExplanation], float]:
    """Explain instances, each with options of its own, and return the explanations and the seconds one took."""
    start = time.perf_counter()
    found = [
        nid.explain(model, instance, **settings, **own)
        for instance, own in zip(instances, options, strict=True)
    ]
    return found, (time.perf_counter() - start) / max(len(found), 1)


def quality(explanations: Sequence[LocalExplanation]) -> dict[str, Any]:
    """Return the mean held-out R^2 of linear explainers and of those with interactions, with standard errors.

    Instances on which the model does not react at all have no R^2 and are left out; they are counted.
    """
    pairs = np.array([[one.r2_linear, one.r2] for one in explanations])
    known = pairs[np.isfinite(pairs).all(axis=1)]
    error = known.std(axis=0, ddof=1) / np.sqrt(len(known))
    return {
        "instances": len(known),
        "left_out": len(pairs) - len(known),
        "r2_linear": float(known[:, 0].mean()),
        "r2_linear_error": float(error[0]),
        "r2": float(known[:, 1].mean()),
        "r2_error": float(error[1]),
        "better": float((known[:, 1] > known[:, 0]).mean()),
        "interactions": float(np.mean([len(one) for one in explanations])),
    }


def first_is(explanations: Sequence[LocalExplanation], truth: Sequence[set[int]]) -> dict[str, float]:
    """Return the share of instances whose first interaction is the planted one, is in the ranking, and the mean rank."""
    ranks = []
    for one, planted in zip(explanations, truth, strict=True):
        sets = [set(i.positions) for i in one]
        ranks.append(1 + sets.index(planted) if planted in sets else 0)
    array = np.array(ranks)
    return {
        "first": float((array == 1).mean()),
        "found": float((array > 0).mean()),
        "instances": len(array),
    }


def row(cells: Iterable[object]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def head(*names: str) -> list[str]:
    """Return the first two rows of a Markdown table: the first column is text, the others are numbers."""
    return [row(names), "|" + "|".join(["---"] + ["--:"] * (len(names) - 1)) + "|"]
