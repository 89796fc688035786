"""GLIDER's detection (Tsang et al. 2020, algorithm 1): MADEX on many instances, then count, rank, prune."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from nid_plugins.blackbox import BlackBox
from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.detector import Detector
from nid_plugins.detection.journal import InstanceResult, Journal, fingerprint
from nid_plugins.detection.madex import Madex
from nid_plugins.detection.settings import DEFAULT_DETECTOR, DetectRequest, DetectSettings, Prune, Rank
from nid_plugins.errors import ModelError, NidWarning, SettingError
from nid_plugins.frames import FloatMatrix, read_matrix, read_row
from nid_plugins.paths import as_path
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.executors import Executor
    from nid_plugins.report import InteractionReport

GROUP = 16
"""Instances whose explainers are fitted as one batch. Fixed: rounding may depend on it, and a resumed run must agree."""


def detect(
    box: BlackBox,
    rows: Any,
    *,
    background: Any = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    options: Mapping[str, Any] | None = None,
    baseline: str = "mode",
    instances: int = 1000,
    perturbations: int = 6000,
    top_k: int = 40,
    seed: int = 0,
    prune: Prune = "gain",
    rank: Rank = "count",
    min_gain: float = 1e-3,
    candidates: int = 40,
    executor: str = "threads",
    resume: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> InteractionReport:
    """Detect which fields a model makes interact, over many instances.

    Args:
        box: The model, from :func:`nid_plugins.wrap`.
        rows: Frame to draw the instances from, e.g. the validation frame.
        background: Frame the baseline is learned from, e.g. the training frame; the rows themselves when left out.
        detector: Name of a detector, or a detector object.
        options: Options of the detector, e.g. ``{"linear": False}`` for ``"nid"``.
        baseline: What an off field holds: ``"mode"`` (mode or mean), ``"oov"``, ``"sample"``, ``"zero_embedding"``.
        instances: Rows explained: drawn without replacement, all when the frame has fewer.
        perturbations: Masks an instance.
        top_k: Interactions in the report.
        seed: Same seed, same report.
        prune: ``"gain"`` counts a set for an instance only when it adds held-out R^2 there beyond main effects and
            smaller sets; ``"paper"`` counts each instance's 100 strongest sets, the set of all fields excluded, and lets
            supersets erase subsets in the ranking; ``"none"`` counts them and erases nothing.
        rank: ``"count"`` ranks by the number of instances a set was found in, then strength, as GLIDER does;
            ``"gain"`` by the held-out R^2 it added over all instances, which weighs an instance by how much it shows.
        min_gain: Least held-out R^2 a set must add, for ``prune="gain"``.
        candidates: Sets tried per instance, for ``prune="gain"``.
        executor: ``"threads"`` (explainers are fitted while the model is queried) or ``"serial"``; same result.
        resume: Journal file: instances are written to it as they finish, and read back when it exists.
        progress: Whether to show a progress bar (on a terminal or in a notebook).

    Returns:
        The ranking with count, share, strength, gain and stability, the explainers' fit, and the settings.

    Raises:
        SettingError: An option is out of its domain or names something unknown.
        FrameError: A frame does not fit the schema.
        ModelError: The model failed. Instances finished before are in the error's ``partial`` report and in the journal.
        ArtefactError: The journal is damaged or belongs to another detection.
    """
    found, settings = _settings(
        detector, options, baseline, instances, perturbations, top_k, seed, prune, rank, min_gain, candidates
    )
    _check_box(box)
    journal = None if resume is None else as_path(resume, "a journal file")
    everything = read_matrix(rows, box.schema, what="frame of rows")
    typical = everything if background is None else read_matrix(background, box.schema, what="background")
    return _detect(
        box, everything, typical, found, settings, executor=executor, resume=journal, progress=progress
    )


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
) -> InteractionReport:
    """Explain one instance: which of its fields does the model make interact here (MADEX)?

    Args:
        box: The model, from :func:`nid_plugins.wrap`.
        row: Mapping of name to scalar, or a one-row frame.
        background: Frame the baseline is learned from.
        detector: As for :func:`detect`.
        options: As for :func:`detect`.
        baseline: As for :func:`detect`.
        perturbations: As for :func:`detect`.
        top_k: As for :func:`detect`.
        seed: As for :func:`detect`.
        prune: As for :func:`detect`.
        min_gain: As for :func:`detect`.
        candidates: As for :func:`detect`.

    Returns:
        A report of one instance, strongest interaction first.

    Raises:
        SettingError: An option is out of its domain, or the baseline needs a background and none was given.
        FrameError: The row or the background does not fit the schema.
        ModelError: The model failed.
    """
    found, settings = _settings(
        detector, options, baseline, 1, perturbations, top_k, seed, prune, "count", min_gain, candidates
    )
    _check_box(box)
    one = read_row(row, box.schema)
    typical = None if background is None else read_matrix(background, box.schema, what="background")
    return _detect(box, one, typical, found, settings, executor="serial", resume=None, progress=False)


def _settings(
    detector: str | Detector,
    options: Mapping[str, Any] | None,
    baseline: str,
    instances: int,
    perturbations: int,
    top_k: int,
    seed: int,
    prune: Prune,
    rank: Rank,
    min_gain: float,
    candidates: int,
) -> tuple[Detector, DetectSettings]:
    found = get_manager().detector(detector) if isinstance(detector, str) else detector
    if not isinstance(found, Detector):
        raise SettingError(
            "not a detector",
            received=type(detector).__name__,
            expected="a detector's name or a Detector object",
        )
    if options is not None and not isinstance(options, Mapping):
        raise SettingError(
            "not options of a detector", received=repr(options), expected='a dict, e.g. {"linear": False}'
        )
    found = found.configured(**(options or {}))
    settings = DetectSettings(
        found.name,
        found.options(),
        baseline,
        instances,
        perturbations,
        top_k,
        seed,
        prune,
        rank,
        min_gain,
        candidates,
    )
    return found, settings


def _check_box(box: object) -> None:
    if not isinstance(box, BlackBox):
        raise SettingError(
            "not a wrapped model",
            received=type(box).__name__,
            expected="a BlackBox",
            hint="Wrap the model first: box = nid.wrap(model, schema)",
        )


def _detect(
    box: BlackBox,
    rows: FloatMatrix,
    background: FloatMatrix | None,
    detector: Detector,
    settings: DetectSettings,
    *,
    executor: str,
    resume: Path | None,
    progress: bool,
) -> InteractionReport:
    manager = get_manager()
    for override in manager.notify("nid_before_detect", request=DetectRequest(box, rows, settings)):
        if isinstance(override, Mapping):
            detector, settings = _override(detector, settings, override)
    baseline: Baseline = manager.baseline(settings.baseline)
    spread: Executor = manager.executor(executor)
    if len(box.schema) < 2:
        warnings.warn(
            "the schema has one field, and an interaction takes two: the report is empty", NidWarning, 3
        )
        report = build_report(box, settings, [], {}, 0)
        manager.notify("nid_after_detect", report=report)
        return report
    chosen = _draw(rows, settings)
    # One BLAS thread here and below: the rounding of a report does not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        madex = Madex(box, background, settings, detector, baseline)
    off = [madex.off_values(i) for i in range(len(chosen))]
    stuck = [baseline.unswitched(row, values) for row, values in zip(chosen, off, strict=True)]
    unswitched = _unswitched(box, stuck)
    journal = None
    if resume is not None:
        everything = {**settings.to_dict(), "epsilon": box.epsilon}
        print_ = fingerprint(everything, box.schema.to_dict(), chosen, madex.background)
        journal = Journal(resume, print_, box.logits_of(chosen[:8]))
    done = {} if journal is None else dict(journal.done)
    results: dict[int, InstanceResult] = {}
    bar = tqdm(total=len(chosen), unit="instance", desc="detect", disable=None if progress else True)
    try:
        # The matrices are small, and the model has the cores it wants between the fits.
        with bar, threadpool_limits(1, user_api="blas"):
            groups = _groups(madex, chosen, off, stuck, done, results, bar)
            for batch in spread.map(lambda group: madex.explain(*group), groups):
                for result in batch:
                    results[result.index] = result
                    if journal is not None:
                        journal.add(result)
                bar.update(len(batch))
    except ModelError as error:
        if results:
            error.partial = build_report(box, settings, list(results.values()), unswitched, len(madex.masks))
        raise
    finally:
        if journal is not None:
            journal.close()
    report = build_report(box, settings, list(results.values()), unswitched, len(madex.masks))
    manager.notify("nid_after_detect", report=report)
    return report


def _override(
    detector: Detector, settings: DetectSettings, override: Mapping[str, Any]
) -> tuple[Detector, DetectSettings]:
    """Return the detector and the settings a plug-in wants; options not named keep their value."""
    known = [f.name for f in dataclasses.fields(settings)]
    unknown = sorted(set(override) - set(known))
    if unknown:
        raise SettingError(
            "a plug-in's nid_before_detect returned an unknown setting",
            received=unknown,
            expected=sorted(known),
        )
    wanted = override.get("detector", settings.detector)
    if wanted != detector.name:
        detector = get_manager().detector(wanted)
    detector = detector.configured(**(override.get("options") or {}))
    changed = {**override, "detector": detector.name, "options": detector.options()}
    return detector, dataclasses.replace(settings, **changed)


def _draw(rows: FloatMatrix, settings: DetectSettings) -> FloatMatrix:
    if len(rows) <= settings.instances:
        return rows
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3,)))
    return rows[np.sort(rng.choice(len(rows), settings.instances, replace=False))]


def _groups(
    madex: Madex,
    rows: FloatMatrix,
    off: list[FloatMatrix],
    stuck: list[npt.NDArray[np.bool_]],
    done: dict[int, InstanceResult],
    results: dict[int, InstanceResult],
    bar: Any,
) -> Iterator[tuple[FloatMatrix, list[int], list[int], list[npt.NDArray[np.bool_]]]]:
    """Query the model group by group; groups an earlier run finished are taken from its journal."""
    for start in range(0, len(rows), GROUP):
        indices = list(range(start, min(start + GROUP, len(rows))))
        if all(i in done for i in indices):
            results.update((i, done[i]) for i in indices)
            bar.update(len(indices))
            continue
        queried: list[FloatMatrix] = []
        clipped: list[int] = []
        try:
            for i in indices:
                y, count = madex.query(rows[i], off[i])
                queried.append(y)
                clipped.append(count)
        except ModelError:
            # What the model answered before it failed is explained too.
            if queried:
                some = indices[: len(queried)]
                yield np.array(queried), some, clipped, [stuck[i] for i in some]
            raise
        yield np.array(queried), indices, clipped, [stuck[i] for i in indices]


def _unswitched(box: BlackBox, stuck: list[npt.NDArray[np.bool_]]) -> dict[str, float]:
    """Return, for each field, the share of instances that hold its off value: it cannot interact there."""
    share = np.mean(stuck, axis=0)
    everywhere = [name for name, value in zip(box.schema.names, share, strict=True) if value == 1.0]
    if everywhere and len(stuck) > 1:
        warnings.warn(
            f"fields that hold their baseline value in every instance can show no interaction: {everywhere}",
            NidWarning,
            4,
        )
    return {name: float(value) for name, value in zip(box.schema.names, share, strict=True)}
