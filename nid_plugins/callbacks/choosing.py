"""Which crosses a model in training should be given: detect, fit, pick by held-out gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.adapting import positive
from nid_plugins.blackbox import wrap as wrap_model
from nid_plugins.crosses import fit_crosses
from nid_plugins.crosses import screen as screen_crosses
from nid_plugins.detection import detect as detect_interactions
from nid_plugins.errors import SettingError
from nid_plugins.frames import columns_of, read_label
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Output
    from nid_plugins.blackbox import BlackBox
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.screen_report import ScreenReport
    from nid_plugins.report import InteractionReport

    Fitting = Callable[[CrossFeatures, Any], CrossFeatures | None]

DETECT = {"detector": "least_squares", "instances": 300, "perturbations": 1500, "progress": False}
"""Options of ``nid.detect`` where nothing else is asked for: seconds, not minutes, beside a training run."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how.

    Attributes:
        crosses: The crosses worth injecting, in the order picked; None when there is none.
        report: The interactions detected.
        screening: What each candidate adds on held-out rows; None when there was no candidate.
        output: What the model returns, as far as is known.
        reason: Why there are no crosses, for a sentence; empty when there are.
    """

    crosses: CrossFeatures | None
    report: InteractionReport
    screening: ScreenReport | None
    output: Output
    reason: str = ""


class Chooser:
    """Detects a model's interactions, fits crosses of them, and picks those that help on held-out rows.

    See :class:`~nid_plugins.callbacks.injector.CrossInjector` for the arguments.
    """

    def __init__(
        self,
        schema: FeatureSchema | None,
        train: Any,
        label: Any,
        valid: Any,
        valid_label: Any,
        *,
        max_crosses: int,
        bins: int,
        min_count: float | None,
        candidates: int,
        detect: Mapping[str, Any] | None,
        screen: Mapping[str, Any] | None,
        wrap: Mapping[str, Any] | None,
        seed: int,
    ) -> None:
        if schema is not None and not isinstance(schema, FeatureSchema):
            raise SettingError(
                "not a schema",
                received=type(schema).__name__,
                expected="FeatureSchema, or None where the framework declares the fields",
            )
        self.schema = schema
        self._train, self._valid = _frame("train", train), _frame("valid", valid)
        if valid_label is None and isinstance(label, str):
            valid_label = label
        self._valid_label = _labels("valid_label", valid_label, self._valid)
        if label is not None:
            _labels("label", label, self._train)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise SettingError("seed out of range", received=repr(seed), expected="an integer from 0")
        self.seed = int(seed)
        self._max_crosses = positive("max_crosses", max_crosses)
        self._candidates = positive("candidates", candidates)
        self._fit: dict[str, Any] = {"bins": bins, "min_count": min_count}
        self._detect = _options("detect", detect)
        self._screen = _options("screen", screen)
        self.wrap = _options("wrap", wrap)

    def __call__(
        self,
        model: Any,
        box: BlackBox | None = None,
        *,
        fitting: Fitting | None = None,
        most: int | None = None,
    ) -> Choice:
        """Return what to inject into a model, which is left as it is.

        Args:
            model: The model.
            box: The same wrapped, where the caller has it.
            fitting: Called with the candidates and the training frame; returns them as they can be injected, or None.
            most: At most so many crosses, where ``max_crosses`` is not less.
        """
        if box is None:
            box = wrap_model(model, self.schema, **self.wrap)
        settings: dict[str, Any] = {**DETECT, "seed": self.seed, "top_k": self._candidates, **self._detect}
        report = detect_interactions(box, self._valid, background=self._train, **settings)
        if not len(report):
            return Choice(None, report, None, box.output, "the model shows no interactions")
        fitted: CrossFeatures | None = fit_crosses(
            report, self._train, box.schema, max_crosses=len(report), **self._fit
        )
        if fitting is not None and fitted is not None:
            fitted = fitting(fitted, self._train)
        if fitted is None:
            return Choice(None, report, None, box.output, f"none of {len(report)} has room in the model")
        k = self._max_crosses if most is None else min(most, self._max_crosses)
        picks: dict[str, Any] = {"greedy": True, "picks": k, "seed": self.seed, **self._screen}
        screening = screen_crosses(fitted, self._valid, self._valid_label, box.logits(self._valid), **picks)
        names = [one.name for one in screening if one.picked and one.gain > one.error][:k]
        if not names:
            reason = f"none of {len(fitted)} adds anything certain on held-out rows"
            return Choice(None, report, screening, box.output, reason)
        return Choice(fitted.select(names), report, screening, box.output)


def _frame(option: str, frame: Any) -> Any:
    if frame is None:
        raise SettingError(f"{option} is missing", expected="a frame of the model's fields")
    columns_of(frame)
    return frame


def _labels(option: str, label: Any, frame: Any) -> Any:
    if label is None:
        raise SettingError(
            f"{option} is missing", expected="0/1 labels of the rows, or the name of their column"
        )
    columns = columns_of(frame)
    return read_label(label, frame, len(next(iter(columns.values()), ())))


def _options(option: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SettingError(f"{option} is not a set of options", received=repr(given), expected="a dict")
    return dict(given)
