"""InteractionMonitor: looks at a model's interactions while it trains. Knows no framework; shells call it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from nid_plugins.adapting.randomness import python_random_kept
from nid_plugins.callbacks.drift import drift_between
from nid_plugins.callbacks.guard import Guard
from nid_plugins.callbacks.options import MonitorOptions
from nid_plugins.callbacks.pacing import Pacing
from nid_plugins.callbacks.record import Check, mean_known, numbers_of
from nid_plugins.callbacks.sample import draw
from nid_plugins.callbacks.screener import Screener
from nid_plugins.detection.prepared import Detection
from nid_plugins.errors import SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pandas as pd

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.callbacks.sample import Sample
    from nid_plugins.callbacks.sinks import Sink
    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.report import InteractionReport
    from nid_plugins.schema import FeatureSchema

GROUP = 4
"""Instances between two looks at the clock."""

JUDGED = 1024
"""Rows by which a model that does not declare it is judged to return probabilities or logits."""

STATE_VERSION = 1


class InteractionMonitor:
    """Detects the interactions of a model every few epochs or steps of its training.

    A framework's callback is a thin shell that calls :meth:`begin`, :meth:`step_end`, :meth:`epoch_end` and
    :meth:`end`; :func:`nid_plugins.monitor` makes one. Training is the same to the last bit with and without: weights,
    modes, optimiser and every random state are left as they were found. Nothing these four methods do raises: what goes
    wrong is said once, as a warning, and training goes on.

    Args:
        model: The model; may be left to :meth:`begin`.
        schema: Its fields; may be left out where the framework declares them.
        rows: Frame of rows the model is not trained on, e.g. the validation frame. A fixed sample of them is explained at
            every check, in a fixed order, so that checks compare.
        labels: 0/1 labels of the rows, or the name of the frame's column. With them the top crosses are screened: what
            would each add to the model as it is?
        background: Frame the baseline and the vocabularies of crosses are learned from, e.g. the training frame; the rows
            themselves when left out.
        every: Epochs or steps from one check to the next.
        unit: ``"epoch"`` or ``"step"``.
        budget: Seconds that may be spent for each second of training: the number of instances is chosen to keep it, time
            not used is carried forward, and a check the budget does not cover is put off. None: no limit, all instances
            at every check.
        top_k: Interactions in a ranking.
        screen: Crosses screened at a check, from the top; 0 for none.
        stop_after: Once the top K has not changed for this many checks, no more are made. None: never.
        sinks: Where checks are written besides ``history``: objects with ``write(check)`` and ``close()``, e.g. of
            :class:`nid_plugins.callbacks.Sink`.
        seed: Of the sample and the detection.
        detect: Options of :func:`nid_plugins.detect`: detector, options, baseline, instances (here the most there may be;
            by default 256), perturbations (by default 2000), prune, rank, min_gain, candidates, executor (by default
            ``"serial"``).
        wrap: Options of :func:`nid_plugins.wrap`: output, inputs, batch_size, epsilon, adapter.
        min_instances: Fewest instances worth a check. The first check takes as many whatever the budget, since what an
            instance costs is not known before.
        clock: Returns seconds; for tests.

    Attributes:
        history: The checks so far.
        stable: Whether ``stop_after`` has been reached.
        put_off: How many times a check was due and the budget did not cover it.
        model: The model.
        step: Steps so far, where the shell tells of them.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: A frame or the labels do not fit the schema; where the schema is known only when training begins, this
            is among what is said as a warning.
        UnsupportedError: No adapter claims the model, or it declares no schema.
    """

    def __init__(
        self,
        model: Any = None,
        schema: FeatureSchema | None = None,
        rows: Any = None,
        labels: Any = None,
        *,
        background: Any = None,
        every: int = 1,
        unit: str = "epoch",
        budget: float | None = 0.10,
        top_k: int = 20,
        screen: int = 10,
        stop_after: int | None = None,
        sinks: Iterable[Sink] = (),
        seed: int = 0,
        detect: Mapping[str, Any] | None = None,
        wrap: Mapping[str, Any] | None = None,
        min_instances: int = 8,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.options = MonitorOptions.of(
            every=every,
            unit=unit,
            budget=budget,
            top_k=top_k,
            screen=screen,
            stop_after=stop_after,
            seed=seed,
            min_instances=min_instances,
            detect=detect,
            wrap=wrap,
        )
        if rows is None:
            raise SettingError(
                "a monitor needs rows to look at",
                received="rows=None",
                expected="a frame of rows the model is not trained on, e.g. the validation frame",
            )
        self.history: list[Check] = []
        self.stable = False
        self.put_off = 0
        self.model = model
        self.step = 0
        self._guard = Guard(sinks)
        self._frames = (rows, labels, background)
        self._pacing = Pacing(budget, min_instances, *(() if clock is None else (clock,)))
        self._schema = schema
        self._sample: Sample | None = None
        self._box: BlackBox | None = None
        self._declared: Any = "auto"
        self._detection: Detection | None = None
        self._screener: Screener | None = None
        self._last: list[InstanceResult] = []
        self._unchanged = 0
        self._epoch = 0
        self._since = 0
        if schema is None and model is not None:
            self._schema = get_manager().adapter_for(model).schema(model)
        if self._schema is not None:
            self._sample = self._draw(self._schema)

    # What shells call

    def begin(self, model: Any = None) -> None:
        """Training begins, or begins again: the time from here on is training time.

        Args:
            model: The model, where it was not given before. Another one than before is looked at from now on.
        """
        if model is not None and model is not self.model:
            self.model = model
            self._box = self._detection = None
        self._pacing.start()

    def step_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """A training step has ended.

        Args:
            logs: Numbers of the step, e.g. the loss.
        """
        self.step += 1
        if self.options.unit == "step" and not self.stable:
            self._since += 1
            if self._since >= self.options.every:
                with self._apart():
                    self._try(self._epoch, logs)

    def epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended; the plug-ins are told (hook ``nid_epoch_end``).

        Args:
            epoch: Its number, from 0.
            logs: Numbers of the epoch, e.g. losses.
        """
        with self._apart():
            before = len(self.history)
            self._since += self.options.unit == "epoch"
            if self.options.unit == "epoch" and not self.stable and self._since >= self.options.every:
                self._try(epoch, logs)
            self._epoch = epoch + 1
            state = {
                **numbers_of(logs),
                "epoch": epoch,
                "step": self.step,
                "model": self.model,
                "check": self.history[-1] if len(self.history) > before else None,
            }
            self._guard.run(
                "the hook nid_epoch_end", lambda: get_manager().notify("nid_epoch_end", state=state)
            )

    def end(self) -> None:
        """Training has ended: sinks are closed, and opened again should it go on."""
        with self._apart():
            self._guard.close()
        self._pacing.stop()

    # What was found

    @property
    def share(self) -> float:
        """Seconds spent for each second of training."""
        return self._pacing.share

    @property
    def spent(self) -> float:
        """Seconds spent on checks, sinks and hooks."""
        return self._pacing.spent

    @property
    def trained(self) -> float:
        """Seconds of training, the time spent here left out."""
        return self._pacing.trained

    def to_frame(self) -> pd.DataFrame:
        """Return the history as a pandas frame, one row a check and interaction, best first."""
        import pandas as pd

        parts = []
        for check in self.history:
            part = check.report.to_frame()
            for place, name in enumerate(("epoch", "step")):
                part.insert(place, name, getattr(check, name))
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["epoch", "step"])

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs for the monitor to go on after it, JSON-able."""
        return {
            "version": STATE_VERSION,
            "step": self.step,
            "epoch": self._epoch,
            "since": self._since,
            "stable": self.stable,
            "unchanged": self._unchanged,
            "put_off": self.put_off,
            "pacing": self._pacing.state_dict(),
            "history": [check.to_dict(report=True) for check in self.history],
            "last": [result.to_json() for result in self._last],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's :meth:`state_dict`.

        Raises:
            ArtefactError: It is damaged, or written by a newer version.
        """
        from nid_plugins.callbacks.state import load

        load(self, state, STATE_VERSION)

    def restore(
        self,
        *,
        history: list[Check],
        last: list[InstanceResult],
        clocks: dict[str, float],
        counters: dict[str, int],
        stable: bool,
    ) -> None:
        """Take over what :mod:`nid_plugins.callbacks.state` has read; call :meth:`load_state_dict`."""
        self.history[:] = history
        self._last = last
        self._pacing.load_state_dict(clocks)
        self.step, self.put_off = counters["step"], counters["put_off"]
        self._epoch, self._since = counters["epoch"], counters["since"]
        self._unchanged, self.stable = counters["unchanged"], stable

    # Inside

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        with self._pacing, python_random_kept(), self._guard.warnings():
            yield

    def _draw(self, schema: FeatureSchema) -> Sample:
        rows, labels, background = self._frames
        options = self.options
        return draw(schema, rows, labels, background, instances=options.instances, seed=options.seed)

    def _prepare(self) -> Detection:
        """Return the detection of the model, made at the first check; the black box reads its output anew."""
        if self._box is None:
            from nid_plugins.blackbox import wrap

            self._box = wrap(self.model, self._schema, **self.options.wrap)
            self._declared = self._box.output
            self._detection = None
        if self._sample is None:
            self._schema = self._box.schema
            self._sample = self._draw(self._schema)
        if self._detection is None:
            options, sample = self.options, self._sample
            self._detection = Detection(
                self._box, sample.instances, sample.background, options.detector, options.settings
            )
            self._screener = Screener(self._box, sample, options.screen, options.seed)
        if self._declared == "auto" and self._box.output != "logit":
            # The small logits of a model that is hardly trained may look like probabilities: they are looked at anew.
            self._box.output = "auto"
            self._box.logits_of(self._sample.background[:JUDGED])
        return self._detection

    def _try(self, epoch: int, logs: Mapping[str, Any] | None) -> None:
        self._since = 0
        self._guard.run("a check", lambda: self._check(epoch, logs))

    def _check(self, epoch: int, logs: Mapping[str, Any] | None) -> None:
        pacing = self._pacing
        began = pacing.now()
        detection = self._prepare()
        screener = self._screener
        plan = pacing.plan(len(detection), screen=screener is not None and screener.possible)
        if not plan.instances:
            self.put_off += 1
            self._since = self.options.every  # still due
            self._guard.say(
                f"a check of {pacing.minimum} instances takes longer than the budget of {self.options.budget:.0%} of "
                "the training time so far allows: it is put off until it does (said once; the count is .put_off)"
            )
            return
        start = pacing.now()

        def go_on(done: int) -> bool:
            elapsed = pacing.now() - start
            return done < plan.instances and pacing.may_go_on(done, GROUP, elapsed, screen=plan.screen)

        report = detection.run(executor=self.options.executor, group=GROUP, go_on=go_on)
        explained = pacing.now()
        if report.instances:
            pacing.measured("instance", (explained - start) / report.instances)
        gains = {}
        if plan.screen and screener is not None and (pacing.cost("screen") is not None or pacing.left() > 0):
            gains = self._guard.run("screening", lambda: screener.gains(report)) or {}
            pacing.measured("screen", pacing.now() - explained)
        screened = pacing.now()
        self._record(epoch, logs, report, detection.results, gains, began)
        pacing.measured("rest", pacing.now() - screened)

    def _record(
        self,
        epoch: int,
        logs: Mapping[str, Any] | None,
        report: InteractionReport,
        results: list[InstanceResult],
        gains: dict[str, float],
        began: float,
    ) -> None:
        options = self.options
        drift = None
        if self.history:
            drift = drift_between(
                self._last,
                results,
                report.schema.names,
                options.top_k,
                rank=report.settings["rank"],
                antichain=report.settings["prune"] == "paper",
            )
        same = drift is not None and not drift.changed and len(report) > 0
        self._unchanged = self._unchanged + 1 if same else 0
        self.stable = options.stop_after is not None and self._unchanged >= options.stop_after
        if report.settings["rank"] != "strength":  # which the next drift needs the pairs for
            for result in results:
                result.pairs = None  # the report has their mean
        self._last = results
        check = Check(
            epoch=epoch,
            step=self.step,
            report=report,
            ranking=report.top(options.top_k),
            drift=drift,
            r2=mean_known(report.r2),
            gains=gains,
            instances=report.instances,
            seconds=self._pacing.now() - began,
            training_seconds=self._pacing.trained,
            stable=self.stable,
            logs=numbers_of(logs),
        )
        self.history.append(check)
        self._guard.write(check)
