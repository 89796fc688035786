"""Groups of instances: queried together, explained together, here or in a worker that holds the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from nid_plugins.detection.draws import Draws
from nid_plugins.detection.madex import Madex
from nid_plugins.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.blackbox import BlackBox
    from nid_plugins.detection.baselines import Baseline
    from nid_plugins.detection.detector import Detector
    from nid_plugins.detection.journal import InstanceResult
    from nid_plugins.detection.masks import Floats
    from nid_plugins.detection.settings import DetectSettings


@dataclass(frozen=True, slots=True)
class Group:
    """Instances to explain.

    Args:
        indices: Their positions, which seed their explainers.
        rows: Their fields, shape (n, p).
        off: What their off fields hold, shape (n, p).
        stuck: The fields that hold their off value already, shape (n, p).
    """

    indices: list[int]
    rows: Floats
    off: Floats
    stuck: npt.NDArray[np.bool_]


@dataclass(slots=True)
class Asked:
    """What the model answered about a group.

    Args:
        group: The group.
        madex: What asked, and explains.
        targets: Logits of the instances the model answered for, in the group's order; each of shape (M,).
        clipped: Clipped predictions of each.
        error: Why the model stopped answering, or None.
    """

    group: Group
    madex: Madex
    targets: list[Floats] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)
    error: ModelError | None = None


def ask(madex: Madex, group: Group) -> Asked:
    """Query the model about a group; when it fails, what it answered before is kept."""
    asked = Asked(group, madex)
    try:
        for row, off in zip(group.rows, group.off, strict=True):
            targets, clipped = madex.query(row, off)
            asked.targets.append(targets)
            asked.clipped.append(clipped)
    except ModelError as error:
        asked.error = error
    return asked


def explain(asked: Asked) -> list[InstanceResult]:
    """Explain what the model answered."""
    answered = len(asked.targets)
    if not answered:
        return []
    group = asked.group
    return asked.madex.explain(
        np.array(asked.targets), group.indices[:answered], asked.clipped, list(group.stuck[:answered])
    )


class Worker:
    """Asks and explains where the model has been sent to.

    Pickled, it is the model and the settings; masks and all that follows from them are made anew where it arrives, on
    the first call, for they are larger than what they are made of.

    Args:
        box: The model.
        settings: What was asked for.
        detector: Finds the interactions.
        baseline: How off fields are queried; their values come with the groups.
        memory: Most bytes of perturbed rows at once.
    """

    def __init__(
        self,
        box: BlackBox,
        settings: DetectSettings,
        detector: Detector,
        baseline: Baseline,
        memory: int,
    ) -> None:
        self._made_of = (box, np.empty((0, len(box.schema))), settings, detector, baseline)
        self._memory = memory
        self._draws: Draws | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent."""
        return {"_made_of": self._made_of, "_memory": self._memory, "_draws": None}

    def __call__(self, group: Group) -> tuple[list[InstanceResult], ModelError | None]:
        """Return what the instances of a group contribute, and why the model failed if it did."""
        # As in the process that asks: rounding does not depend on the number of cores.
        with threadpool_limits(1, user_api="blas"):
            if self._draws is None:
                self._draws = Draws(Madex(*self._made_of, memory=self._memory))
            asked = ask(self._draws.of(group.indices[0]), group)
            return explain(asked), asked.error
