"""Serving an experiment: each unit is answered by the model of its variant, and what it was shown is logged."""

from __future__ import annotations

import contextlib
import inspect
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nid_plugins.blackbox import BlackBox
from nid_plugins.errors import FrameError, SettingError, UnansweredError
from nid_plugins.experiment import checks
from nid_plugins.experiment.answers import Answer
from nid_plugins.experiment.arms import Arm, ArmStatus
from nid_plugins.experiment.assignment import assigned
from nid_plugins.experiment.breaker import Breaker
from nid_plugins.experiment.design import Design
from nid_plugins.experiment.emitting import Emitter
from nid_plugins.experiment.exposures import moments
from nid_plugins.experiment.parts import Parts, column_of
from nid_plugins.experiment.units import as_texts, read_units
from nid_plugins.frames import read_matrix
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from nid_plugins.experiment.emitting import Sink
    from nid_plugins.experiment.parts import Results
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.plugins import PluginManager
    from nid_plugins.schema import FeatureSchema


class Router:
    """Answers requests with the models of an experiment's variants. Any number of threads may use it.

    A batch is split by the unit of each row; each part goes to its variant's model, and the answers come back in the
    order of the rows. Units outside the experiment are answered by the control's model and leave no exposure.

    A treatment that raises, returns something that is no probability, or takes longer than ``limit_ms`` has its rows
    answered by the control; the exposures say so. After ``failures`` such calls in a row it is left alone for ``pause_s``
    seconds. A control that fails has nobody behind it: see :meth:`predict`.

    Models are left as they are. Calls of one model take turns, in whatever threads they come; a plain callable is called
    by all of them at once.

    Args:
        design: The plan; its assignment decides.
        models: Variant name to model: one that some adapter claims, a :class:`~nid_plugins.BlackBox`, or a function from
            a dict of columns to scores. Frameworks may be mixed, and one model may serve several variants.
        schema: The models' fields; may be left out where the framework declares them. A variant's black box may have its
            own; a request must fit the control's.
        sinks: Where exposures go, besides the hook ``nid_exposure``; the router closes them.
        limit_ms: How long a request waits for a treatment. None: as long as it takes. With a limit treatments run in
            threads of their own, which costs some tens of microseconds a call.
        covariate: Whether to log the control's prediction for every row, to reduce the variance of the analysis. It costs
            a second prediction for rows of treatments; a number is the share of requests it is done for.
        failures: Failures in a row after which a treatment is left alone.
        pause_s: Seconds it is left alone; then one call decides whether it is back.
        workers: Threads a treatment may keep busy, where there is a limit; calls nobody waits for any more count.
        wrap: Options of :func:`nid_plugins.wrap` for the models that are not wrapped yet, e.g. ``{"output": "logit"}``.
        manager: Plug-ins to use; by default the process-wide ones.

    Raises:
        SettingError: A variant without a model, a model without a variant, or an option out of its domain.
        UnsupportedError: No adapter claims a model.
        SchemaError: No schema is given and none declared.
    """

    def __init__(
        self,
        design: Design,
        models: Mapping[str, Any],
        schema: FeatureSchema | None = None,
        *,
        sinks: Iterable[Sink] = (),
        limit_ms: float | None = None,
        covariate: bool | float = False,
        failures: int = 5,
        pause_s: float = 30.0,
        workers: int = 8,
        wrap: Mapping[str, Any] | None = None,
        manager: PluginManager | None = None,
    ) -> None:
        checks.instance(design, "design", Design)
        self.design = design
        self._names = tuple(variant.name for variant in design.variants)
        self._check_models(models)
        limit = None if limit_ms is None else _positive("limit_ms", limit_ms) / 1000
        pause = _positive("pause_s", pause_s)
        failures, workers = _count("failures", failures), _count("workers", workers)
        self._covariate = _share(covariate)
        self._emitter = Emitter(sinks, manager)
        boxes = _wrapped([models[name] for name in self._names], schema, wrap or {}, manager)
        self._arms = [
            Arm(
                name,
                box,
                Breaker(failures, pause) if i else None,
                limit=limit if i else None,
                workers=workers,
            )
            for i, (name, box) in enumerate(zip(self._names, boxes, strict=True))
        ]
        self._schema = boxes[0].schema
        self._parts = Parts(self._arms)

    def _check_models(self, models: Any) -> None:
        if not isinstance(models, Mapping):
            raise SettingError(
                "not models by variant",
                field="models",
                received=type(models).__name__,
                expected=f"a mapping with {', '.join(self._names)}",
            )
        for name in models:
            self.design.variant(name)
        missing = [name for name in self._names if name not in models]
        if missing:
            raise SettingError(
                "a variant without a model",
                field="models",
                received=f"models of {', '.join(map(str, models)) or 'no variant'}",
                expected=f"one of {', '.join(missing)} too",
            )

    def predict(
        self,
        frame: Any,
        units: Any = None,
        *,
        impressions: Any = None,
        request: Any = None,
        timestamp: Any = None,
        log: bool = True,
    ) -> Answer:
        """Answer a request.

        Args:
            frame: Rows, as for :func:`nid_plugins.wrap`'s black boxes; a unit may have several.
            units: Their unit ids; by default the frame's column ``design.unit``.
            impressions: Unique ids for the rows, which clicks will refer to; made up by default.
            request: Id of the request, one for all rows or one a row; made up by default.
            timestamp: When it is: an aware datetime, or one a row; now by default.
            log: Whether all rows are exposures. False when the model chooses among candidates: see :meth:`expose`.

        Returns:
            The answer; empty for a frame without rows.

        Raises:
            FrameError: Before any model is asked: rows that do not fit the control's schema, null unit ids, columns of other
                lengths, an impression id twice. Rows that fit the control but not a treatment fall back.
            SettingError: A timestamp without a time zone.
            UnansweredError: The control failed. The treatments' rows have been answered all the same; they are in the
                error's ``answer``, not logged: hand what you do show to :meth:`expose`.
        """
        if units is None:
            units = column_of(frame, self.design.unit)
        rows = read_matrix(frame, self._schema, allow_empty=True)
        n = len(rows)
        ids = read_units(units, self.design.unit)
        _check_length(ids, n, self.design.unit)
        number = uuid.uuid4()
        when = moments(datetime.now(UTC) if timestamp is None else timestamp)
        if when.ndim:
            _check_length(when, n, "timestamp")
        named = _impressions(impressions, number, n)
        requests: str | list[str] = number.hex if request is None else request
        if not isinstance(requests, str):
            requests = as_texts(read_units(requests, "request"))
            _check_length(requests, n, "request")
        variants, _ = assigned(self.design, ids)
        results = self._parts.ask(frame, rows, variants)
        covariate = np.full(n, np.nan)
        if results.error is None and n and self._covariate and self._sampled(number):
            covariate = self._control_predictions(results, rows)
        answer = Answer(
            results.predictions,
            named,
            as_texts(ids),
            variants,
            results.answered,
            results.reasons,
            results.latency_ms,
            covariate,
            requests,
            when,
            self.design.name,
            self._names,
        )
        if results.error is not None:
            raise _unanswered(results.error, answer) from results.error
        if log:
            self._emitter.emit(answer.exposures())
        return answer

    def expose(self, answer: Answer, rows: Any = None, *, covariate: Any = None) -> None:
        """Log the rows of an answer that were shown, after ``predict(..., log=False)``. See :meth:`Answer.exposures`.

        Args:
            answer: Of :meth:`predict`. Each of its rows should be logged once at most.
            rows: Positions or a mask; by default all.
            covariate: Instead of the control's prediction, shape (n,).

        Raises:
            FrameError: Not rows of this answer, or a covariate of another length.
        """
        self._emitter.emit(answer.exposures(rows, covariate))

    def _sampled(self, number: uuid.UUID) -> bool:
        # By the request's random id: nobody's random state is touched. Its first 48 bits are free.
        return (number.int >> 80) < self._covariate * 2**48

    def _control_predictions(self, results: Results, rows: FloatMatrix) -> npt.NDArray[np.float64]:
        covariate = np.where(results.answered == 0, results.predictions, np.nan)
        others = np.flatnonzero(results.answered)
        if len(others):
            outcome = self._arms[0].ask(rows[others])
            if outcome.predictions is not None:
                covariate[others] = outcome.predictions
        return covariate

    @property
    def status(self) -> dict[str, ArmStatus]:
        """What each variant's model has done so far, and whether it is in service."""
        return {arm.name: arm.status() for arm in self._arms}

    @property
    def dropped(self) -> int:
        """Exposures lost by all sinks together."""
        return self._emitter.dropped

    def flush(self) -> None:
        """Flush the sinks."""
        self._emitter.flush()

    def close(self) -> None:
        """Close the sinks and let the threads end."""
        for arm in self._arms:
            arm.close()
        self._emitter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _wrapped(
    models: list[Any],
    schema: FeatureSchema | None,
    options: Mapping[str, Any],
    manager: PluginManager | None,
) -> list[BlackBox]:
    from nid_plugins.blackbox import wrap
    from nid_plugins.plugins import use_manager

    known = set(inspect.signature(wrap).parameters) - {"model", "schema"}
    if not isinstance(options, Mapping) or not set(options) <= known:
        raise SettingError(
            "not options of nid.wrap",
            field="wrap",
            received=repr(options)[:80],
            expected=f"a mapping with some of {', '.join(sorted(known))}",
        )
    with contextlib.nullcontext() if manager is None else use_manager(manager):
        return [model if isinstance(model, BlackBox) else wrap(model, schema, **options) for model in models]


def _positive(name: str, value: Any) -> float:
    return checks.number(value, name, "a number above 0", low=0.0)


def _share(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    expected = "True, False or a share of the requests"
    return checks.number(value, "covariate", expected, low=0.0, high=1.0, low_in=True, high_in=True)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError("out of range", field=name, received=repr(value), expected="a whole number from 1")
    return value


def _check_length(values: Any, n: int, name: str) -> None:
    if len(values) != n:
        raise FrameError(
            "columns differ in length",
            field=name,
            received=len(values),
            expected=f"{n}, one a row of the frame",
        )


def _impressions(given: Any, number: uuid.UUID, n: int) -> list[str]:
    if given is None:
        prefix = number.hex
        return [f"{prefix}-{i}" for i in range(n)]
    texts = as_texts(read_units(given, "impressions"))
    _check_length(texts, n, "impressions")
    if len(set(texts)) < n:
        double = next(text for text in texts if texts.count(text) > 1)
        raise FrameError(
            "an impression id twice",
            field="impressions",
            received=f"{double!r} in {texts.count(double)} rows",
            expected="an id of its own for each row",
        )
    return texts


def _unanswered(error: Exception, answer: Answer) -> UnansweredError:
    missing = int(np.isnan(answer.predictions).sum())
    failure = UnansweredError(
        "the control's model failed, and nothing is behind it",
        received=f"{one_line(error)} ({missing} of {len(answer)} rows without an answer)",
        hint="The rest is in the error's answer",
    )
    failure.answer = answer
    return failure
