"""GLIDER's detection (Tsang et al. 2020, algorithm 1): MADEX on many instances, then count, rank, prune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from nid_plugins.blackbox import BlackBox
from nid_plugins.detection.detector import Detector
from nid_plugins.detection.madex import MEMORY
from nid_plugins.detection.prepared import Detection
from nid_plugins.detection.settings import DEFAULT_DETECTOR, DetectSettings, Prune, Rank
from nid_plugins.errors import SettingError
from nid_plugins.frames import read_matrix, read_row
from nid_plugins.paths import as_path
from nid_plugins.plugins import get_manager
from nid_plugins.sizes import byte_count

if TYPE_CHECKING:
    import os

    from nid_plugins.detection.executors import Executor
    from nid_plugins.report import InteractionReport


def detect(
    box: BlackBox,
    rows: Any,
    *,
    background: Any = None,
    detector: str | Detector = DEFAULT_DETECTOR,
    options: Mapping[str, Any] | None = None,
    baseline: str = "mode",
    instances: int | Literal["auto"] = 1000,
    perturbations: int = 6000,
    top_k: int = 40,
    seed: int = 0,
    prune: Prune = "gain",
    rank: Rank = "count",
    min_gain: float = 1e-3,
    candidates: int = 40,
    redraw: int | None = None,
    executor: str | Executor = "threads",
    memory: int | str = MEMORY,
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
        instances: Rows explained: drawn without replacement, all when the frame has fewer. ``"auto"``: rows are taken in
            random order until the top K is settled, which is when in nine of ten bootstrap resamples of the instances
            four fifths of it stay (see ``docs/scale-detection.md``); at most all rows. The report's settings
            tell how many were used and why it stopped.
        perturbations: Masks an instance.
        top_k: Interactions in the report.
        seed: Same seed, same report.
        prune: ``"gain"`` counts a set for an instance only when it adds held-out R^2 there beyond main effects and
            smaller sets; ``"paper"`` counts each instance's 100 strongest sets, the set of all fields excluded, and lets
            supersets erase subsets in the ranking; ``"none"`` counts them and erases nothing.
        rank: ``"count"`` ranks by the number of instances a set was found in, then strength, as GLIDER does;
            ``"gain"`` by the held-out R^2 it added over all instances, which weighs an instance by how much it shows;
            ``"strength"`` by the variance it gives the logit, its mean square strength over all instances, whether it
            was found there or not. That needs the fewest queries for the same top K. It is measured to find what is there
            as well as counts do for ``"least_squares"`` alone, and is wrong for ``"nid"``, whose strength is no
            difference of the logit; see :mod:`nid_plugins.detection.worth`.
        min_gain: Least held-out R^2 a set must add, for ``prune="gain"``.
        candidates: Sets tried per instance, for ``prune="gain"``.
        redraw: Masks are drawn anew after so many instances, a multiple of 32; ``None``: all instances share one set of
            masks, and the error it brings. With ``redraw=128`` a ranking needs fewer perturbations, ``rank="count"`` above
            all, for what follows from masks alone being worked out again each time; see ``docs/scale-detection.md``.
        executor: ``"threads"`` (explainers are fitted while the model is queried) or ``"serial"``; ``"processes"`` (joblib)
            or ``"ray"``, whose workers hold a model each, for models that can be pickled. Same result. An executor object
            says how many workers, e.g. ``RayExecutor(8)`` of :mod:`nid_plugins.detection`.
        memory: Most bytes of perturbed rows made at once, p float64 each, by every process: a number, or text such as
            ``"512MB"``. What the model makes of a batch of them comes on top. No influence on the result, but for what
            a model's batch size has on its rounding.
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
    found, settings = checked_settings(
        detector,
        options,
        baseline,
        instances,
        perturbations,
        top_k,
        seed,
        prune,
        rank,
        min_gain,
        candidates,
        redraw,
    )
    _check_box(box)
    budget = byte_count(memory)
    journal = None if resume is None else as_path(resume, "a journal file")
    everything = read_matrix(rows, box.schema, what="frame of rows")
    typical = everything if background is None else read_matrix(background, box.schema, what="background")
    detection = Detection(box, everything, typical, found, settings, budget)
    return detection.run(executor=executor, resume=journal, progress=progress)


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
    found, settings = checked_settings(
        detector, options, baseline, 1, perturbations, top_k, seed, prune, "count", min_gain, candidates
    )
    _check_box(box)
    one = read_row(row, box.schema)
    typical = None if background is None else read_matrix(background, box.schema, what="background")
    return Detection(box, one, typical, found, settings).run(executor="serial")


def checked_settings(
    detector: str | Detector,
    options: Mapping[str, Any] | None,
    baseline: str,
    instances: int | Literal["auto"],
    perturbations: int,
    top_k: int,
    seed: int,
    prune: Prune,
    rank: Rank,
    min_gain: float,
    candidates: int,
    redraw: int | None = None,
) -> tuple[Detector, DetectSettings]:
    """Return the detector and the settings of a detection, checked; the arguments are those of :func:`detect`.

    Raises:
        SettingError: An option is out of its domain or names something unknown.
    """
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
        redraw,
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
