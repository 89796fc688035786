"""A detection made ready: masks, baselines and instances are fixed, and the model may be asked once or again and again."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.journal import InstanceResult, Journal, fingerprint
from nid_plugins.detection.madex import Madex
from nid_plugins.detection.settings import DetectRequest, DetectSettings
from nid_plugins.errors import ModelError, NidWarning, SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.executors import Executor
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.report import InteractionReport

GROUP = 16
"""Instances whose explainers are fitted as one batch. Fixed: rounding may depend on it, and a resumed run must agree."""


class Detection:
    """Everything of a detection that does not depend on the model's weights, and :meth:`run`, which does.

    Making one runs the hook ``nid_before_detect``, which may change the settings.

    Args:
        box: The model.
        rows: Where the instances are drawn from, shape (n, p). As many rows as instances are asked for, or fewer, are
            taken in the order they have.
        background: Typical rows, shape (m, p), or None where the baseline needs none.
        detector: Finds the interactions.
        settings: What was asked for.

    Attributes:
        results: What the last run found, instance by instance.
        settings: What was asked for, with the plug-ins' changes.

    Raises:
        SettingError: The baseline needs a background and none was given, or a plug-in asked for the unknown.
    """

    def __init__(
        self,
        box: BlackBox,
        rows: FloatMatrix,
        background: FloatMatrix | None,
        detector: Detector,
        settings: DetectSettings,
    ) -> None:
        manager = get_manager()
        for override in manager.notify("nid_before_detect", request=DetectRequest(box, rows, settings)):
            if isinstance(override, Mapping):
                detector, settings = _override(detector, settings, override)
        baseline: Baseline = manager.baseline(settings.baseline)
        self.box = box
        self.settings = settings
        self.results: list[InstanceResult] = []
        self._rows = _draw(rows, settings)
        self._madex: Madex | None = None
        self._off: list[FloatMatrix] = []
        self._stuck: list[npt.NDArray[np.bool_]] = []
        self._unswitched: dict[str, float] = {}
        if len(box.schema) < 2:
            warnings.warn(
                "the schema has one field, and an interaction takes two: the report is empty", NidWarning, 3
            )
            return
        # One BLAS thread here and below: the rounding of a report does not depend on the number of cores.
        with threadpool_limits(1, user_api="blas"):
            self._madex = Madex(box, background, settings, detector, baseline)
        self._off = [self._madex.off_values(i) for i in range(len(self._rows))]
        self._stuck = [baseline.unswitched(row, off) for row, off in zip(self._rows, self._off, strict=True)]
        self._unswitched = _unswitched(box, self._stuck)

    def __len__(self) -> int:
        """Return the number of instances of a full run."""
        return len(self._rows)

    def run(
        self,
        *,
        executor: str = "threads",
        resume: Path | None = None,
        progress: bool = False,
        group: int = GROUP,
        go_on: Callable[[int], bool] | None = None,
    ) -> InteractionReport:
        """Explain the instances with the model as it is now, and tell the plug-ins (``nid_after_detect``).

        Args:
            executor: Name of an executor.
            resume: Journal file.
            progress: Whether to show a progress bar.
            group: Instances whose explainers are fitted as one batch.
            go_on: Asked before every group with the number of instances taken so far; False ends the run there, and
                the report is of these instances: always the first ones, in the order of the rows.

        Raises:
            ModelError: The model failed; with a ``partial`` report of what had been finished.
            ArtefactError: The journal is damaged or belongs to another detection.
            SettingError: No such executor.
        """
        manager = get_manager()
        spread: Executor = manager.executor(executor)
        madex, chosen = self._madex, self._rows
        if madex is None:
            report = build_report(self.box, self.settings, [], {}, 0)
            manager.notify("nid_after_detect", report=report)
            return report
        journal = None if resume is None else self._journal(resume, madex)
        done = {} if journal is None else dict(journal.done)
        results: dict[int, InstanceResult] = {}
        bar = tqdm(total=len(chosen), unit="instance", desc="detect", disable=None if progress else True)
        try:
            # The matrices are small, and the model has the cores it wants between the fits.
            with bar, threadpool_limits(1, user_api="blas"):
                groups = self._groups(madex, group, go_on, done, results, bar)
                for batch in spread.map(lambda group: madex.explain(*group), groups):
                    for result in batch:
                        results[result.index] = result
                        if journal is not None:
                            journal.add(result)
                    bar.update(len(batch))
        except ModelError as error:
            if results:
                some = list(results.values())
                error.partial = build_report(
                    self.box, self.settings, some, self._unswitched, len(madex.masks)
                )
            raise
        finally:
            if journal is not None:
                journal.close()
        self.results = sorted(results.values(), key=lambda r: r.index)
        report = build_report(self.box, self.settings, self.results, self._unswitched, len(madex.masks))
        manager.notify("nid_after_detect", report=report)
        return report

    def _journal(self, path: Path, madex: Madex) -> Journal:
        everything = {**self.settings.to_dict(), "epsilon": self.box.epsilon}
        print_ = fingerprint(everything, self.box.schema.to_dict(), self._rows, madex.background)
        return Journal(path, print_, self.box.logits_of(self._rows[:8]))

    def _groups(
        self,
        madex: Madex,
        group: int,
        go_on: Callable[[int], bool] | None,
        done: dict[int, InstanceResult],
        results: dict[int, InstanceResult],
        bar: Any,
    ) -> Iterator[tuple[FloatMatrix, list[int], list[int], list[npt.NDArray[np.bool_]]]]:
        """Query the model group by group; groups an earlier run finished are taken from its journal."""
        rows, off, stuck = self._rows, self._off, self._stuck
        for start in range(0, len(rows), group):
            if go_on is not None and not go_on(start):
                return
            indices = list(range(start, min(start + group, len(rows))))
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
