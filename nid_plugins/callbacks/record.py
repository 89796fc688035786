"""What one check of a training run found, as an object and as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nid_plugins.callbacks.drift import Drift
from nid_plugins.report.store import read_dict, to_dict

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.report import InteractionReport


@dataclass(eq=False, slots=True)
class Check:
    """One look at the interactions of a model in training.

    Args:
        epoch: The epoch that has just ended or, for a check after a step, was running; the first is 0.
        step: Training steps so far, where the training loop tells of them; else 0.
        report: The interactions, over the instances of this check.
        ranking: The field sets of the top K, best first.
        drift: How the ranking has changed since the check before; None for the first.
        r2: Mean held-out R^2 of the instances' explainers; NaN where the model reacts to nothing.
        gains: Cross name to its held-out gain over the model as it is, in nats a row; empty when there were no labels
            or the time did not allow for it.
        instances: Number of instances.
        seconds: What the check took.
        training_seconds: How long the model had been trained by then, in seconds, checks excluded.
        stable: Whether the top K has now stayed the same for as many checks as were asked for.
        logs: The numbers the training loop gave with the epoch or step, e.g. ``{"loss": 0.41}``.
    """

    epoch: int
    step: int
    report: InteractionReport
    ranking: list[tuple[str, ...]]
    drift: Drift | None
    r2: float
    gains: dict[str, float]
    instances: int
    seconds: float
    training_seconds: float
    stable: bool
    logs: dict[str, float] = field(default_factory=dict)

    def to_dict(self, *, report: bool = False) -> dict[str, Any]:
        """Return the check JSON-ready; what is not a finite number becomes null.

        Args:
            report: Whether to add the whole report: fit of every instance, strengths of all pairs.
        """
        spec: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "ranking": [
                {
                    "fields": list(found.fields),
                    "count": int(found.count),
                    "share": number(found.share),
                    "strength": number(found.strength),
                    "gain": number(found.gain),
                }
                for found in self.report
            ],
            "drift": None if self.drift is None else self.drift.to_dict(),
            "r2": number(self.r2),
            "gains": {name: number(gain) for name, gain in self.gains.items()},
            "instances": self.instances,
            "seconds": number(self.seconds),
            "training_seconds": number(self.training_seconds),
            "stable": self.stable,
            "logs": {name: number(value) for name, value in self.logs.items()},
        }
        if report:
            spec["report"] = to_dict(self.report)
        return spec

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Check:
        """Read what :meth:`to_dict` wrote with ``report=True``.

        Raises:
            KeyError: A part is missing, e.g. the report.
            TypeError: A part is of the wrong kind.
            ValueError: A part has a wrong value.
        """
        report = read_dict(spec["report"])
        return cls(
            epoch=int(spec["epoch"]),
            step=int(spec["step"]),
            report=report,
            ranking=report.top(len(report)),
            drift=None if spec["drift"] is None else Drift.from_dict(spec["drift"]),
            r2=_float(spec["r2"]),
            gains={str(name): _float(gain) for name, gain in spec["gains"].items()},
            instances=int(spec["instances"]),
            seconds=_float(spec["seconds"]),
            training_seconds=_float(spec["training_seconds"]),
            stable=bool(spec["stable"]),
            logs={str(name): _float(value) for name, value in spec["logs"].items()},
        )


def number(value: Any) -> float | None:
    """Return a number for JSON: None for what is not finite."""
    plain = float(value)
    return plain if math.isfinite(plain) else None


def mean_known(values: npt.NDArray[np.float64]) -> float:
    """Return the mean of those that are not NaN; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def numbers_of(logs: Any) -> dict[str, float]:
    """Return the numbers among what a training loop reports; tensors of one element count, anything else does not."""
    found: dict[str, float] = {}
    for name, value in dict(logs or {}).items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):  # text, arrays, tensors of several elements
            continue
    return found
