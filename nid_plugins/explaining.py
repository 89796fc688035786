"""One instance explained: a row of a CTR model, or an instance of any domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from nid_plugins.detection import glider
from nid_plugins.detection.settings import DEFAULT_DETECTOR
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.settings import Prune
    from nid_plugins.domains import Domain, LocalExplanation
    from nid_plugins.domains.asking import Output
    from nid_plugins.report import InteractionReport


@overload
def explain(
    box: BlackBox,
    row: Any,
    *,
    background: Any = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    options: Mapping[str, Any] | None = None,
    baseline: str = "mode",
    perturbations: int = 6000,
    top_k: int = 40,
    seed: int = 0,
    prune: Prune = "gain",
    min_gain: float = 1e-3,
    candidates: int = 40,
    domain: None = None,
) -> InteractionReport: ...


@overload
def explain(
    box: Any,
    row: Any,
    *,
    background: Any = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    options: Mapping[str, Any] | None = None,
    perturbations: int = 6000,
    top_k: int = 40,
    seed: int = 0,
    prune: Prune = "gain",
    min_gain: float = 1e-3,
    candidates: int = 40,
    domain: str | Domain,
    output: Output = "auto",
    target: int | None = None,
    epsilon: float = 1e-7,
    batch_size: int | None = None,
    **domain_options: Any,
) -> LocalExplanation: ...


def explain(
    box: Any,
    row: Any,
    *,
    background: Any = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    options: Mapping[str, Any] | None = None,
    baseline: str = "mode",
    perturbations: int = 6000,
    top_k: int = 40,
    seed: int = 0,
    prune: Prune = "gain",
    min_gain: float = 1e-3,
    candidates: int = 40,
    domain: str | Domain | None = None,
    **more: Any,
) -> InteractionReport | LocalExplanation:
    """Explain one instance: which of its features does the model make interact here (MADEX)?

    Without a domain the instance is a row of a wrapped CTR model, and the result a report; with one it is a text, an
    image, a row of any table, a sequence or a graph, the model any callable from a batch of such instances to scores
    ``(n,)`` or ``(n, classes)`` (or an object with ``predict_proba``), and the result a
    :class:`~nid_plugins.domains.LocalExplanation`. Plug-ins hear of a row (the hooks ``nid_before_detect`` and
    ``nid_after_detect``), as of every detection on fields of a schema; of an instance of a domain they do not.

    Args:
        box: The model: from :func:`nid_plugins.wrap`, or with a domain any callable.
        row: The instance. Without a domain a mapping of name to scalar, or a one-row frame.
        background: Frame the baseline is learned from. With a domain, its option of that name.
        detector: Name of a detector, or a detector object.
        options: Options of the detector.
        baseline: What an off field holds, without a domain; a domain has options of its own for that.
        perturbations: Masks.
        top_k: Most interactions.
        seed: Same seed, same result.
        prune: As for :func:`nid_plugins.detect`. With a domain ``"gain"`` takes sets one by one, of any order, for as
            long as each adds held-out R^2; ``"paper"`` and ``"none"`` take the detector's ranking.
        min_gain: Least held-out R^2 a set must add.
        candidates: Sets of the detector's that the selection starts from.
        domain: ``"text"``, ``"image"``, ``"tabular"``, ``"sequence"``, ``"graph"``, one a plug-in registered, or a
            Domain object.
        **more: With a domain: ``output``, ``"probability"``, ``"logit"``, ``"score"`` (any number, taken as it is) or
            ``"auto"``; ``target``, the class explained (the predicted one by default); ``epsilon``, the clip of
            probabilities, 1e-7 by default; ``batch_size``, instances per call of the model (by default at most 512, and
            64 MiB); and the options of the domain, e.g. ``mask="[MASK]"``.

    Returns:
        A report of one instance, or an explanation; strongest interaction first.

    Raises:
        FrameError: The instance or the background does not fit.
        ModelError: The model failed.
        SettingError: An option is out of its domain.
        UnsupportedError: The model cannot be called.
    """
    common: dict[str, Any] = {
        "background": background,
        "detector": detector,
        "options": options,
        "perturbations": perturbations,
        "top_k": top_k,
        "seed": seed,
        "prune": prune,
        "min_gain": min_gain,
        "candidates": candidates,
    }
    if domain is None:
        if more:
            raise TypeError(f"explain() got an unexpected keyword argument {next(iter(more))!r}")
        return glider.explain(box, row, baseline=baseline, **common)
    if baseline != "mode":
        raise SettingError(
            "a domain has no baseline",
            received=repr(baseline),
            hint="Its options say what an off feature becomes",
        )
    from nid_plugins.domains.explaining import explain_instance

    asked = {name: more.pop(name) for name in ("output", "target", "epsilon", "batch_size") if name in more}
    return explain_instance(box, row, domain, **common, **asked, domain_options=more)
