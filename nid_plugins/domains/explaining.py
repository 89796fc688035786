"""MADEX (Tsang et al. 2020, section 3) for one instance of any domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from nid_plugins.detection.detector import checked
from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.masks import MaskDesign
from nid_plugins.detection.pruning import prune_local
from nid_plugins.domains.asking import Output, ask
from nid_plugins.domains.domain import Domain, checked_features
from nid_plugins.domains.explanation import Feature, LocalExplanation, LocalInteraction
from nid_plugins.domains.selecting import Selector, fit
from nid_plugins.errors import FrameError, NidError, PluginError, SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nid_plugins.detection.detector import Detector, Explanation, Members
    from nid_plugins.detection.masks import Floats, Masks
    from nid_plugins.detection.settings import DetectSettings, Prune

MOST_FEATURES = 1000
"""Most features of an instance: above it, all pairs and their masks no longer fit a laptop's memory."""
FEW_FEATURES = 4
"""Features up to which the instance itself is drawn too, as often as any other number of off features. In the paper's masks
it is the first one only, so that a set of all features, such as a pair of two, could not be seen."""


def explain_instance(
    model: Any,
    instance: Any,
    domain: str | Domain,
    *,
    background: Any,
    detector: str | Detector,
    options: Mapping[str, Any] | None,
    perturbations: int,
    top_k: int,
    seed: int,
    prune: Prune,
    min_gain: float,
    candidates: int,
    output: Output = "auto",
    target: int | None = None,
    epsilon: float = 1e-7,
    batch_size: int | None = None,
    domain_options: Mapping[str, Any] | None = None,
) -> LocalExplanation:
    """Explain one instance of a domain; see :func:`nid_plugins.explain`, whose defaults are the only ones.

    Raises:
        FrameError: The instance is none of the domain, or has fewer than two features.
        ModelError: The model failed.
        PluginError: The domain or the detector broke its contract.
        SettingError: An option is out of its domain.
        UnsupportedError: The model cannot be called.
    """
    chosen = _domain(domain, background, domain_options or {})
    found, settings = checked_settings(
        detector, options, "mode", 1, perturbations, top_k, seed, prune, "count", min_gain, candidates
    )
    features, labels, unswitched = checked_features(chosen, _features(chosen, instance))
    p = len(labels)
    if p < 2:
        raise FrameError(
            "the instance has too few features",
            received=f"{p}: {labels}",
            expected="two or more",
            hint="An interaction takes two",
        )
    if p > MOST_FEATURES:
        raise FrameError(
            "the instance has too many features",
            received=p,
            expected=f"at most {MOST_FEATURES}",
            hint="Make coarser ones: sentences for words, larger segments, fewer hops",
        )
    masks = np.array(
        found.masks(p, settings.perturbations, np.random.default_rng(_seed(seed, 0))), dtype=bool
    )
    if masks.ndim != 2 or masks.shape[1] != p or not masks[0].all():
        raise PluginError(
            f"the detector {found.name!r} made unusable masks",
            received=f"shape {masks.shape}",
            expected=f"(M, {p}), the first row all on",
        )
    random = found.random_rows(masks)
    if p <= FEW_FEATURES:
        whole = np.random.default_rng(_seed(seed, 5)).random(random) < 1 / (p + 1)
        masks[:random] |= whole[:, None]
    answers = ask(
        model,
        features,
        masks,
        np.random.default_rng(_seed(seed, 4)),
        output=output,
        target=target,
        epsilon=epsilon,
        batch_size=batch_size,
    )
    # One BLAS thread: the rounding of an explanation does not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        (explained,) = _one(found.fit(found.prepare(masks), answers.values[None], [_seed(seed, 2)]), found)
        explained = checked(found.name, explained, unswitched)
        design, y = MaskDesign(masks[:random]), answers.values[:random]
        sets, gains = _chosen(design, y, explained, settings, unswitched)
        model_of_it = fit(design, y, sets)
    strengths = dict(zip(explained.sets, explained.strengths.tolist(), strict=True))
    interactions = [
        LocalInteraction(
            tuple(Feature(labels[j], j) for j in members),
            float(effect),
            gain,
            strengths.get(members, float("nan")),
        )
        for members, effect, gain in zip(sets, model_of_it.products, gains, strict=True)
    ]
    return LocalExplanation(
        domain=chosen.name,
        labels=tuple(labels),
        interactions=tuple(interactions),
        effects=tuple(float(effect) for effect in model_of_it.effects),
        intercept=model_of_it.intercept,
        logit=float(answers.values[0]),
        score=answers.score,
        target=answers.target,
        r2_linear=model_of_it.r2_linear,
        r2=model_of_it.r2,
        r2_detector=float(explained.r2),
        unswitched=tuple(int(j) for j in np.flatnonzero(unswitched)),
        clipped=answers.clipped,
        queries=answers.queries,
        settings=_settings(settings, chosen, answers.output, epsilon),
        shown=dict(features.shown()),
    )


def _domain(domain: str | Domain, background: Any, options: Mapping[str, Any]) -> Domain:
    chosen = get_manager().domain(domain) if isinstance(domain, str) else domain
    if not isinstance(chosen, Domain):
        raise SettingError(
            "not a domain", received=type(domain).__name__, expected="a domain's name or a Domain object"
        )
    if background is not None:
        options = {**options, "background": background}
    configured: Domain = chosen.configured(**options)
    return configured


def _features(domain: Domain, instance: Any) -> Any:
    try:
        return domain.features(instance)
    except NidError:
        raise
    except Exception as error:
        raise PluginError(f"the domain {domain.name!r} raised {type(error).__name__}: {error}") from error


def _one(explanations: list[Explanation], detector: Detector) -> list[Explanation]:
    if len(explanations) != 1:
        raise PluginError(
            f"the detector {detector.name!r} returned {len(explanations)} explanations",
            expected="1, one an instance",
        )
    return explanations


def _chosen(
    design: MaskDesign, y: Floats, explained: Explanation, settings: DetectSettings, unswitched: Masks
) -> tuple[list[Members], list[float]]:
    """Return the sets of the ranking and their gains."""
    if settings.prune == "gain":
        selector = Selector(design, y, settings.min_gain, unswitched)
        return selector.select(explained.sets[: settings.candidates], settings.top_k)
    ranked = prune_local(explained.sets) if settings.prune == "paper" else explained.sets
    sets = list(ranked[: settings.top_k])
    return sets, [float("nan")] * len(sets)


def _settings(settings: DetectSettings, domain: Domain, output: str, epsilon: float) -> dict[str, Any]:
    names = ("detector", "options", "perturbations", "top_k", "seed", "prune", "min_gain", "candidates")
    asked = {name: getattr(settings, name) for name in names}
    return {
        **asked,
        "domain": {"name": domain.name, **domain.options()},
        "output": output,
        "epsilon": epsilon,
    }


def _seed(seed: int, purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(purpose, 0))
