"""Splitting a request by variant, and putting the answers back in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError
from nid_plugins.frames import columns_of, read_matrix

if TYPE_CHECKING:
    from nid_plugins.experiment.arms import Arm, Outcome
    from nid_plugins.frames import FloatMatrix

Rows = npt.NDArray[np.intp] | slice
_ALL = slice(None)


@dataclass(eq=False)
class Results:
    """What the arms made of a request; see :class:`~nid_plugins.experiment.answers.Answer`.

    Attributes:
        predictions: NaN where nobody could answer.
        answered: Index of the variant that answered.
        latency_ms: As seen by the request.
        reasons: Of fallbacks.
        error: What the control raised.
    """

    predictions: npt.NDArray[np.float64]
    answered: npt.NDArray[np.int32]
    latency_ms: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.object_] | None = None
    error: Exception | None = None


class Parts:
    """Asks each variant's model for its rows.

    Args:
        arms: Control first.
    """

    def __init__(self, arms: list[Arm]) -> None:
        self._arms = arms
        schema = arms[0].box.schema
        self._other_schema = [arm.box.schema != schema for arm in arms]

    def ask(self, frame: Any, rows: FloatMatrix, variants: npt.NDArray[np.int32]) -> Results:
        """Ask the treatments first, then the control for its own rows, those of no variant, and those left unanswered.

        One part after the other: each is timed alone, and a request of one unit has one part only.

        Args:
            frame: As it came, for models with a schema of their own.
            rows: The same in the control's schema, shape (n, p).
            variants: Index of each row's variant, -1 for none, shape (n,).
        """
        n = len(rows)
        results = Results(np.full(n, np.nan), np.maximum(variants, 0), np.zeros(n, dtype=np.float32))
        if not n:
            return results
        counts = np.bincount(results.answered, minlength=len(self._arms))
        mine = _ALL if counts[0] == n else np.flatnonzero(results.answered == 0)
        for index in np.flatnonzero(counts[1:]) + 1:
            at = _ALL if counts[index] == n else np.flatnonzero(results.answered == index)
            outcome = self._treatment(int(index), frame, rows, at)
            results.latency_ms[at] = outcome.seconds * 1000
            if outcome.predictions is not None:
                results.predictions[at] = outcome.predictions
                continue
            if results.reasons is None:
                results.reasons = np.full(n, None, dtype=object)
            results.reasons[at] = outcome.reason
            results.answered[at] = 0
            mine = _ALL if counts[index] + counts[0] == n else np.flatnonzero(results.answered == 0)
        if isinstance(mine, slice) or len(mine):
            outcome = self._arms[0].ask(rows[mine])
            results.latency_ms[mine] += np.float32(outcome.seconds * 1000)
            results.error = outcome.error
            if outcome.predictions is not None:
                results.predictions[mine] = outcome.predictions
        return results

    def _treatment(self, index: int, frame: Any, rows: FloatMatrix, at: Rows) -> Outcome:
        arm = self._arms[index]
        if not self._other_schema[index]:
            return arm.ask(rows[at])
        try:
            columns = columns_of(frame)
            own = {name: columns[name][at] for name in arm.box.schema.names if name in columns}
            return arm.ask(read_matrix(own, arm.box.schema))
        except FrameError as error:  # what the control takes is a good request
            return arm.refuse(len(rows[at]), error)


def column_of(frame: Any, name: str) -> Any:
    """Return one column of a frame as it is.

    Raises:
        FrameError: There is none of that name.
    """
    if not isinstance(frame, Mapping):
        import narwhals.stable.v1 as nw

        try:
            table = nw.from_native(frame, eager_only=True)
        except TypeError:
            table = None  # what is wrong with the frame is told by those who read it
        frame = {} if table is None else {own: table.get_column(own) for own in table.columns if own == name}
    if name not in frame:
        raise FrameError(
            "the frame has no unit ids",
            field=name,
            received="no such column",
            expected="the column design.unit",
            hint="Pass units=",
        )
    return frame[name]
