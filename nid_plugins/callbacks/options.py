"""The options of a monitor, checked once, before training begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_plugins.detection.glider import checked_settings
from nid_plugins.detection.settings import AUTO, DEFAULT_DETECTOR
from nid_plugins.errors import SettingError
from nid_plugins.plugins import get_manager

if TYPE_CHECKING:
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.settings import DetectSettings

DETECT: dict[str, Any] = {
    "detector": DEFAULT_DETECTOR,
    "options": None,
    "baseline": "mode",
    "instances": 256,
    "perturbations": 2000,
    "prune": "gain",
    "rank": "count",
    "min_gain": 1e-3,
    "candidates": 40,
    "executor": "serial",
}
"""Options of a detection and what they are unless said otherwise: fewer instances and perturbations than in
:func:`nid_plugins.detect`, since a check is one of many."""

WRAP = ("output", "inputs", "batch_size", "epsilon", "adapter")


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """See :class:`nid_plugins.callbacks.InteractionMonitor`; ``detector`` and ``settings`` are those of its detections."""

    every: int
    unit: str
    budget: float | None
    top_k: int
    screen: int
    stop_after: int | None
    seed: int
    detector: Detector
    settings: DetectSettings
    executor: str
    wrap: dict[str, Any]

    @property
    def instances(self) -> int:
        """The most instances there may be."""
        most = self.settings.instances
        assert isinstance(most, int)
        return most

    @classmethod
    def of(
        cls,
        *,
        every: int,
        unit: str,
        budget: float | None,
        top_k: int,
        screen: int,
        stop_after: int | None,
        seed: int,
        min_instances: int,
        detect: Mapping[str, Any] | None,
        wrap: Mapping[str, Any] | None,
    ) -> MonitorOptions:
        """Return the options, checked.

        Raises:
            SettingError: One is out of its domain or unknown.
        """
        _check_integer("every", every, 1)
        _check_integer("screen", screen, 0)
        _check_integer("min_instances", min_instances, 1)
        if stop_after is not None:
            _check_integer("stop_after", stop_after, 1)
        if unit not in ("epoch", "step"):
            raise SettingError("unknown unit", received=repr(unit), expected='"epoch" or "step"')
        if budget is not None and (
            isinstance(budget, bool)
            or not isinstance(budget, int | float)
            or not (budget > 0 and math.isfinite(budget))
        ):
            raise SettingError(
                "budget out of range",
                received=repr(budget),
                expected="a positive share of the training time, e.g. 0.1, or None for no limit",
            )
        chosen = {**DETECT, **_known("detect", detect, tuple(DETECT))}
        executor = chosen.pop("executor")
        get_manager().executor(executor)
        detector, settings = checked_settings(**chosen, top_k=top_k, seed=seed)
        if settings.instances == AUTO:
            raise SettingError(
                "a monitor's number of instances follows from its budget",
                received='detect={"instances": "auto"}',
                expected="the most instances there may be",
            )
        return cls(
            every,
            unit,
            budget,
            top_k,
            screen,
            stop_after,
            seed,
            detector,
            settings,
            executor,
            _known("wrap", wrap, WRAP),
        )


def _known(name: str, given: Mapping[str, Any] | None, known: tuple[str, ...]) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(f"{name} is no dict of options", received=repr(given), expected=f"keys of {known}")
    unknown = [key for key in given or {} if key not in known]
    if unknown:
        raise SettingError(f"unknown option in {name}", received=unknown, expected=f"keys of {known}")
    return dict(given or {})


def _check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingError(
            f"{name} out of range", received=repr(value), expected=f"an integer of at least {least}"
        )
