"""A detection made ready: masks, baselines and instances are fixed, and the model may be asked once or again and again."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from nid_plugins.detection.aggregate import build_report
from nid_plugins.detection.draws import Draws
from nid_plugins.detection.executors import Executor
from nid_plugins.detection.groups import Asked, Group, Worker, ask, explain
from nid_plugins.detection.journal import InstanceResult, Journal, fingerprint
from nid_plugins.detection.madex import MEMORY, Madex
from nid_plugins.detection.pairs import FEW
from nid_plugins.detection.settings import AUTO, LARGE_GROUP, DetectRequest, DetectSettings
from nid_plugins.detection.stopping import Stop, checkpoints, look
from nid_plugins.errors import ModelError, NidWarning, SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.report import InteractionReport

GROUP = 16
"""Instances whose explainers are fitted as one batch. Rounding may depend on it, and a resumed run must agree."""
MANY = 500
"""Instances from which on groups are large: cheaper, and there is still enough to hand out to workers."""


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
        memory: Most bytes of perturbed rows at once.

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
        memory: int = MEMORY,
    ) -> None:
        manager = get_manager()
        for override in manager.notify("nid_before_detect", request=DetectRequest(box, rows, settings)):
            if isinstance(override, Mapping):
                detector, settings = _override(detector, settings, override)
        baseline: Baseline = manager.baseline(settings.baseline)
        self.box = box
        self.settings = settings
        self.results: list[InstanceResult] = []
        self._memory = memory
        self._rows = _draw(rows, settings)
        self._order = _order(len(self._rows), settings)
        self._detector = detector
        self._baseline = baseline
        self._madex: Madex | None = None
        self._prepared: dict[int, tuple[FloatMatrix, npt.NDArray[np.bool_]]] = {}
        if len(box.schema) < 2:
            warnings.warn(
                "the schema has one field, and an interaction takes two: the report is empty", NidWarning, 3
            )
            return
        # One BLAS thread here and below: the rounding of a report does not depend on the number of cores.
        with threadpool_limits(1, user_api="blas"):
            self._madex = Madex(box, background, settings, detector, baseline, memory)
        if settings.instances != AUTO:
            self._unswitched(len(self._rows), 3)

    def __len__(self) -> int:
        """Return the number of instances of a full run, at most all rows where it stops by itself."""
        return len(self._rows)

    def group_size(self) -> int:
        """Return how many instances are fitted as one batch: it depends on nothing that a resumed run could change."""
        fields = len(self.box.schema)
        # Stopping by itself, a run stops after whole groups; and arrays of all pairs of many fields are large.
        small = self.settings.instances == AUTO or len(self) < MANY or fields * (fields - 1) // 2 > FEW
        return GROUP if small else LARGE_GROUP

    def run(
        self,
        *,
        executor: str | Executor = "threads",
        resume: Path | None = None,
        progress: bool = False,
        group: int | None = None,
        go_on: Callable[[int], bool] | None = None,
    ) -> InteractionReport:
        """Explain the instances with the model as it is now, and tell the plug-ins (``nid_after_detect``).

        Args:
            executor: Name of an executor, or an executor.
            resume: Journal file.
            progress: Whether to show a progress bar.
            group: Instances whose explainers are fitted as one batch; by default as :meth:`group_size` says.
            go_on: Asked before every group with the number of instances taken so far; False ends the run there, and
                the report is of these instances: always the first ones, in the order of the rows.

        Raises:
            ModelError: The model failed; with a ``partial`` report of what had been finished.
            ArtefactError: The journal is damaged or belongs to another detection.
            SettingError: No such executor, or the model cannot be sent to its workers.
        """
        manager = get_manager()
        spread = executor if isinstance(executor, Executor) else manager.executor(executor)
        madex = self._madex
        if madex is None:
            report = build_report(self.box, self.settings, [], {}, 0)
            manager.notify("nid_after_detect", report=report)
            return report
        auto = self.settings.instances == AUTO
        group = group or self.group_size()
        stops = checkpoints(len(self), group) if auto else [len(self)]
        journal = None if resume is None else self._journal(resume, madex)
        state = _Run(
            journal, tqdm(total=len(self), unit="instance", desc="detect", disable=not progress or None)
        )
        stop: Stop | None = None
        try:
            # The matrices are small, and the model has the cores it wants between the fits.
            with state.bar, threadpool_limits(1, user_api="blas"), self._workers(spread, madex) as explained:
                for start, end in pairwise([0, *stops]):
                    groups = self._groups(range(start, end, group), end, go_on, state)
                    for batch, error in explained(groups):
                        state.take(batch)
                        if error is not None:
                            raise error
                    if state.ended:
                        break
                    if auto:
                        stop = look(list(state.results.values()), self.settings)
                        if stop.settled:
                            break
        except ModelError as error:
            if state.results:
                error.partial = self._report(state, None)
            raise
        finally:
            if journal is not None:
                journal.close()
        report = self._report(state, stop)
        self.results = sorted(state.results.values(), key=lambda r: r.index)
        manager.notify("nid_after_detect", report=report)
        return report

    def _report(self, state: _Run, stop: Stop | None) -> InteractionReport:
        assert self._madex is not None
        told = None if stop is None else {"stopped": stop.why(), "top_k_staying": stop.staying}
        used = len(self) if self.settings.instances != AUTO else max(state.results, default=0) + 1
        return build_report(
            self.box,
            self.settings,
            list(state.results.values()),
            self._unswitched(used) if self.settings.instances == AUTO else self._shares(used),
            len(self._madex.masks),
            told,
        )

    @contextlib.contextmanager
    def _workers(
        self, spread: Executor, madex: Madex
    ) -> Iterator[Callable[[Iterator[Group]], Iterator[Any]]]:
        """Give a function from groups to what their instances contribute, with the error that ended it if one did."""
        if spread.remote:
            if self.box.output == AUTO:
                # Judged by the first answers, and by one process: the workers must not judge each by its own.
                first = self._group([0])
                madex.query(first.rows[0], first.off[0])
            worker = Worker(self.box, self.settings, self._detector, self._baseline, self._memory)
            with spread.hold(worker) as mapped:
                yield mapped
            return
        draws = Draws(madex)
        with spread.hold(lambda asked: (explain(asked), asked.error)) as mapped:
            yield lambda groups: mapped(_answered(draws, groups))

    def _journal(self, path: Path, madex: Madex) -> Journal:
        everything = {**self.settings.to_dict(), "epsilon": self.box.epsilon}
        print_ = fingerprint(everything, self.box.schema.to_dict(), self._rows, madex.background)
        return Journal(path, print_, self.box.logits_of(self._rows[:8]))

    def _groups(
        self, starts: range, end: int, go_on: Callable[[int], bool] | None, state: _Run
    ) -> Iterator[Group]:
        """Yield the groups to explain; those an earlier run finished are taken from its journal."""
        for start in starts:
            if state.ended or (go_on is not None and not go_on(start)):
                state.ended = True
                return
            indices = list(range(start, min(start + starts.step, end)))
            if not state.known(indices):
                yield self._group(indices)

    def _group(self, indices: list[int]) -> Group:
        off, stuck = zip(*map(self._instance, indices), strict=True)
        return Group(indices, self._rows[self._order[indices]], np.array(off), np.array(stuck))

    def _instance(self, index: int) -> tuple[FloatMatrix, npt.NDArray[np.bool_]]:
        """Return what the off fields of an instance hold, and which fields hold it already."""
        assert self._madex is not None
        if index not in self._prepared:
            off = self._madex.off_values(index)
            stuck = self._baseline.unswitched(self._rows[self._order[index]], off)
            self._prepared[index] = off, stuck
        return self._prepared[index]

    def _shares(self, instances: int) -> dict[str, float]:
        """Return, for each field, the share of instances that hold its off value: it cannot interact there."""
        share = np.mean([self._instance(i)[1] for i in range(instances)], axis=0)
        return {name: float(value) for name, value in zip(self.box.schema.names, share, strict=True)}

    def _unswitched(self, instances: int, level: int = 2) -> dict[str, float]:
        """Return :meth:`_shares`, with a warning about fields that are never switched."""
        shares = self._shares(instances)
        everywhere = [name for name, value in shares.items() if value == 1.0]
        if everywhere and instances > 1:
            warnings.warn(
                f"fields that hold their baseline value in every instance can show no interaction: {everywhere}",
                NidWarning,
                level + 1,
            )
        return shares


class _Run:
    """What a run has so far."""

    def __init__(self, journal: Journal | None, bar: Any) -> None:
        self.results: dict[int, InstanceResult] = {}
        self.ended = False
        self.bar = bar
        self._journal = journal

    def take(self, batch: list[InstanceResult]) -> None:
        """Keep what instances contributed."""
        for result in batch:
            self.results[result.index] = result
            if self._journal is not None:
                self._journal.add(result)
        self.bar.update(len(batch))

    def known(self, indices: list[int]) -> bool:
        """Keep what the journal has of a group, if it has all of it."""
        done = {} if self._journal is None else self._journal.done
        if not all(i in done for i in indices):
            return False
        self.results.update((i, done[i]) for i in indices)
        self.bar.update(len(indices))
        return True


def _answered(draws: Draws, groups: Iterator[Group]) -> Iterator[Asked]:
    """Query group by group, until the model fails."""
    for group in groups:
        asked = ask(draws.of(group.indices[0]), group)
        yield asked
        if asked.error is not None:
            return


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
    if isinstance(settings.instances, str) or len(rows) <= settings.instances:
        return rows
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3,)))
    return rows[np.sort(rng.choice(len(rows), settings.instances, replace=False))]


def _order(rows: int, settings: DetectSettings) -> npt.NDArray[np.intp]:
    """Return the order in which rows become instances: a random one where the first few may have to do."""
    if settings.instances != AUTO:
        return np.arange(rows)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3,)))
    return rng.permutation(rows)
